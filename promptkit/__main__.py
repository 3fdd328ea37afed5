"""`python -m promptkit` is the command `promptkit`."""

from promptkit.cli import main

main()
