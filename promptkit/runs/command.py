"""The `promptkit eval` command that a run's settings stand for, so that it can be made again with more calibrations."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from promptkit.core.errors import PromptkitError
from promptkit.core.paths import names
from promptkit.core.registry import build_from, spelling
from promptkit.inputs.text.template import Template
from promptkit.manipulate.cot import COT
from promptkit.manipulate.demos import SELECTORS
from promptkit.manipulate.learned.storage import LEARNABLE, MANIFEST, load_manipulation
from promptkit.manipulate.order.fixed import ORDERS, default_order
from promptkit.predictor.compatibility import content_of

OWN_TASK = "TASK"
"""Stands for a task that is no shipped one: a run does not say where its file lies."""
LEARNED = "FOLDER"
"""Stands for the folder of something learned that is not found beside the run, which says what it is, not where it lies."""
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "hf": ("device", "dtype", "attention", "batch_tokens"),
    "vllm": (
        *("dtype", "batch_tokens", "quantization", "max_model_len"),
        *("tensor_parallel_size", "pipeline_parallel_size", "engine_args"),
    ),
    "http": ("base_url",),
    "fake": ("batch_tokens",),
}
"""Of each engine, the settings that a run records as they are given to `--set`."""


def eval_command(settings: Mapping[str, Any], calibrate: Sequence[str], *, beside: Path | None = None) -> str | None:
    """As the command line would spell the run, with these calibrations; None where it was made by what has no spelling.

    What was learned is looked for among the trainings in the folder `beside`.
    """
    task, prompt, (first, *after) = settings["task"], settings["manipulate"], settings["align"][0]
    changes = prompt.get("with", ())
    if "template" not in prompt or prompt["template"] == Template.name or not all(map(_is_saved, changes)):
        return None
    places = _places(beside, settings["model"]) if changes else {}
    words = ["promptkit", "eval", task["name"] if task["name"] in names("evals", ".yaml") else OWN_TASK]
    words += ["--model", settings["model"]["name"], *_set(settings["model"]), "--template", prompt["template"]]
    demos = prompt["demos"]
    words += [] if demos["name"] == "zero" else ["--demos", _spelled("demonstration selector", SELECTORS, demos)]
    words += ["--shots", str(demos.get("k", 0))] if changes or demos["name"] == "zero" else []
    if prompt["order"]["name"] != default_order(SELECTORS[prompt["demos"]["name"]]).name:
        words += ["--order", _spelled("order", ORDERS, prompt["order"])]
    if prompt["instruction"] is not None:
        words += ["--instruction", prompt["instruction"]]
    words += ["--chat"] if prompt["chat"] else []
    words += ["--cot", _spelled("chain of thought", COT, prompt["cot"])] if prompt["cot"] else []
    by_pmi = [each["name"] for each in after] == ["pmi"] and all(len(chain) > 1 for chain in settings["align"])
    score = "channel" if prompt["channel"] else "pmi" if by_pmi else first.get("score", "sum")
    words += ["--score", score] if score != "sum" else []
    words += [word for each in changes for word in ("--prompt", str(places.get(json.dumps(each, sort_keys=True), LEARNED)))]
    words += ["--split", settings["split"]]
    words += ["--limit", str(settings["limit"])] if settings["limit"] is not None else []
    return shlex.join([*words, "--calibrate", ",".join(each for each in calibrate if not (by_pmi and each == "pmi"))])


def explained(command: str) -> str:
    """The command, and what its reader has to put in."""
    told = []
    if command.startswith(f"promptkit eval {OWN_TASK} "):
        told.append(f"{OWN_TASK} stands for the file of your own, with the options that it was given")
    if f" --prompt {LEARNED} " in command:
        told.append(f"{LEARNED} stands for the folder of what was learned")
    return command + (f" ({'; '.join(told)})" if told else "")


def without_premise(settings: Mapping[str, Any]) -> str | None:
    """Why the prompts of a run have no premise, or None."""
    prompt = settings["manipulate"]
    where = "by the channel" if prompt.get("channel") else "behind a chain of thought" if prompt.get("cot") else None
    return where and f"{where} there is no premise without inputs"


def _is_saved(change: Mapping[str, Any]) -> bool:
    """Whether a folder can hold what has these settings: one of ours, once it has learned something."""
    return change.get("name") in LEARNABLE and bool({"sha256", "ids"} & change.keys())


def _places(beside: Path | None, model: Mapping[str, Any]) -> dict[str, Path]:
    """Of what was learned on a model and saved among the trainings in a folder: its settings, as JSON -> where it lies."""
    found: dict[str, Path] = {}
    for manifest in sorted(each for depth in ("*", "*/*") for each in beside.glob(f"{depth}/{MANIFEST}")) if beside else ():
        with suppress(PromptkitError):  # another one, which is damaged
            learned = load_manipulation(manifest.parent)
            own = content_of(model["name"], model)
            if all(learned.base.get(part, own[part]) == own[part] for part in ("tokenizer", "content")):
                found.setdefault(json.dumps(dict(learned.settings()), sort_keys=True), manifest.parent)
    return found


def _set(model: Mapping[str, Any]) -> list[str]:
    told = {key: model[key] for key in SETTINGS.get(model.get("engine", ""), ()) if model.get(key) not in (None, {})}
    texts = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in told.items()}
    return [word for key, text in texts.items() for word in ("--set", f"{key}={text}")]


def _spelled(kind: str, table: Mapping[str, type], given: Mapping[str, Any]) -> str:
    keywords = {key: value for key, value in given.items() if key != "name"}
    return spelling(build_from(kind, table, given["name"], keywords))
