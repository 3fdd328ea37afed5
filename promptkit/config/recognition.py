"""Recognizes a finished run by what determines it, without loading the model.

A run's folder contains the keys of the configurations that led to it. A key is a hash of the options, of the stages of the
predictors, of the rows that the run reads, of the content of the models' files, of the versions of packages and of the
devices. If anything of that is different, no key fits, and the model is loaded to find out which run it is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from promptkit.core.errors import PromptkitError, RunError
from promptkit.core.files import write_atomically
from promptkit.core.hashing import sha256_hex
from promptkit.core.paths import expanded

if TYPE_CHECKING:
    from promptkit.align.chain import Chain
    from promptkit.config.build import Stages
    from promptkit.config.eval_options import EvalOptions
    from promptkit.core.examples import LabeledExample, Part
    from promptkit.predictor.saved_format import SavedPredictor
    from promptkit.runs.run import Run
    from promptkit.tasks.task import Task

KEYS = "keys.json"
"""The file in the folder of a run with the keys of the configurations that led to it."""
IRRELEVANT = frozenset({"baselines", "metric", "save", "predictor"})
"""The options that do not change a run; the content of a saved predictor counts in place of its folder."""
MAX_KEYS = 32
"""The most keys that are kept; the oldest are dropped."""


def run_key(config: EvalOptions, stages: Stages, task: Task) -> str | None:
    """Returns a hash of everything that determines the run of a configuration; None if rows or models cannot be read.

    Args:
        config: The configuration.
        stages: The stages of its predictors.
        task: Its task.
    """
    return _key(lambda: _content(config, stages, task))


def predictor_key(config: EvalOptions, saved: SavedPredictor, chain: Chain, task: Task) -> str | None:
    """Returns the same hash for a configuration that evaluates a saved predictor.

    Args:
        config: The configuration.
        saved: The description of the predictor, with the hash of everything in its folder.
        chain: Its aligners.
        task: Its task.
    """
    return _key(lambda: _content_of_saved(config, saved, chain, task))


def _key(content: Callable[[], Mapping[str, object]]) -> str | None:
    try:
        return sha256_hex(json.dumps(content(), sort_keys=True, default=repr))
    except PromptkitError:  # the evaluation raises it, unless another error comes first
        return None


def _content_of_saved(config: EvalOptions, saved: SavedPredictor, chain: Chain, task: Task) -> Mapping[str, object]:
    """Returns everything that determines the run of a saved predictor."""
    from promptkit.collect.requirements import needs_of
    from promptkit.models.content import content_of_named

    is_given, settings = "model" in config.changed(), config.engine_settings()
    name = config.model if is_given else saved.model.name
    models = dict.fromkeys([*saved.models, *(name for need in needs_of([chain]) for name in need.models)])
    return {
        **_content_of_task(config, task, parts=()),
        "predictor": saved.sha256,
        "model": content_of_named(name, settings if is_given else {**saved.model.settings, **settings}),
        "models": {name: content_of_named(name, {}) for name in models},
    }


def _content_of_task(config: EvalOptions, task: Task, *, parts: Sequence[Part]) -> Mapping[str, object]:
    """Returns what determines a run besides its predictors.

    Args:
        config: The configuration.
        task: Its task.
        parts: The parts of the train split that prompts read.
    """
    from promptkit.models.content import environment

    return {
        "options": {name: value for name, value in config.changed().items() if name not in IRRELEVANT},
        "task": task.identity(),
        "spec": task.spec.model_dump(mode="json", exclude={"metrics"}),
        "template": task.inline_template,
        "rows": _rows(config, parts, task),
        "environment": environment(),
    }


def _content(config: EvalOptions, stages: Stages, task: Task) -> Mapping[str, object]:
    """Returns everything that determines the run of a configuration."""
    from promptkit.align.chain import make_chain
    from promptkit.collect.requirements import needs_of
    from promptkit.manipulate.compose import composed
    from promptkit.models.content import content_of_named

    manipulation = composed(stages.manipulations)
    chains = [make_chain(each) for each in stages.aligners]
    models = dict.fromkeys([*manipulation.models, *(name for need in needs_of(chains) for name in need.models)])
    return {
        **_content_of_task(config, task, parts=manipulation.parts),
        "fitted on": sorted(map(str, manipulation.fitted_on)),
        "manipulate": manipulation.settings(),
        "align": [chain.settings() for chain in chains],
        "model": content_of_named(config.model, config.engine_settings()),
        "models": {name: content_of_named(name, {}) for name in models},
    }


def _rows(config: EvalOptions, parts: Sequence[Part], task: Task) -> Mapping[str, object]:
    """Returns hashes of all rows that a run, its calibrations and its prompts can read."""
    from promptkit.tasks.single_table import number_of_folds

    split = config.split or task.spec.split
    folds = number_of_folds(task, split, config.folds)
    rows: dict[str, object] = {"evaluated": _hash(task.rows(split)), "folds": folds}
    if folds:
        rows["all"] = _hash(task.labeled_rows(split))
    for part in ("pool", "fit", "dev"):
        try:
            rows[part] = _hash(task.part(part))
        except PromptkitError:
            if part in parts:
                raise
    return rows


def _hash(rows: Sequence[LabeledExample]) -> str:
    return sha256_hex("\n".join(f"{row.identity()} {row.content}" for row in rows))


def _recognized(out: str | Path, task: str, key: str) -> Path | None:
    for file in expanded(out).glob(f"*/{KEYS}"):
        if file.parent.name.startswith(f"{task.replace('/', '-')}-") and key in _read(file):
            return file.parent
    return None


def read_recognized(out: str | Path, task: str, key: str, started: float) -> Run | None:
    """Returns the finished run that a configuration with a key led to, from its files; None if there is none.

    Args:
        out: The folder for run folders.
        task: The name of the task.
        key: The key of the configuration.
        started: The value of `time.perf_counter()` when the evaluation began.
    """
    folder = _recognized(out, task, key)
    if folder is None:
        return None
    from promptkit.runs.load import read_run
    from promptkit.runs.run import Run

    try:
        run = read_run(Run, folder, baselines=False)
    except RunError:  # a file is missing or was changed: the evaluation computes it again, or raises the error
        return None
    return replace(run, seconds=time.perf_counter() - started, examples_per_second=0.0, resumed=len(run.ids))


def remember(folder: Path, key: str) -> None:
    """Adds the key of a configuration to the folder of the finished run that it led to."""
    known = _read(folder / KEYS)
    if key not in known:
        _write(folder / KEYS, [*known, key][-MAX_KEYS:])


def _read(file: Path) -> list[str]:
    try:
        keys = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return cast("list[str]", keys) if isinstance(keys, list) else []


def _write(file: Path, keys: Iterable[str]) -> None:
    try:
        write_atomically(file, json.dumps([*keys], indent=1).encode() + b"\n")
    except OSError:
        return  # the next command loads the model again
