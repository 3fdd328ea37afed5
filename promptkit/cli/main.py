"""The command line. Parses options into the objects of the library, and prints; nothing else here."""

from __future__ import annotations

import io
import logging
import sys

import typer

from promptkit.cli.align import align, bias
from promptkit.cli.compare import compare
from promptkit.cli.convert import convert
from promptkit.cli.doctor import doctor
from promptkit.cli.evaluate import eval_
from promptkit.cli.init import init
from promptkit.cli.listing import cache, kinds, models, tasks
from promptkit.cli.merge import merge
from promptkit.cli.render import render
from promptkit.cli.search import search
from promptkit.cli.study import study
from promptkit.cli.train import train
from promptkit.core.distributed import processes
from promptkit.core.errors import PromptkitError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Repurpose a frozen pre-trained model: y = align(model(manipulate(x))).",
)


task_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Start a task of your own.")


@task_app.callback()
def _of_task() -> None:
    """Start a task of your own."""


app.command("eval")(eval_)
for command in (render, train, search, study, compare, align, bias, doctor, merge, convert, tasks, models, kinds, cache):
    app.command()(command)
task_app.command()(init)
app.add_typer(task_app, name="task")


def main() -> None:
    """Run the command; a mistake of the user is one paragraph on standard error, and exit code 1."""
    own = processes()  # of several, the others tell only what ends them
    logging.basicConfig(format="%(message)s", level=logging.WARNING if own.is_main else logging.ERROR, stream=sys.stderr)
    name = "promptkit" if own.is_main else f"promptkit (process {own.rank + 1} of {own.count})"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character still shows the rest
    try:
        app()
        sys.stdout.flush()
    except PromptkitError as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"{name}: {where}{error.strerror or error}.", file=sys.stderr)
        raise SystemExit(1) from None
