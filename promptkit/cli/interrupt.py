"""Handles Ctrl-C in long commands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from promptkit.core.distributed import processes

EXIT_CODE = 130


@contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """Exits with code 130 on Ctrl-C, and prints how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        if processes().is_main:
            print("promptkit: Interrupted. Run the same command again to continue.", file=sys.stderr)
        raise typer.Exit(EXIT_CODE) from None
