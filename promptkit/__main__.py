"""`python -m promptkit` is the command `promptkit`."""

from promptkit.cli.main import run

run()
