"""`python -m promptkit` is the command `promptkit`."""

from promptkit.cli.main import main

main()
