"""The `promptkit eval` command that a run's settings stand for, so that it can be made again with more calibrations."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from promptkit.errors import PromptkitError
from promptkit.manipulate.cot import COT
from promptkit.manipulate.demos import SELECTORS
from promptkit.manipulate.order import ORDERS, default_order
from promptkit.manipulate.saved import LEARNABLE, MANIFEST, load_manipulation
from promptkit.registry import build_from, spelling
from promptkit.resources import names
from promptkit.template import Template

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
    learned = [_folder(each, beside) for each in prompt.get("with", ())]
    if "template" not in prompt or None in learned or prompt["template"] == Template.name:
        return None
    words = ["promptkit", "eval", task["name"] if task["name"] in names("evals", ".yaml") else OWN_TASK]
    words += ["--model", settings["model"]["name"], *_set(settings["model"]), "--template", prompt["template"]]
    words += ["--demos", _spelled("demonstration selector", SELECTORS, prompt["demos"])]
    if prompt["demos"]["name"] == "zero":
        words[-2:] = ["--shots", "0"]
    elif learned:  # without which there would be none
        words += ["--shots", str(prompt["demos"]["k"])]
    if prompt["order"]["name"] != default_order(SELECTORS[prompt["demos"]["name"]]).name:
        words += ["--order", _spelled("order", ORDERS, prompt["order"])]
    if prompt["instruction"] is not None:
        words += ["--instruction", prompt["instruction"]]
    words += ["--chat"] if prompt["chat"] else []
    words += ["--cot", _spelled("chain of thought", COT, prompt["cot"])] if prompt["cot"] else []
    by_pmi = [each["name"] for each in after] == ["pmi"] and all(len(chain) > 1 for chain in settings["align"])
    score = "channel" if prompt["channel"] else "pmi" if by_pmi else first.get("score", "sum")
    words += ["--score", score] if score != "sum" else []
    words += [word for folder in learned for word in ("--prompt", str(folder))]
    words += ["--split", settings["split"]]
    words += ["--limit", str(settings["limit"])] if settings["limit"] is not None else []
    return shlex.join([*words, "--calibrate", ",".join(each for each in calibrate if not (by_pmi and each == "pmi"))])


def explained(command: str) -> str:
    """The command, and what its reader has to put in."""
    words, told = command.split(" "), []
    if words[:3] == ["promptkit", "eval", OWN_TASK]:
        told.append(f"{OWN_TASK} stands for the file of your own, with the options that it was given")
    if ["--prompt", LEARNED] in map(list, pairwise(words)):
        told.append(f"{LEARNED} stands for the folder of what was learned")
    return command + (f" ({'; '.join(told)})" if told else "")


def without_premise(settings: Mapping[str, Any]) -> str | None:
    """Why the prompts of a run have no premise, or None."""
    prompt = settings["manipulate"]
    where = "by the channel" if prompt.get("channel") else "behind a chain of thought" if prompt.get("cot") else None
    return where and f"{where} there is no premise without inputs"


def _folder(settings: Mapping[str, Any], beside: Path | None) -> Path | str | None:
    """Where what has these settings was saved; None for what a folder cannot hold, as it is not one of ours or not learned."""
    if settings.get("name") not in LEARNABLE or not {"sha256", "ids"} & settings.keys():
        return None
    places = sorted({each.parent for depth in ("*", "*/*") for each in beside.glob(f"{depth}/{MANIFEST}")}) if beside else []
    for place in places:
        try:
            if load_manipulation(place).settings() == settings:
                return place
        except PromptkitError:  # another one, which is damaged
            continue
    return LEARNED


def _set(model: Mapping[str, Any]) -> list[str]:
    told = {key: model[key] for key in SETTINGS.get(model.get("engine", ""), ()) if model.get(key) not in (None, {})}
    texts = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in told.items()}
    return [word for key, text in texts.items() for word in ("--set", f"{key}={text}")]


def _spelled(kind: str, table: Mapping[str, type], given: Mapping[str, Any]) -> str:
    keywords = {key: value for key, value in given.items() if key != "name"}
    return spelling(build_from(kind, table, given["name"], keywords))
