"""`promptkit convert`: converts learned prompts between PEFT and promptkit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.config.values import parse_settings


def convert(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="PEFT checkpoint, or folder with a learned prompt from `promptkit train`.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write, in the other format.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Model that the prompt was trained on, if the folder has another name for it.")
    ] = None,
    set_: opts.EngineSettings = None,
    as_json: opts.Json = False,
) -> None:
    """Convert learned prompts from or to PEFT. Supports prompt tuning, P-tuning and prefix tuning."""
    from promptkit.manipulate.learned.conversion import convert as convert_folder
    from promptkit.models.registry import load

    base = None if model is None else load(model, **parse_settings(set_ or ()))
    result = convert_folder(folder, out, model=base)
    typer.echo(json.dumps(result.to_json()) if as_json else result)
