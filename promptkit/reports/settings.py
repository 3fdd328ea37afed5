"""What determines a result: settings, versions, hardware, the command that repeats it, and a citation."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from promptkit.reports.blocks import Block, Code, Facts, Section
from promptkit.runs.files import read_json
from promptkit.runs.folder import SETTINGS
from promptkit.runs.recorded import read_options, read_origin
from promptkit.runs.schema import RunSettings
from promptkit.runs.words import command_words

TEXTS = frozenset({"instruction", "content_free", "words"})
"""Settings that are texts of a prompt."""
TEXT_OPTIONS = frozenset({"instruction", "template"})
"""Options that can be texts of a prompt."""


def run_settings(folder: Path) -> RunSettings:
    """Returns the settings in the folder of a run, which exist from the start of the run."""
    return cast("RunSettings", read_json(folder / SETTINGS))


def run_command(folder: Path, *, text: bool) -> str | None:
    """Returns the `promptkit eval` command that a run was made with; None if it was made from Python objects.

    Args:
        folder: The folder of the run.
        text: Whether the command may contain texts of prompts.
    """
    recorded = read_options(folder)
    if recorded is None or (not text and TEXT_OPTIONS & recorded.keys()):
        return None
    return shlex.join(command_words("eval", recorded))


def settings_section(folder: Path, *, text: bool, name: str = "", number: int = 0) -> Section:
    """Returns the settings of a run, its versions and hardware, the command that repeats it and a citation.

    Args:
        folder: The folder of the run.
        text: Whether the texts of prompts are shown.
        name: The name of the run, if the page is about several.
        number: The number of the run, if the page is about several.
    """
    command = run_command(folder, text=text)
    blocks: list[Block] = [] if command is None else [Code(title="The command that evaluates it", text=command)]
    if command is None and read_origin(folder) is not None:
        blocks.append(Code(title="Evaluates it again from its folder", text=f"promptkit rerun {shlex.quote(folder.name)}"))
    settings = cast("Mapping[str, object]", run_settings(folder))
    blocks += settings_blocks(settings, text=text)
    suffix = f" of {name}" if name else ""
    return Section(id=f"settings-{number}" if number else "settings", title=f"Settings and reproduction{suffix}", blocks=blocks)


def settings_blocks(settings: Mapping[str, object], *, text: bool) -> list[Block]:
    """Returns all settings, and the citation of the version of promptkit among them.

    Args:
        settings: The settings.
        text: Whether the texts of prompts are shown.
    """
    cited = Code(title="Citation (BibTeX)", text=citation(str(settings["promptkit"])))
    return [Facts(facts=flat(settings, text=text)), cited]


def citation(version: str) -> str:
    """Returns the BibTeX entry of a version of promptkit."""
    title = "promptkit: repurposing frozen pre-trained models"
    return f"@software{{promptkit,\n  title = {{{title}}},\n  version = {{{version}}},\n  license = {{Apache-2.0}}\n}}"


def flat(settings: Mapping[str, object], *, text: bool) -> dict[str, str]:
    """Returns settings as name -> value, with the names of nested ones joined by dots.

    Args:
        settings: The settings.
        text: Whether the texts of prompts are shown.
    """
    found: dict[str, str] = {}
    for name, value in settings.items():
        found |= _flat(name, value, text=text)
    return found


def _flat(name: str, value: object, *, text: bool) -> dict[str, str]:
    if not text and name.rpartition(".")[2] in TEXTS and value:
        return {name: "(a text, left out)"}
    if isinstance(value, Mapping):
        return {key: each for inner, item in value.items() for key, each in _flat(f"{name}.{inner}", item, text=text).items()}
    if isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        pairs = enumerate(value, start=1)
        return {key: each for number, item in pairs for key, each in _flat(f"{name}.{number}", item, text=text).items()}
    return {name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}
