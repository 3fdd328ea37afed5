"""Builds tasks, models, predictors and optimizers from settings."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from promptkit.config.prompt import CHANNEL, PMI, PromptOptions
from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.core.manipulation import Learnable, Manipulation, Modifier
    from promptkit.core.model import Model
    from promptkit.manipulate.prompt import Prompt
    from promptkit.predictor.predictor import Predictor
    from promptkit.tasks.task import Task
    from promptkit.training.config import TrainingConfig
    from promptkit.training.optimizers.base import Optimizer


_log = logging.getLogger(__name__)


def count(shots: int | None, saved: Sequence[str] | None) -> int:
    """How many demonstrations: 8, or none where something was learned in their place, unless given."""
    return (0 if saved else 8) if shots is None else shots


def predictors(
    task: Task,
    model: str,
    settings: list[str] | None,
    options: PromptOptions,
    chain: dict[str, Any],
    *,
    split: str | None = None,
    limit: int | None = None,
    calibrate: str = "",
    saved: Sequence[str] = (),
) -> list[Predictor]:
    """The plain predictor, and one for each calibration; `chain` says more of its first aligner.

    What is wrong with the rows or the prompt is found before the model is loaded, by a rehearsal; with what was learned on a
    model, by one with that model's own card.
    """
    from promptkit.evaluation.evaluate import dry_run
    from promptkit.models.registry import load

    told = pairs(settings or [])
    over = branches(task, model, options, chain, calibrate, saved)
    if saved:
        learned_on = over(load(model, **told))
        dry_run(learned_on, task, split=split, limit=limit)
        return learned_on
    dry_run(over(load("fake")), task, split=split, limit=limit)
    return over(load(model, **told))


def branches(
    task: Task, model: str, options: PromptOptions, chain: dict[str, Any], calibrate: str = "", saved: Sequence[str] = ()
) -> Callable[[Model], list[Predictor]]:
    """What makes, of a loaded `model`, the plain predictor, or that which scores by pmi, and one for each calibration."""
    from promptkit.align.chain import CALIBRATIONS, reading
    from promptkit.core.registry import build
    from promptkit.manipulate.learned.storage import load_manipulation
    from promptkit.predictor.compatibility import check_engine
    from promptkit.predictor.predictor import Predictor

    told = chain.get("score", "sum")
    prompt = options.prompt(task, channel=told == CHANNEL)
    first = reading(task, **(chain | {"score": "sum"} if told in (PMI, CHANNEL) else chain))
    plain = [first, CALIBRATIONS[PMI]()] if told == PMI else first
    calibrations = [build("calibration", CALIBRATIONS, spelling) for spelling in calibrate.split(",") if spelling.strip()]

    changes = [load_manipulation(folder) for folder in saved]
    check_engine(changes, model)
    for folder in saved:
        _compare(folder, prompt)

    def over(loaded: Model) -> list[Predictor]:
        changed: list[Manipulation | Modifier] = [prompt, *changes]
        return [Predictor(loaded, changed, plain), *(Predictor(loaded, changed, [first, each]) for each in calibrations)]

    return over


def _compare(folder: str, prompt: Prompt) -> None:
    """Say where a prompt is another one than that which was trained behind what is in the folder."""
    from promptkit.manipulate.learned.storage import read_manifest

    manifest = read_manifest(folder)
    trained = manifest.prompt if manifest else {}
    own = json.loads(json.dumps(prompt.settings()))
    differs = [name for name, value in own.items() if name in trained and trained[name] != value]
    if differs:
        _log.warning("The prompt in %s was learned with another %s than is used here.", folder, ", ".join(differs))


def chain(
    score: str, extract: str | None, max_tokens: int | None, samples: int | None, temperature: float | None, seed: int
) -> dict[str, Any]:
    """What the options say of the first aligner; the seed is of texts that are drawn."""
    drawn = temperature or samples
    written = {"max_tokens": max_tokens, "samples": samples, "temperature": temperature, "seed": seed if drawn else None}
    return {"score": score, "extract": extract} | {key: value for key, value in written.items() if value is not None}


def model(name: str, settings: list[str] | None) -> Model:
    """The model of that name with these settings."""
    from promptkit.models.registry import load

    return load(name, **pairs(settings or []))


def pairs(settings: list[str]) -> dict[str, object]:
    """KEY=VALUE, each key once."""
    told: dict[str, object] = {}
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
        if key in told:
            raise InputError(
                f"The setting {key} is given twice",
                code="duplicate-setting",
                got=f"{told[key]} and {value}",
                hint="Give it once",
                setting=key,
                values=(str(told[key]), value),
            )
        told[key] = value
    return told


def learnables(spellings: Sequence[str], seed: int) -> list[Learnable]:
    """What is learned, as --manipulation spells it; `seed` is of those that draw and are given none."""
    from promptkit.core.registry import build
    from promptkit.manipulate.learned.storage import LEARNABLE

    return [build("learned manipulation", LEARNABLE, spelling, seed=seed) for spelling in spellings]


def optimizer(spelling: str | None) -> Optimizer | None:
    """What changes it, as --optimizer spells it."""
    from promptkit.core.registry import build
    from promptkit.training.config import OPTIMIZERS

    return build("optimizer", OPTIMIZERS, spelling) if spelling else None


def trainable(
    task: Task,
    model: str,
    settings: list[str] | None,
    options: PromptOptions,
    changes: Sequence[Learnable],
    config: TrainingConfig,
    split: str | None,
) -> Predictor:
    """The predictor that is trained; what is wrong with the rows or the prompt is found before the model is loaded."""
    from promptkit.align.chain import reading
    from promptkit.evaluation.evaluate import dry_run
    from promptkit.models.registry import load
    from promptkit.predictor.compatibility import check_engine
    from promptkit.predictor.predictor import Predictor
    from promptkit.training.checks import check

    told = pairs(settings or [])
    check_engine(changes, model)
    prompt, first = options.prompt(task), reading(task)
    shown = [change for change in changes if change.kind.location != "hidden"]  # what is within the layers shows no mistake
    stand_in = Predictor(load("fake"), [prompt, *shown], first)
    check(stand_in, task, split=split, config=config)
    dry_run([stand_in], task, split=split)
    return Predictor(load(model, **told), [prompt, *changes], first)
