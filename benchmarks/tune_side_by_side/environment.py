"""Creates the virtual environment of each tool at its first use."""

from __future__ import annotations

import shutil
import subprocess
import venv
from pathlib import Path

import platformdirs

REQUIREMENTS = {
    "autogluon": ("autogluon.tabular[lightgbm,catboost]==1.6.3",),
    "dspy": ("dspy==3.4.1",),
    "setfit": ("torch==2.13.0", "setfit==1.2.0"),
}
"""The packages of each tool, installed in this order."""


def python_of(tool: str, folder: Path | None = None) -> Path:
    """Returns the Python of a tool's environment, which is created if needed.

    Args:
        tool: The name of the tool.
        folder: The folder of the environments; by default one in the user's cache folder.
    """
    where = (folder or Path(platformdirs.user_cache_dir("promptkit-benchmarks"))) / tool
    python = where / "bin" / "python"
    if where.exists():
        return python
    print(f"Installing {', '.join(REQUIREMENTS[tool])} into {where} ...", flush=True)
    try:
        venv.create(where, with_pip=True)
        for requirement in REQUIREMENTS[tool]:
            subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=True)
    except BaseException:
        shutil.rmtree(where, ignore_errors=True)
        raise
    return python
