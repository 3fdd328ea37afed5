"""Infers the options of `promptkit eval` from the settings of a run that was created from Python objects."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypedDict, cast

from promptkit.core.errors import PromptkitError
from promptkit.core.model import LOADER
from promptkit.core.paths import names
from promptkit.core.registry import Named, build_from, spelling
from promptkit.inputs.text.template import Template
from promptkit.manipulate.cot import COT
from promptkit.manipulate.demos import SELECTORS
from promptkit.manipulate.image.processor import ImageProcessor
from promptkit.manipulate.learned.base_model import content_of
from promptkit.manipulate.learned.storage import MANIFEST, load_manipulation
from promptkit.manipulate.modifiers import FIXED, LEARNABLE
from promptkit.manipulate.order.fixed import ORDERS, default_order
from promptkit.models.registry import ENGINES
from promptkit.runs.recorded import TEMPLATE, read_origin
from promptkit.runs.schema import RunSettings
from promptkit.runs.words import TASK

PROMPT, PMI = "prompt", "pmi"
TASK_PLACEHOLDER = "TASK"
"""Replaces the path of a task file, which a run does not record."""
DATA_PLACEHOLDER = "DIR"
"""Replaces the folder of a mirror of datasets, which a run does not record."""
LEARNED_PLACEHOLDER = "FOLDER"
"""Replaces the folder of a learned manipulation that is not found."""

_Settings = Mapping[str, object]
_PromptSettings = TypedDict(
    "_PromptSettings",
    {
        "template": str,
        "instruction": str | None,
        "chat": bool,
        "thinking": bool,
        "chat_template": str,
        "channel": bool,
        "on_too_long": str,
        "demos": _Settings,
        "order": _Settings,
        "cot": _Settings | None,
        "with": Sequence[_Settings],
    },
    total=False,
)


def inferred_options(settings: RunSettings, folder: Path | None) -> dict[str, object] | None:
    """Returns the options of `promptkit eval` that repeat a run which was created from Python objects.

    Args:
        settings: Settings of the run.
        folder: The run's folder, which says where the task comes from and contains the template; the run's learned
            manipulations are looked up next to it.

    Returns:
        Option -> value, without calibrations; None if no options express the run.
    """
    prompt, chains = _prompt_settings(settings), settings["align"]
    modifiers = prompt.get("with", ())
    fixed = [modifier for modifier in modifiers if modifier.get("name") in FIXED]
    learned = modifiers[len(fixed) :]
    template = None if folder is None or not (folder / TEMPLATE).is_file() else folder / TEMPLATE
    if LOADER in settings["model"] or not (_has_command(prompt, template) and all(map(_is_saved, learned))):
        return None
    is_pmi = all(len(chain) > 1 for chain in chains) and [aligner["name"] for aligner in chains[0][1:]] == [PMI]
    score = "channel" if prompt.get("channel") else PMI if is_pmi else str(chains[0][0].get("score", "sum"))
    task, model, limit = str(settings["task"]["name"]), settings["model"], settings["limit"]
    needs_mirror = "mirror" in cast(_Settings, settings["task"].get("source", {})) and "PROMPTKIT_DATA" not in os.environ
    origin = None if folder is None else read_origin(folder)
    task_options = {TASK: task if task in names("evals", ".yaml") else TASK_PLACEHOLDER}
    if origin is not None and origin["task"] is not None:
        task_options = {key: cast(str, value) for key, value in origin["task"].items() if key not in ("data", "template")}
    return {
        **task_options,
        **({"data": DATA_PLACEHOLDER} if needs_mirror else {}),
        "model": str(model["name"]),
        "set": _model_settings(model),
        **({} if _is_of_images(prompt) else _prompt_options(prompt, template)),
        **({} if score == "sum" else {"score": score}),
        "manipulation": [_spelled("fixed manipulation", FIXED, modifier) for modifier in fixed],
        PROMPT: _saved_folders(learned, None if folder is None else folder.parent, model),
        "split": settings["split"],
        **({} if limit is None else {"limit": limit}),
        **({"folds": settings["folds"]} if "folds" in settings else {}),
    }


def _prompt_settings(settings: RunSettings) -> _PromptSettings:
    return cast(_PromptSettings, settings["manipulate"])


def _has_command(prompt: _PromptSettings, template: Path | None) -> bool:
    """Whether options express the first manipulation: all of its settings are known, and a template has a name or a file."""
    if _is_of_images(prompt):
        return True
    is_known = prompt.keys() <= {*_PromptSettings.__annotations__, "template_sha256"}
    return is_known and "template" in prompt and (prompt["template"] != Template.name or template is not None)


def _is_of_images(prompt: _PromptSettings) -> bool:
    """Whether the first manipulation decodes images, for which there are no options."""
    return {key: value for key, value in prompt.items() if key != "with"} == ImageProcessor().settings()


def _is_saved(modifier: _Settings) -> bool:
    """Whether a folder can contain the modifier: a learnable one of promptkit that has been trained."""
    return modifier.get("name") in LEARNABLE and bool({"sha256", "ids"} & modifier.keys())


def _prompt_options(prompt: _PromptSettings, template: Path | None) -> dict[str, object]:
    demos, order = prompt["demos"], prompt["order"]
    has_demos = demos["name"] != "zero"
    is_text = prompt["template"] == Template.name and template is not None
    options: dict[str, object] = {"template": str(template) if is_text else prompt["template"]}
    if has_demos:
        options["demos"] = _spelled("demonstration selector", SELECTORS, demos)
    if prompt.get("with") or not has_demos:
        options["shots"] = demos.get("k", 0)
    if order["name"] != default_order(SELECTORS[str(demos["name"])]).name:
        options["order"] = _spelled("order", ORDERS, order)
    if prompt["instruction"] is not None:
        options["instruction"] = prompt["instruction"]
    if prompt["chat"]:
        options["chat"] = True
    if "thinking" in prompt:
        options["thinking"] = "on" if prompt["thinking"] else "off"
    if "chat_template" in prompt:
        options["chat_template"] = prompt["chat_template"]
    if prompt["cot"]:
        options["cot"] = _spelled("chain of thought", COT, prompt["cot"])
    if prompt.get("on_too_long", "truncate-demos") != "truncate-demos":
        options["on_too_long"] = prompt["on_too_long"]
    return options


def _saved_folders(modifiers: Sequence[_Settings], out: Path | None, model: _Settings) -> list[str]:
    folders = _learned_folders(out, model) if out is not None and modifiers else {}
    return [str(folders.get(json.dumps(modifier, sort_keys=True), LEARNED_PLACEHOLDER)) for modifier in modifiers]


def _learned_folders(out: Path, model: _Settings) -> dict[str, Path]:
    """For every manipulation learned on a model that is saved below a folder: its settings as JSON -> its folder."""
    folders: dict[str, Path] = {}
    content = content_of(str(model["name"]), model)
    for manifest in sorted(path for depth in ("*", "*/*") for path in out.glob(f"{depth}/{MANIFEST}")):
        with suppress(PromptkitError):  # damaged folders are skipped
            learned = load_manipulation(manifest.parent)
            if all(learned.base.get(part, content[part]) == content[part] for part in ("tokenizer", "content")):
                folders.setdefault(json.dumps(dict(learned.settings()), sort_keys=True), manifest.parent)
    return folders


def _model_settings(model: _Settings) -> dict[str, object]:
    engine = ENGINES.get(str(model.get("engine", "")))
    values = {key: model.get(key) for key in (engine.recorded if engine else ())}
    texts = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: text for key, text in texts.items() if text not in (None, "{}")}


def _spelled(kind: str, table: Mapping[str, type[Named]], settings: _Settings) -> str:
    keywords = {key: value for key, value in settings.items() if key != "name"}
    return spelling(build_from(kind, table, str(settings["name"]), keywords))
