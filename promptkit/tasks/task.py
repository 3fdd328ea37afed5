"""A task: the rows of its source, each with its inputs and its answer, and the parts of its train split.

The train split is divided once, by hash of the inputs, into what demonstrations are drawn from (pool, 60%), what
aligners are fitted on (fit, 20%) and what searches choose by (dev, 20%); rows with equal inputs stay together.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from promptkit.core.errors import PromptkitError, TaskError, unknown
from promptkit.core.examples import Example, LabeledExample, Part, inputs_of
from promptkit.core.hashing import sha256_hex
from promptkit.core.paths import folder, names
from promptkit.tasks.columns import cell_text, chosen, offered, text, texts
from promptkit.tasks.readers import Row, read_file, read_hub, read_mirror, unreadable
from promptkit.tasks.spec import Source, TaskSpec, read_spec

_SHARES: Mapping[Part, tuple[float, float]] = {"pool": (0.0, 0.6), "fit": (0.6, 0.8), "dev": (0.8, 1.0)}


HIDDEN_LABEL = "-1"
"""How the hub marks a label that its owners keep to themselves."""


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
        """The labels, in the declared order; none where each row has answers of its own."""
        return tuple(self.spec.labels or ())

    def without_rows(self, purpose: str, part: Part) -> TaskError:
        """The error where a part has no rows but those whose inputs are evaluated, or none at all."""
        own = f"The task {self.name} has no rows {purpose}: "
        if held := len(self.part(part)):
            return TaskError(
                f"{own}all {held} rows of the {part} part of its train split have inputs that are also in the evaluated split",
                code="rows-are-evaluated",
                hint="Use different rows for training and evaluation: another --split, or --train",
                task=self.name,
                part=part,
                rows=held,
            )
        return TaskError(
            f"{own}the {part} part of its train split is empty",
            code="empty-part",
            hint="Add train rows; hold_out: 0.5 takes them from a test split",
            task=self.name,
            part=part,
        )

    def rows(self, split: str) -> Sequence[LabeledExample]:
        """The labeled rows of a split, in the source's order."""
        return self._examples(split)

    def part(self, part: Part) -> Sequence[LabeledExample]:
        """The rows of one part of the train split, in the source's order."""
        source = self.source
        if source.hold_out is None and source.files is not None and source.splits.get("train", "train") not in source.files:
            raise TaskError(
                f"The task {self.name} has no train split, from which demonstrations and calibrations take their rows",
                code="no-train-split",
                hint="Use --shots 0, or add a train file or hold_out: 0.5 to its source",
                task=self.name,
            )
        if isinstance(source.hold_out, int):
            return self._examples("train") if part == "pool" else []
        low, high = _SHARES[part]
        return [row for row in self._examples("train") if low <= _place(row) < high]

    def pool(self) -> Sequence[LabeledExample]:
        """The rows that demonstrations are drawn from."""
        return self.part("pool")

    def identity(self) -> Mapping[str, object]:
        """What of the task determines a run: its definition and the place of its rows."""
        return {
            "name": self.name,
            **({"answer": self.spec.answer} if self.spec.labels is None else {"labels": self.spec.labels}),
            "source": self.source.model_dump(mode="json", exclude_none=True, exclude_defaults=True),
        }

    @cached_property
    def _splits(self) -> dict[str, list[LabeledExample]]:
        return {}

    def _examples(self, split: str) -> list[LabeledExample]:
        if split not in self._splits:
            if self.source.hold_out is not None and split in ("train", "test"):
                self._splits.update(_divided(self._read("test"), self.source.hold_out))
            else:
                self._splits[split] = self._read(split)
        return self._splits[split]

    def _read(self, split: str) -> list[LabeledExample]:
        source = self.source
        theirs = source.splits.get(split, split)
        if source.files is not None:
            if theirs not in source.files:
                hint = f"The task is {self.name}"
                raise unknown("split", split, source.files, hint=hint, error=TaskError, task=self.name)
            rows = read_file(self.base / source.files[theirs])
        elif source.mirror is not None:
            rows = read_mirror(self.base, source.mirror, theirs)
        else:
            rows = read_hub(str(source.hub), source.config, source.revision, theirs)
        place = f"the {split} split of {self.name}"
        read = [self._row(row, f"row {number} of {place}", split) for number, row in enumerate(rows, start=1)]
        return [replace(row, id=row_id) for row_id, row in zip(_ids(read), read, strict=True)]

    def _row(self, row: Row, where: str, split: str) -> LabeledExample:
        """One row as examples are, still without its id."""
        source = self.source
        inputs = {variable: text(row, column, where) for variable, column in source.inputs.items()}
        rationale = {variable: text(row, column, where) for variable, column in source.rationale.items()}
        choices = () if source.choices is None else offered(row, source.choices, inputs, where)
        written = self.spec.kind == "generation"
        right: tuple[str, ...]
        if choices:
            right = (chosen(row, source, choices, where),)
        elif written:
            right = texts(row, source.label, where)
        else:
            right = (self._label(text(row, source.label, where), where, split),)
        accepted = right if written else ()
        return LabeledExample(id="", inputs=inputs, label=right[0], choices=choices, accepted=accepted, rationale=rationale)

    def _label(self, value: str, where: str, split: str) -> str:
        names = {label: label for label in self.labels}
        if self.source.label_ids is not None:
            # what the source says of a value goes before its being the name of a label
            names |= {cell_text(key): label for key, label in self.source.label_ids.items()}
        elif not any(label.lstrip("-").isdigit() for label in self.labels):
            names |= {str(index): label for index, label in enumerate(self.labels)}
        label = names.get(value)
        if label is None and value == HIDDEN_LABEL:
            labeled = "validation" if split != "validation" else "train"
            raise TaskError(
                f"The owners of the data do not publish the labels of the {split} split of {self.name}",
                code="hidden-labels",
                hint=f"Use a labeled split, such as --split {labeled}",
                task=self.name,
                split=split,
                suggested=labeled,
            )
        if label not in self.labels:
            hint = f"It is in {where}: declare it, or correct the row"
            raise unknown("label", value, self.labels, hint=hint, error=TaskError, where=where)
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
        raise _no_task(name)
    spec = read_spec(path)
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
    raise TaskError(
        f"The task {name} can only be read from {kinds}",
        code="needs-hub" if mirror else "needs-mirror",
        hint="See its `sources`",
        task=str(name),
    )


def _no_task(name: str | Path) -> PromptkitError:
    """The error for what is given as a task and is neither a shipped one's name nor a YAML file."""
    path = Path(name)
    if path.is_dir() and str(name):
        hint = "Give the YAML file of a task or a data file in it"
        return TaskError(f"{name} is a folder, not a task", code="is-a-folder", hint=hint, file=str(name))
    if path.is_file():
        return unreadable(path)
    if path.suffix in (".yaml", ".yml"):
        hint = f"It was searched for in {Path.cwd()}; promptkit task init creates one from a data file"
        return TaskError(f"There is no task file {name}", code="no-such-file", hint=hint, file=str(name))
    hint = "For your own task, give the path of its YAML file or of a data file"
    return unknown("task", str(name), names("evals", ".yaml"), hint=hint, error=TaskError)


def described() -> dict[str, TaskSpec]:
    """Every shipped task by name."""
    return {name: read_spec(folder("evals") / f"{name}.yaml") for name in names("evals", ".yaml")}


def _ids(rows: Sequence[LabeledExample]) -> list[str]:
    """Hashes of the inputs. Repeats are numbered by label first, so that shuffling a file changes no row's id."""
    digests = [_hash({**row.inputs, **{f"choice {i}": text for i, text in enumerate(row.choices)}})[:12] for row in rows]
    seen: Counter[str] = Counter()
    ids = [""] * len(rows)
    for index in sorted(range(len(rows)), key=lambda i: (digests[i], rows[i].label)):
        digest = digests[index]
        seen[digest] += 1
        ids[index] = digest if seen[digest] == 1 else f"{digest}#{seen[digest]}"
    return ids


def untested(rows: Sequence[LabeledExample], evaluated: Sequence[Example]) -> list[LabeledExample]:
    """The rows whose labels a fit or a search may see: those whose inputs are not evaluated."""
    tested = {inputs_of(row.id) for row in evaluated}
    return [row for row in rows if inputs_of(row.id) not in tested]


def _hash(inputs: Mapping[str, str]) -> str:
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=False)
    return sha256_hex(text)


def _divided(rows: Sequence[LabeledExample], hold_out: float) -> dict[str, list[LabeledExample]]:
    """Train and test: the rows of smallest hash, and the others. A count may be passed by rows of equal inputs."""
    ranks = [_hash({"hold out": "", **row.inputs}) for row in rows]
    count = hold_out if isinstance(hold_out, int) else round(hold_out * len(rows))
    if not 0 < count < len(rows):
        raise TaskError(
            f"{count} of {len(rows)} rows cannot be held out for demonstrations: each part needs at least one row",
            code="invalid-hold-out",
            hint="Change hold_out in the task, add rows, or give the demonstrations their own file (--train)",
            hold_out=count,
            rows=len(rows),
        )
    last = sorted(ranks)[count - 1]
    if last == max(ranks):
        raise TaskError(
            "Too few rows differ to hold some out for demonstrations: rows with equal inputs stay together",
            code="too-few-distinct-rows",
            got=f"{len(set(ranks))} distinct rows of {len(rows)}",
            hint="Add rows, or give the demonstrations their own file (--train)",
            distinct=len(set(ranks)),
            rows=len(rows),
        )
    return {
        "train": [row for row, rank in zip(rows, ranks, strict=True) if rank <= last],
        "test": [row for row, rank in zip(rows, ranks, strict=True) if rank > last],
    }


def _place(row: LabeledExample) -> float:
    """Where in [0, 1) a row's inputs fall, by hash."""
    return int(_hash({"part": "", **row.inputs})[:13], 16) / 16**13
