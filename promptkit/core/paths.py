"""The folders of bundled templates and tasks, and of caches."""

import os
from pathlib import Path
from typing import Literal

from promptkit.core.errors import InputError

OUT = "runs"
"""The default folder for run folders."""
CHECKS = "checks"
"""The folder of the results of checks of models, in the cache folder."""
STUDIES = "studies"
"""The folder in `evals/` with study files, which are not tasks."""


def folder(name: Literal["templates", "evals"]) -> Path:
    """Returns the folder of bundled templates or tasks: next to the package in a checkout, inside the package in a wheel."""
    package = Path(__file__).parents[1]
    checkout = package.parent / name
    is_checkout = (package.parent / "pyproject.toml").is_file() and checkout.is_dir()
    return checkout if is_checkout else package / "_resources" / name


def expanded(path: str | Path) -> Path:
    """Returns a path from a user with `~` replaced by the home folder.

    Raises:
        InputError: There is no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        hint = "Give the full path"
        raise InputError(f"There is no home folder for {path}", code="no-home-folder", hint=hint, path=str(path)) from None


def cache_folder() -> Path:
    """Returns the folder of converted models and cached scores: PROMPTKIT_CACHE, or the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("PROMPTKIT_CACHE") or platformdirs.user_cache_dir("promptkit"))


def checks_folder() -> Path:
    """Returns the folder of the results of checks of models."""
    return cache_folder() / CHECKS


def names(kind: Literal["templates", "evals"], suffix: str) -> list[str]:
    """Returns the names of the bundled templates or tasks with a suffix, including folders, such as `sentiment/review`."""
    root = folder(kind)
    found = (path.relative_to(root).with_suffix("").as_posix() for path in root.rglob(f"*{suffix}"))
    return sorted(name for name in found if not name.startswith(f"{STUDIES}/"))
