"""Where `templates/` and `evals/` lie: beside the package in a checkout, inside it in a wheel. Where caches are kept."""

import os
from pathlib import Path
from typing import Literal

from promptkit.core.errors import InputError

STUDIES = "studies"
"""The folder of `evals/` that holds studies, and no tasks."""


def folder(name: Literal["templates", "evals"]) -> Path:
    """The folder of the templates or of the tasks that promptkit ships."""
    package = Path(__file__).parents[1]
    checkout = package.parent / name
    is_checkout = (package.parent / "pyproject.toml").is_file() and checkout.is_dir()
    return checkout if is_checkout else package / "_resources" / name


def expanded(path: str | Path) -> Path:
    """A path that the user gave, its `~` read as the home folder."""
    if not isinstance(path, str | os.PathLike):
        raise InputError("A path must be a str or a pathlib.Path", code="not-a-path", got=repr(path), value=repr(path))
    try:
        return Path(path).expanduser()
    except RuntimeError:
        hint = "Give the full path"
        raise InputError(f"There is no home folder for {path}", code="no-home-folder", hint=hint, path=str(path)) from None


def cache_folder() -> Path:
    """Where converted models and scores are kept: PROMPTKIT_CACHE, or the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("PROMPTKIT_CACHE") or platformdirs.user_cache_dir("promptkit"))


def names(kind: Literal["templates", "evals"], suffix: str) -> list[str]:
    """The names of the shipped templates or tasks with a suffix, folders included: `sentiment/review`."""
    root = folder(kind)
    found = (path.relative_to(root).with_suffix("").as_posix() for path in root.rglob(f"*{suffix}"))
    return sorted(name for name in found if not name.startswith(f"{STUDIES}/"))
