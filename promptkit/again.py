"""The `promptkit eval` command that a run's settings stand for, so that it can be made again with more calibrations."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from promptkit.manipulate.cot import COT
from promptkit.manipulate.demos import SELECTORS
from promptkit.manipulate.order import ORDERS
from promptkit.registry import build_from, spelling
from promptkit.resources import names
from promptkit.template import Template

OWN_TASK = "TASK"
"""Stands for a task that is no shipped one: a run does not say where its file lies."""


def eval_command(settings: Mapping[str, Any], calibrate: Sequence[str]) -> str | None:
    """As the command line would spell the run, with these calibrations; None where it was made by what has no spelling."""
    task, prompt, first = settings["task"], settings["manipulate"], settings["align"][0][0]
    if "template" not in prompt or "with" in prompt or prompt["template"] == Template.name:
        return None
    words = ["promptkit", "eval", task["name"] if task["name"] in names("evals", ".yaml") else OWN_TASK]
    words += ["--model", settings["model"]["name"], "--template", prompt["template"]]
    words += ["--demos", _spelled("demonstration selector", SELECTORS, prompt["demos"])]
    if prompt["demos"]["name"] == "zero":
        words[-2:] = ["--shots", "0"]
    ranked = getattr(SELECTORS[prompt["demos"]["name"]], "ranks", False)
    if prompt["order"]["name"] != ("nearest-last" if ranked else "given"):
        words += ["--order", _spelled("order", ORDERS, prompt["order"])]
    if prompt["instruction"] is not None:
        words += ["--instruction", prompt["instruction"]]
    words += ["--chat"] if prompt["chat"] else []
    words += ["--cot", _spelled("chain of thought", COT, prompt["cot"])] if prompt["cot"] else []
    score = "channel" if prompt["channel"] else first.get("score", "sum")
    words += ["--score", score] if score != "sum" else []
    words += ["--split", settings["split"]]
    words += ["--limit", str(settings["limit"])] if settings["limit"] is not None else []
    return shlex.join([*words, "--calibrate", ",".join(calibrate)])


def _spelled(kind: str, table: Mapping[str, type], given: Mapping[str, Any]) -> str:
    keywords = {key: value for key, value in given.items() if key != "name"}
    return spelling(build_from(kind, table, given["name"], keywords))
