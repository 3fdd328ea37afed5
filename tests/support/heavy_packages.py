"""Runs commands in new processes, and lists the heavy packages that they import."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "transformers", "vllm", "sklearn", "scipy", "pandas", "datasets", "matplotlib")
"""Packages whose import takes long."""
PROGRAM = """
import sys
from promptkit.cli.main import main
sys.argv = ["promptkit", *{arguments}]
try:
    main()
except SystemExit as error:
    assert not error.code
print(*[name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""


def modules_after(*arguments: object) -> list[str]:
    """Returns which of the heavy packages a command has imported."""
    program = PROGRAM.format(arguments=[*map(str, arguments)], heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stderr.splitlines()[-1].split()
