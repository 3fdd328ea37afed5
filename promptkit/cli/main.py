"""The command line application: registers the commands and reports errors."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Annotated, NoReturn

import typer

from promptkit.cli.align import align, bias
from promptkit.cli.compare import compare
from promptkit.cli.convert import convert
from promptkit.cli.curve import curve
from promptkit.cli.doctor import doctor
from promptkit.cli.evaluate import eval_
from promptkit.cli.init import init
from promptkit.cli.labelmap import labelmap
from promptkit.cli.listing import cache, kinds, models, tasks
from promptkit.cli.merge import merge
from promptkit.cli.options import Command
from promptkit.cli.predict import predict
from promptkit.cli.render import render
from promptkit.cli.report import report
from promptkit.cli.rerun import rerun
from promptkit.cli.search import search
from promptkit.cli.study import study
from promptkit.cli.train import train
from promptkit.cli.tune import tune
from promptkit.core.background import is_computing
from promptkit.core.distributed import processes
from promptkit.core.errors import PromptkitError
from promptkit.core.shown_text import escaped
from promptkit.core.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Repurpose a frozen pre-trained model: y = align(model(manipulate(x))).",
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"promptkit {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")]


@app.callback()
def _promptkit(version: Version = False) -> None:
    pass


task_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Create a task.")


@task_app.callback()
def _task() -> None:
    """Create a task."""


app.command("eval", cls=Command)(eval_)
for command in (
    render,
    predict,
    train,
    tune,
    search,
    study,
    rerun,
    report,
    compare,
    align,
    labelmap,
    curve,
    bias,
    doctor,
    merge,
    convert,
    tasks,
    models,
    kinds,
    cache,
):
    app.command(cls=Command)(command)
task_app.command(cls=Command)(init)
app.add_typer(task_app, name="task")


def main() -> None:
    """Runs the command. An error that the user can fix is one paragraph on standard error, with exit code 1."""
    current = processes()
    level = logging.WARNING if current.is_main else logging.ERROR  # warnings are printed by one process only
    logging.basicConfig(format="%(message)s", level=level, stream=sys.stderr)
    name = "promptkit" if current.is_main else f"promptkit (process {current.rank + 1} of {current.count})"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # the terminal may not support all characters
    try:
        app()
        sys.stdout.flush()
    except PromptkitError as error:
        print(f"{name}: {escaped(str(error))}", file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:
        raise
    except UnicodeEncodeError as error:
        shown = escaped(str(error.object))
        reason = f"The name {shown} cannot be written in the encoding of this system, {error.encoding}. Set PYTHONUTF8=1"
        print(f"{name}: {ascii(reason)[1:-1]}.", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        file = f"The file {error.filename}" if error.filename else "A file"
        hint = "Check the path, its permissions and the free space of the disk"
        print(f"{name}: {file} cannot be read or written: {error.strerror or error}. {hint}.", file=sys.stderr)
        raise SystemExit(1) from None


def run() -> None:
    """Runs the command, and ends the process even if weights are still loading: an error does not wait for them."""
    try:
        main()
    except SystemExit as ended:
        if is_computing():
            _exit_at_once(ended.code)
        raise


def _exit_at_once(code: str | int | None) -> NoReturn:
    """Ends the process without waiting for its threads."""
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code or 0)
