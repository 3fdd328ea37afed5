"""Builds models, manipulations and predictors from options."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from promptkit.config.answer import CHANNEL, PMI, AnswerOptions
from promptkit.config.prompt import PromptOptions
from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.core.manipulation import Learnable, Manipulation, Modifier
    from promptkit.core.model import Model
    from promptkit.manipulate.prompt import Prompt
    from promptkit.predictor.predictor import Predictor
    from promptkit.tasks.task import Task
    from promptkit.training.config import TrainingConfig

_log = logging.getLogger(__name__)


def parse_settings(settings: Sequence[str]) -> dict[str, object]:
    """Parses engine settings of the form KEY=VALUE.

    Raises:
        InputError: A setting has no key or no `=`, or a key occurs twice.
    """
    values: dict[str, object] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals):
            raise InputError(
                "A setting cannot be parsed",
                code="malformed-setting",
                got=f"--set {setting}",
                hint="Write --set KEY=VALUE",
                setting=setting,
            )
        if key in values:
            raise InputError(
                f"The setting {key} is given twice",
                code="duplicate-setting",
                got=f"{values[key]} and {value}",
                hint="Give it once",
                setting=key,
                values=(str(values[key]), value),
            )
        values[key] = value
    return values


def load_model(name: str, settings: Sequence[str] | None) -> Model:
    """Loads a model with engine settings of the form KEY=VALUE."""
    from promptkit.models.registry import load

    return load(name, **parse_settings(settings or []))


def build_predictors(
    task: Task,
    model: str,
    settings: Sequence[str] | None,
    prompt: PromptOptions,
    answer: AnswerOptions,
    *,
    split: str | None = None,
    limit: int | None = None,
    calibrate: str = "",
) -> list[Predictor]:
    """Builds the uncalibrated predictor and one predictor for each calibration.

    A dry run finds errors in the rows and the prompt before the model is loaded. Learned prompts depend on the model, so
    with them the dry run takes place after loading.

    Args:
        task: The task.
        model: The model's name, `[engine:]name`.
        settings: Engine settings of the form KEY=VALUE.
        prompt: The options of the prompt.
        answer: How answers are scored or generated.
        split: The split of the dry run; by default the one that the task evaluates.
        limit: The number of rows of the dry run.
        calibrate: Names of calibrations, separated by commas.
    """
    from promptkit.evaluation.evaluate import dry_run
    from promptkit.models.registry import load

    model_settings = parse_settings(settings or [])
    with_model = predictor_builder(task, model, prompt, answer, calibrate)
    if prompt.prompt:
        predictors = with_model(load(model, **model_settings))
        dry_run(predictors, task, split=split, limit=limit)
        return predictors
    dry_run(with_model(load("fake")), task, split=split, limit=limit)
    return with_model(load(model, **model_settings))


def predictor_builder(
    task: Task, model: str, prompt: PromptOptions, answer: AnswerOptions, calibrate: str = ""
) -> Callable[[Model], list[Predictor]]:
    """Returns a function that builds the predictors for a loaded model: the uncalibrated one, then one per calibration.

    Everything that needs no model is built and checked here, before the model is loaded.
    """
    from promptkit.align.chain import CALIBRATIONS, Aligners
    from promptkit.core.registry import build
    from promptkit.manipulate.learned.storage import load_manipulation
    from promptkit.predictor.compatibility import check_engine
    from promptkit.predictor.predictor import Predictor

    aligner = answer.build_first_aligner(task, seed=prompt.seed)
    built_prompt = prompt.build_prompt(task, channel=answer.score == CHANNEL)
    calibrations = [build("calibration", CALIBRATIONS, name) for name in calibrate.split(",") if name.strip()]
    uncalibrated: Aligners = [aligner, CALIBRATIONS[PMI]()] if answer.score == PMI else aligner

    folders = prompt.prompt or []
    learned = [load_manipulation(folder) for folder in folders]
    check_engine(learned, model)
    for folder in folders:
        _warn_if_prompt_differs(folder, built_prompt)
    manipulations: list[Manipulation | Modifier] = [built_prompt, *learned]

    def with_model(loaded: Model) -> list[Predictor]:
        calibrated = [Predictor(loaded, manipulations, [aligner, calibration]) for calibration in calibrations]
        return [Predictor(loaded, manipulations, uncalibrated), *calibrated]

    return with_model


def _warn_if_prompt_differs(folder: str, prompt: Prompt) -> None:
    """Warns about prompt settings that differ from those that a learned prompt was trained with."""
    from promptkit.manipulate.learned.storage import read_manifest

    manifest = read_manifest(folder)
    trained = manifest.prompt if manifest else {}
    current = json.loads(json.dumps(prompt.settings()))
    different = [name for name, value in current.items() if name in trained and trained[name] != value]
    if different:
        _log.warning(
            "The learned prompt in %s was trained with other prompt settings than are used here: %s.",
            folder,
            ", ".join(different),
        )


def build_learnables(spellings: Sequence[str], seed: int) -> list[Learnable]:
    """Builds the manipulations to train.

    Args:
        spellings: `name:key=value`, such as `soft:length=20`.
        seed: The seed of random initializations that define none.
    """
    from promptkit.core.registry import build
    from promptkit.manipulate.learned.storage import LEARNABLE

    return [build("learned manipulation", LEARNABLE, spelling, seed=seed) for spelling in spellings]


def build_trainable_predictor(
    task: Task,
    model: str,
    settings: Sequence[str] | None,
    prompt: PromptOptions,
    learnables: Sequence[Learnable],
    config: TrainingConfig,
    split: str | None,
) -> Predictor:
    """Builds the predictor to train. A dry run finds errors in the rows and the prompt before the model is loaded."""
    from promptkit.evaluation.evaluate import dry_run
    from promptkit.models.registry import load
    from promptkit.predictor.compatibility import check_engine
    from promptkit.predictor.predictor import Predictor
    from promptkit.training.checks import check

    model_settings = parse_settings(settings or [])
    check_engine(learnables, model)
    built_prompt, aligner = prompt.build_prompt(task), AnswerOptions().build_first_aligner(task)
    # the fake model has no layers, so manipulations of hidden states are not part of the dry run
    outside_layers = [learnable for learnable in learnables if learnable.kind.location != "hidden"]
    fake = Predictor(load("fake"), [built_prompt, *outside_layers], aligner)
    check(fake, task, split=split, config=config)
    dry_run([fake], task, split=split)
    return Predictor(load(model, **model_settings), [built_prompt, *learnables], aligner)
