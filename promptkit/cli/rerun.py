"""`promptkit rerun`: evaluates a finished run again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.cli.evaluate import print_run
from promptkit.cli.interrupt import exit_on_interrupt
from promptkit.display.notes import note_lines
from promptkit.display.progress import Bar


def rerun(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the run folders; by default reruns next to RUN.")] = None,
    task: Annotated[Path | None, typer.Option(help="The task file or data file, if it has moved.")] = None,
    data: Annotated[Path | None, typer.Option(help="The folder with the mirror of the datasets, if it has moved.")] = None,
    train: Annotated[Path | None, typer.Option(help="The data file of demonstrations, if it has moved.")] = None,
    prompt: Annotated[list[Path] | None, typer.Option(help="The folders of learned manipulations, if they have moved.")] = None,
    predictor: Annotated[Path | None, typer.Option(help="The folder of the saved predictor, if it has moved.")] = None,
    model: Annotated[str | None, typer.Option(help="The model, if it has another name or place here.")] = None,
    cache: Annotated[bool, typer.Option("--cache", help="Take answers from the score cache.")] = False,
    as_json: opts.Json = False,
) -> None:
    """Repeat a finished run and compare the files of both."""
    from promptkit.config.rerun import rerun as rerun_run

    with exit_on_interrupt(), Bar(hidden=as_json) as bar:
        new = rerun_run(
            run,
            out=out,
            task=task,
            data=data,
            train=train,
            prompt=prompt or None,
            predictor=predictor,
            model=model,
            cache=cache,
            progress=bar,
        )
    if as_json:
        for note in new.notes:
            print(*note_lines([note]), file=sys.stderr)
        print(json.dumps(new.to_json()))
    else:
        print_run(new)
