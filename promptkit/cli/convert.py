"""The command `promptkit convert`: its options, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.config import build


def convert(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="A PEFT checkpoint, or a folder that promptkit train has made.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write, of the other kind.")],
    model: Annotated[
        str | None, typer.Option("--model", help="The model that it was learned on, if the folder calls it by another name.")
    ] = None,
    set_: opts.Set = None,
    as_json: opts.Json = False,
) -> None:
    """Turn a PEFT checkpoint of prompt, p- or prefix tuning into a learned prompt, or a learned prompt into one of PEFT."""
    from promptkit.training.conversion import convert as converted

    made = converted(folder, out, model=None if model is None else build.model(model, set_))
    typer.echo(json.dumps(made.to_json()) if as_json else made)
