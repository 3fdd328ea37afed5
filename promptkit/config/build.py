"""Builds predictors from configurations."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.config.modality import build_first_stages

if TYPE_CHECKING:
    from promptkit.align.chain import Aligners
    from promptkit.config.eval_options import EvalOptions
    from promptkit.core.manipulation import Manipulation, Modifier
    from promptkit.core.model import Model
    from promptkit.core.output_reader import OutputReader
    from promptkit.predictor.predictor import Predictor
    from promptkit.tasks.task import Task

_log = logging.getLogger(__name__)


def build_predictors(config: EvalOptions, task: Task, stages: Stages | None = None) -> list[Predictor]:
    """Builds the uncalibrated predictor and one predictor for each calibration.

    A dry run finds errors in the rows and the prompt before the model is loaded. With learned manipulations and for images it
    needs the model, and takes place after loading.

    Args:
        config: The options.
        task: The task.
        stages: The result of `build_stages`, if it is known.
    """
    from promptkit.evaluation.evaluate import dry_run
    from promptkit.models.registry import load

    with_model = predictor_builder(config, task, stages)
    if config.prompt or task.spec.modality != "text":
        predictors = with_model(config.load_model())
        dry_run(predictors, task, **config.selected_rows())
        return predictors
    dry_run(with_model(load("fake")), task, **config.selected_rows())
    return with_model(config.load_model())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The stages of the predictors of a configuration, before the model is loaded."""

    manipulations: list[Manipulation | Modifier]
    reader: OutputReader
    """The first aligner of all predictors."""
    aligners: list[Aligners]
    """The aligners of each predictor."""


def build_stages(config: EvalOptions, task: Task) -> Stages:
    """Builds and checks everything of predictors that needs no model.

    Raises:
        PromptkitError: An option is invalid, or the engine does not support what the predictors request.
    """
    from promptkit.predictor.compatibility import check_engine

    first = build_first_stages(task, config, config)
    calibrations = config.build_calibrations()
    fixed, learned = config.build_fixed(), config.load_learned()
    check_engine(config.model, first.encoder, [*fixed, *learned], first.reader, calibrations)
    for folder in config.prompt or ():
        _warn_if_prompt_differs(folder, first.encoder.settings())
    aligners: list[Aligners] = [[first.reader, calibration] for calibration in calibrations]
    if first.uncalibrated is not None or not aligners:
        aligners.insert(0, first.uncalibrated or first.reader)
    return Stages(manipulations=[first.encoder, *fixed, *learned], reader=first.reader, aligners=aligners)


def predictor_builder(config: EvalOptions, task: Task, stages: Stages | None = None) -> Callable[[Model], list[Predictor]]:
    """Returns a function that builds the predictors for a loaded model: the uncalibrated one, then one per calibration.

    Everything that needs no model is built and checked here, before the model is loaded. The arguments are those of
    `build_predictors`.
    """
    from promptkit.predictor.predictor import Predictor

    built = stages or build_stages(config, task)
    return lambda model: [Predictor(model, built.manipulations, each) for each in built.aligners]


def _warn_if_prompt_differs(folder: str, current: Mapping[str, object]) -> None:
    """Warns about settings of the first manipulation that differ from its settings when a learned manipulation was trained."""
    from promptkit.manipulate.learned.storage import read_manifest

    manifest = read_manifest(folder)
    trained = manifest.prompt if manifest else {}
    as_json = json.loads(json.dumps(dict(current)))
    different = [name for name, value in as_json.items() if name in trained and trained[name] != value]
    if different:
        _log.warning(
            "The learned prompt in %s was trained with other prompt settings than are used here: %s.",
            folder,
            ", ".join(different),
        )
