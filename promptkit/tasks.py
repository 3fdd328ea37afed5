"""A task: where its rows come from, what its inputs and labels are, which template shows them.

The train split is divided once, by hash of the inputs, into what demonstrations are drawn from (pool, 60%), what
aligners are fitted on (fit, 20%) and what searches choose by (dev, 20%); rows with equal inputs stay together.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StrictBool, StrictInt, ValidationError, model_validator

from promptkit.errors import PromptkitError, unknown
from promptkit.readers import Row, read_file, read_hub, read_mirror
from promptkit.resources import folder, names
from promptkit.types import LabelledExample

Part = Literal["pool", "fit", "dev"]
_SHARES: Mapping[Part, tuple[float, float]] = {"pool": (0.0, 0.6), "fit": (0.6, 0.8), "dev": (0.8, 1.0)}
HIDDEN_LABEL = "-1"
"""How the hub marks a label that its owners keep to themselves."""


class Source(BaseModel):
    """One place that holds the task's rows, and how its columns and labels are named there."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    files: dict[str, str] | None = None
    """Split -> path of a .jsonl, .csv, .tsv or .parquet file, relative to the task's own file."""
    mirror: str | None = None
    """Folder below --data DIR or PROMPTKIT_DATA that holds a SPLIT.jsonl for each split."""
    hub: str | None = None
    """Data set on the Hugging Face hub."""
    config: str | None = None
    """Its configuration, for a data set on the hub that has several."""
    revision: str | None = None
    """Its branch, tag or commit."""
    inputs: dict[str, str] = Field(min_length=1)
    """Template variable -> column."""
    label: str
    """The column of the label."""
    label_ids: dict[StrictBool | StrictInt | str, str] | None = None
    """Value in that column -> label; unless given, a number counts the labels as declared, from 0."""
    splits: dict[str, str] = {}
    """The task's name of a split -> the source's, where they differ."""
    hold_out: PositiveInt | Annotated[float, Field(gt=0, lt=1)] | None = None
    """Where the source has a test split only: how many of its rows, or which share of them, are the train split; those
    with the smallest hash of their inputs, so that equal inputs stay together. The rest is the test split. A count is
    small, and is the pool whole; a share is divided as any train split."""

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if sum(place is not None for place in (self.files, self.mirror, self.hub)) != 1:
            raise ValueError("a source is one of files, mirror and hub")
        taken = sorted({"label", "labels"} & self.inputs.keys())
        if taken:
            raise ValueError(f"{taken[0]} is the template's own variable; give this input another name")
        return self


class TaskSpec(BaseModel):
    """A task's YAML file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    description: str
    """One line: what is asked, and where the data are from."""
    template: str
    """The template that shows it unless another is asked for: a shipped one, or the path of a `.j2` file from here."""
    labels: dict[str, str | list[str]] = Field(min_length=2)
    """Label -> its word, or its words, in the declared order."""
    split: str = "test"
    """The split that is evaluated unless another is asked for."""
    sources: list[Source] = Field(min_length=1)
    """Tried in order: a mirror where --data or PROMPTKIT_DATA is set, the hub where it is not."""

    @model_validator(mode="after")
    def _known_labels(self) -> TaskSpec:
        for source in self.sources:
            foreign = sorted(set((source.label_ids or {}).values()) - self.labels.keys())
            if foreign:
                raise ValueError(f"label_ids names {foreign[0]!r}, which is none of the labels {', '.join(self.labels)}")
        return self


@dataclass(frozen=True)
class Task:
    """A task with the source that its rows are read from."""

    name: str
    spec: TaskSpec
    source: Source
    base: Path
    """The folder that the source's files are relative to, or the mirror's root."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the declared order."""
        return tuple(self.spec.labels)

    def rows(self, split: str) -> Sequence[LabelledExample]:
        """The labelled rows of a split, in the source's order."""
        return self._examples(split)

    def part(self, part: Part) -> Sequence[LabelledExample]:
        """The rows of one part of the train split, in the source's order."""
        if isinstance(self.source.hold_out, int):
            return self._examples("train") if part == "pool" else []
        low, high = _SHARES[part]
        return [row for row in self._examples("train") if low <= _place(row) < high]

    def pool(self) -> Sequence[LabelledExample]:
        """The rows that demonstrations are drawn from."""
        return self.part("pool")

    def identity(self) -> Mapping[str, object]:
        """What of the task determines a run: its definition and the place of its rows."""
        return {
            "name": self.name,
            "labels": self.spec.labels,
            "source": self.source.model_dump(mode="json", exclude_none=True, exclude_defaults=True),
        }

    @cached_property
    def _splits(self) -> dict[str, list[LabelledExample]]:
        return {}

    def _examples(self, split: str) -> list[LabelledExample]:
        if split not in self._splits:
            if self.source.hold_out is not None and split in ("train", "test"):
                self._splits.update(_divided(self._read("test"), self.source.hold_out))
            else:
                self._splits[split] = self._read(split)
        return self._splits[split]

    def _read(self, split: str) -> list[LabelledExample]:
        source = self.source
        theirs = source.splits.get(split, split)
        if source.files is not None:
            if theirs not in source.files:
                raise unknown(f"split of {self.name}", split, source.files)
            rows = read_file(self.base / source.files[theirs])
        elif source.mirror is not None:
            rows = read_mirror(self.base, source.mirror, theirs)
        else:
            rows = read_hub(str(source.hub), source.config, source.revision, theirs)
        read = []
        for number, row in enumerate(rows, start=1):
            where = f"row {number} of the {split} split of {self.name}"
            inputs = {variable: _cell(row, column, where) for variable, column in source.inputs.items()}
            read.append((inputs, self._label(_cell(row, source.label, where), where, split)))
        return [
            LabelledExample(id=row_id, inputs=inputs, label=label)
            for row_id, (inputs, label) in zip(_ids(read), read, strict=True)
        ]

    def _label(self, value: str, where: str, split: str) -> str:
        names = {label: label for label in self.labels}
        if self.source.label_ids is not None:
            # what the source says of a value goes before its being the name of a label
            names |= {cell_text(key): label for key, label in self.source.label_ids.items()}
        elif not any(label.lstrip("-").isdigit() for label in self.labels):
            names |= {str(index): label for index, label in enumerate(self.labels)}
        label = names.get(value)
        if label is None and value == HIDDEN_LABEL:
            raise PromptkitError(
                f"The labels of the {split} split of {self.name} are hidden by the owners of the data",
                hint=f"Use a labelled split, such as --split {'validation' if split != 'validation' else 'train'}",
            )
        if label not in self.spec.labels:
            raise unknown("label", value, self.labels, hint=f"It stands in {where}")
        return str(label)


def load_task(name: str | Path, *, data: str | Path | None = None) -> Task:
    """A task by shipped name (`sentiment`, `a/b` for evals/a/b.yaml) or by the path of a YAML file.

    `data` is the folder of a mirror; PROMPTKIT_DATA stands in for it. Raises PromptkitError for an unknown name, a file
    that cannot be read, or a task that has no source to read from.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = folder("evals") / f"{name}.yaml"
    if not path.is_file():
        raise unknown(
            "task", str(name), names("evals", ".yaml"), hint="A task of your own is given by the path of its YAML file"
        )
    spec = _spec(path)
    if spec.template.endswith(".j2"):  # of a task's own, beside it
        spec = spec.model_copy(update={"template": str(path.parent / spec.template)})
    mirror = data or os.environ.get("PROMPTKIT_DATA")
    label = path.stem if path == Path(name) else str(name)
    for source in spec.sources:
        if source.files is not None:
            return Task(label, spec, source, path.parent)
        if source.mirror is not None and mirror:
            return Task(label, spec, source, Path(mirror).expanduser())
        if source.hub is not None and not mirror:
            return Task(label, spec, source, path.parent)
    kinds = "a mirror (--data DIR)" if not mirror else "the hub or files, not a mirror"
    raise PromptkitError(f"The task {name} can only be read from {kinds}", hint="See its `sources`")


def described() -> dict[str, TaskSpec]:
    """Every shipped task by name."""
    return {name: _spec(folder("evals") / f"{name}.yaml") for name in names("evals", ".yaml")}


class _Loader(yaml.SafeLoader):  # not libyaml's, which dies of deep nesting
    """YAML in which a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping; raises if two of its keys are equal, of which YAML would keep the last."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice} stands there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _spec(path: Path) -> TaskSpec:
    try:
        given: Any = yaml.load(path.read_text("utf-8"), _Loader)
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise PromptkitError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    try:
        return TaskSpec.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        if first["type"] == "extra_forbidden":
            known = Source.model_fields if "sources" in first["loc"] else TaskSpec.model_fields
            raise unknown(f"key of a task (at {place} in {path})", str(first["loc"][-1]), known) from None
        if "[key]" in first["loc"]:
            raise PromptkitError(
                f"{path}: {place} is wrong: the key {first['input']!r} is no text", hint="Put it in quotes"
            ) from None
        given_there = None if first["type"] == "missing" else str(first.get("input"))[:200]
        raise PromptkitError(f"{path}: {place or 'the file'} is wrong: {first['msg']}", got=given_there) from None


def _ids(rows: Sequence[tuple[Mapping[str, str], str]]) -> list[str]:
    """Hashes of the inputs. Repeats are numbered by label first, so that shuffling a file changes no row's id."""
    digests = [_hash(inputs)[:12] for inputs, _ in rows]
    seen: Counter[str] = Counter()
    ids = [""] * len(rows)
    for index in sorted(range(len(rows)), key=lambda i: (digests[i], rows[i][1])):
        digest = digests[index]
        seen[digest] += 1
        ids[index] = digest if seen[digest] == 1 else f"{digest}#{seen[digest]}"
    return ids


def _hash(inputs: Mapping[str, str]) -> str:
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _divided(rows: Sequence[LabelledExample], hold_out: float) -> dict[str, list[LabelledExample]]:
    """Train and test: the rows of smallest hash, and the others. A count may be passed by rows of equal inputs."""
    ranks = [_hash({"hold out": "", **row.inputs}) for row in rows]
    count = hold_out if isinstance(hold_out, int) else round(hold_out * len(rows))
    if not 0 < count < len(rows):
        hint = "Give demonstrations a file of their own"
        raise PromptkitError(f"{count} of {len(rows)} rows cannot be held out for demonstrations", hint=hint)
    last = sorted(ranks)[count - 1]
    return {
        "train": [row for row, rank in zip(rows, ranks, strict=True) if rank <= last],
        "test": [row for row, rank in zip(rows, ranks, strict=True) if rank > last],
    }


def _place(row: LabelledExample) -> float:
    """Where in [0, 1) a row's inputs fall, by hash."""
    return int(_hash({"part": "", **row.inputs})[:13], 16) / 16**13


def _cell(row: Row, column: str, where: str) -> str:
    if column not in row:
        raise unknown("column", column, row, hint=f"It was looked for in {where}")
    value = row[column]
    if value is None or (isinstance(value, float) and isnan(value)):
        raise PromptkitError(f"The column {column} is empty (null) in {where}", hint="Fill it or leave the row out")
    if isinstance(value, (dict, list)):
        raise PromptkitError(f"The column {column} holds a {type(value).__name__} in {where}", hint="Use a column of text")
    return cell_text(value)


def cell_text(value: object) -> str:
    """A cell's text; a truth value's is JSON's."""
    return str(value).lower() if isinstance(value, bool) else str(value)
