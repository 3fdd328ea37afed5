"""Evaluates a finished run again, from what its folder contains: `promptkit rerun` and `pk.rerun`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from promptkit.config.eval_options import SelectedRows
from promptkit.config.evaluation import EvalConfig
from promptkit.config.prompt import FILE
from promptkit.core.arguments import check_arguments
from promptkit.core.caller import setting, spelled
from promptkit.core.errors import InputError, RunError
from promptkit.core.paths import expanded, names
from promptkit.display.progress import Progress
from promptkit.runs.baseline_files import SUMMARY as BASELINES
from promptkit.runs.files import read_json
from promptkit.runs.finished import read_summary
from promptkit.runs.folder import SETTINGS, SUMMARY
from promptkit.runs.inferred_options import inferred_options
from promptkit.runs.recorded import TASK_FILE, TEMPLATE, read_options, read_origin, record_options
from promptkit.runs.run import Run
from promptkit.runs.schema import Origin, RunSettings, RunSummary
from promptkit.tasks.resolve import resolve_task

if TYPE_CHECKING:
    from promptkit.core.manipulation import Manipulation, Modifier
    from promptkit.predictor.predictor import Predictor
    from promptkit.tasks.task import Task

RERUNS = "reruns"
"""The default folder for the folders of repeated runs, next to the run."""
VERSIONS = frozenset({"torch", "transformers", "vllm", "server"})
"""The keys in the identity of a model that are versions of packages."""
CHANGES: Mapping[str, tuple[str, str, str]] = {
    **dict.fromkeys(
        ("task", "rows", "row_ids", "parts", "fit"),
        ("data-changed", "the rows or the definition of its task have changed", "Give the original as {task} or {data}"),
    ),
    "model": ("model-changed", "the content or the settings of its model are different", "Give the original as {model}"),
    "models": ("model-changed", "another model that its prompt or its aligners use is different", "Install the original"),
}
"""Setting of a run -> the code, the reason and the advice of the error if it differs; other settings have a common one."""
_OTHER = ("settings-changed", "the options in its folder lead to other settings", "Evaluate it from Python, as it was made")


@check_arguments("rerun")
def rerun(
    run: Run | str | Path,
    *,
    out: str | Path | None = None,
    task: str | Path | None = None,
    data: str | Path | None = None,
    train: str | Path | None = None,
    prompt: Sequence[str | Path] | None = None,
    predictor: str | Path | None = None,
    model: str | None = None,
    cache: bool = False,
    progress: Progress | Literal[False] | None = None,
) -> Run:
    """Evaluates exactly what a finished run has evaluated, and compares the files.

    The folder of the run contains its options, its template and a copy of its task file; the data, learned prompts and models
    are read from where they were. If they have moved, give their new places. A note of the new run says whether its files are
    equal to those of the run.

    Args:
        run: The run, or its folder.
        out: The folder for the new run's folder; by default `reruns` next to the run's folder.
        task: The task file or data file, if it has moved.
        data: The folder of the mirror of datasets, if it has moved.
        train: The data file of demonstrations, if it has moved.
        prompt: The folders of the learned manipulations, if they have moved.
        predictor: The folder of the saved predictor, if it has moved.
        model: The model, if it has another name or place here.
        cache: Whether answers may be taken from the score cache; by default all of them are computed again.
        progress: Called with the number of finished requests and the number of all requests.

    Returns:
        The new run.

    Raises:
        RunError: The folder contains no finished run; something is missing (`missing-file`); the data (`data-changed`), the
            model (`model-changed`) or other settings (`settings-changed`) differ; or the run was made from Python objects that
            no options express (`cannot-rerun`).
    """
    from promptkit.evaluation.evaluate import evaluate

    folder = expanded(run.path if isinstance(run, Run) else run)
    summary = read_summary(folder)
    settings = cast(RunSettings, read_json(folder / SETTINGS))
    given = {"task": task, "data": data, "train": train, "prompt": prompt, "predictor": predictor, "model": model}
    with _repeated(folder, settings, summary, {key: value for key, value in given.items() if value is not None}) as again:
        notes = _check_settings(folder, settings, again)
        target = folder.parent / RERUNS if out is None else expanded(out)
        _check_other_folder(folder, target)
        has_baselines = (folder / BASELINES).is_file()
        new = evaluate(
            again.predictors, again.task, **again.rows, baselines=has_baselines, out=target, cache=cache, progress=progress
        )
        if again.options is not None:
            record_options(new.path, again.options)
    return replace(new, notes=(*new.notes, *notes, _comparison(folder, summary, new)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Repeated:
    """What a run evaluates."""

    task: Task
    predictors: Sequence[Predictor]
    rows: SelectedRows
    options: Mapping[str, object] | None
    """The options, if the run was made by options."""


@contextmanager
def _repeated(folder: Path, settings: RunSettings, summary: RunSummary, given: Mapping[str, object]) -> Iterator[_Repeated]:
    """Yields what a run evaluates.

    Args:
        folder: The run's folder.
        settings: Its settings.
        summary: Its summary.
        given: Option -> the place that the user gives.
    """
    recorded, origin = read_options(folder), read_origin(folder)
    options = inferred_options(settings, folder) if recorded is None else {**recorded}
    if options is None or (recorded is None and _was_fitted(settings)):
        raise _cannot(folder, "it was made from Python objects that no options express")
    if recorded is None and (origin is None or origin["task"] is None) and "task" not in given:
        raise _cannot(folder, "its rows were in memory", f"Write them to a file and give it with {setting('task')}")
    with tempfile.TemporaryDirectory() as temporary:
        places = _Places(folder=folder, origin=origin, given=given, temporary=Path(temporary))
        config = EvalConfig.from_keywords(**places.located(options))
        title = str(settings["task"]["name"])
        if recorded is not None:
            template = config.saved_template() if config.predictor and config.template is None else config.template
            loaded = replace(resolve_task(config.task, config, template=template, title=title), name=title)
            rows = config.selected_rows()
            yield _Repeated(task=loaded, predictors=config.build(loaded), rows=rows, options=config.recorded())
            return
        of_task = {} if origin is None or origin["task"] is None else origin["task"]
        template = cast("str | None", of_task.get("template"))
        loaded = replace(resolve_task(config.task, config, template=template, title=title), name=title)
        rows = SelectedRows(
            split=settings["split"],
            limit=settings["limit"],
            folds=settings.get("folds", 1),
            allow_seen=bool(summary["seen_rows"]),
        )
        yield _Repeated(task=loaded, predictors=_predictors(config, loaded, settings), rows=rows, options=None)


def _was_fitted(settings: RunSettings) -> bool:
    from promptkit.align.chain import FITTED

    return any(FITTED in aligner for chain in settings["align"] for aligner in chain)


def _predictors(config: EvalConfig, task: Task, settings: RunSettings) -> list[Predictor]:
    """Builds the predictors of a run that was made from Python objects; the aligners are those in its settings."""
    from promptkit.align.chain import chain_from_settings
    from promptkit.config.modality import build_first_stages
    from promptkit.predictor.predictor import Predictor

    encoder, model = build_first_stages(task, config, config).encoder, config.load_model()
    manipulations: list[Manipulation | Modifier] = [encoder, *config.build_fixed(), *config.load_learned()]
    chains = map(chain_from_settings, settings["align"])
    return [
        Predictor(model, manipulations, [chain.reader, *([] if chain.calibration is None else [chain.calibration])])
        for chain in chains
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Finds the files that the options of a run name."""

    folder: Path
    """The run's folder."""
    origin: Origin | None
    given: Mapping[str, object]
    """Option -> the place that the user gives."""
    temporary: Path
    """A folder for a copy of the task file."""

    def located(self, options: Mapping[str, object]) -> dict[str, object]:
        """Returns the options with the paths of files that exist.

        Raises:
            RunError: A file does not exist.
        """
        found = {**options, **{key: _text(value) for key, value in self.given.items()}}
        origin = self.origin["task"] if self.origin is not None else None
        if "data" in found or (origin is not None and "data" in origin):
            place = found.get("data") if "data" in self.given else (origin or {}).get("data", found.get("data"))
            found["data"] = self._existing("data", str(place))
        found["task"] = str(found["task"]) if "task" in self.given else self._task(str(options["task"]))
        template = found.get("template")
        if isinstance(template, str) and template.endswith(".j2"):
            found["template"] = str(self.folder / TEMPLATE)
        for option in ("train", "predictor"):
            if isinstance(found.get(option), str) and not str(found[option]).startswith("hf://"):
                found[option] = self._existing(option, str(found[option]))
        if found.get("prompt"):
            found["prompt"] = [self._existing("prompt", each) for each in cast("list[str]", found["prompt"])]
        if isinstance(found.get("demos"), str) and str(found["demos"]).startswith(FILE):
            found["demos"] = FILE + self._existing("demos", str(found["demos"]).removeprefix(FILE))
        return found

    def _task(self, name: str) -> str:
        """Returns the name of a shipped task, or the path of the task file, its copy, or the data file."""
        if name in names("evals", ".yaml"):
            return name
        original = self._found(name)
        if original is None and self.origin is not None and self.origin["task"] is not None:
            original = self._found(str(self.origin["task"]["task"]))
        if original is None and (self.folder / TASK_FILE).is_file():
            original = self._copy(Path(name).name)
        if original is None:
            raise self._missing("task", name)
        return str(original)

    def _copy(self, name: str) -> Path | None:
        """Returns a copy of the task file with its template; None if its data are relative to the original file."""
        from promptkit.tasks.spec import read_spec

        copy = self.temporary / name
        copy.write_bytes((self.folder / TASK_FILE).read_bytes())
        spec = read_spec(copy)
        if any(source.files is not None or source.folder is not None or source.idx is not None for source in spec.sources):
            return None
        if spec.template.endswith(".j2") and (self.folder / TEMPLATE).is_file():
            (copy.parent / spec.template).parent.mkdir(parents=True, exist_ok=True)
            (copy.parent / spec.template).write_bytes((self.folder / TEMPLATE).read_bytes())
        return copy

    def _found(self, path: str) -> Path | None:
        """Returns a path that exists: from the current folder, or from the folder that the run was evaluated in."""
        starts = [Path(), *([] if self.origin is None else [Path(self.origin["folder"])])]
        return next((start / expanded(path) for start in starts if (start / expanded(path)).exists()), None)

    def _existing(self, option: str, path: str) -> str:
        found = self._found(path)
        if found is None:
            raise self._missing(option, path)
        return str(found)

    def _missing(self, option: str, path: str) -> RunError:
        return RunError(
            f"The run {self.folder} cannot be evaluated again: {path} does not exist",
            code="missing-file",
            hint=f"Give its new place with {setting(option)}",
            file=path,
            option=option,
        )


def _text(value: object) -> object:
    return [str(item) for item in value] if isinstance(value, list | tuple) else str(value)


def _cannot(folder: Path, reason: str, hint: str = "Evaluate it from Python, as it was made") -> RunError:
    return RunError(
        f"The run {folder} cannot be evaluated again from its folder: {reason}",
        code="cannot-rerun",
        hint=hint,
        folder=str(folder),
    )


def _check_settings(folder: Path, settings: RunSettings, again: _Repeated) -> list[str]:
    """Checks that a repeated run has the settings of the run, and returns notes on versions that differ.

    Raises:
        RunError: The data, the model or another setting differs.
    """
    from promptkit.evaluation.identity import run_settings
    from promptkit.evaluation.plan import plan_run

    new = run_settings(plan_run(again.predictors, again.task, **again.rows))
    before, after = cast("dict[str, object]", settings), cast("dict[str, object]", json.loads(json.dumps(new)))
    differing = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    notes = []
    for key in differing:
        if key == "promptkit":
            notes.append(f"the run was made with promptkit {before[key]}, and this is {after[key]}")
        elif key == "model" and (versions := _versions(before[key], after[key])):
            notes += versions
        else:
            code, reason, hint = CHANGES.get(key, _OTHER)
            raise RunError(
                f"The run {folder} cannot be evaluated again: {reason}",
                code=code,
                got=key,
                hint=spelled(hint),
                folder=str(folder),
                settings=tuple(differing),
            )
    return notes


def _versions(before: object, after: object) -> list[str]:
    """Returns notes on the versions of packages that differ; none if two models differ in something else."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return []
    differing = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if not {*differing} <= {*VERSIONS, "name", "device"}:
        return []
    return [f"{key}: the run was made with {before.get(key)}, and this is {after.get(key)}" for key in differing]


def _check_other_folder(folder: Path, out: Path) -> None:
    if out.resolve() == folder.resolve().parent:
        raise InputError(
            "A run is evaluated again into another folder than its own",
            code="same-folder",
            got=setting("out", str(out)),
            hint=f"Leave out {setting('out')}, or give another folder, such as {out / RERUNS}",
            folder=str(folder),
        )


def _comparison(folder: Path, summary: RunSummary, new: Run) -> str:
    """Returns a note that says which files of a repeated run differ from those of the run."""
    before, after = summary["sha256"], read_summary(new.path)["sha256"]
    differing = [name for name in {**before, **after} if name != SETTINGS and before.get(name) != after.get(name)]
    if (folder / SUMMARY).read_bytes() != (new.path / SUMMARY).read_bytes():
        differing.append(SUMMARY)
    return f"{', '.join(differing)} differ from those of {folder}" if differing else f"all files equal those of {folder}"
