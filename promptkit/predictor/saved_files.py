"""Writes and reads the folder of a saved predictor, and checks that no file was changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from promptkit.core.caller import by_caller
from promptkit.core.errors import CheckpointError, json_reason
from promptkit.core.files import write_atomically
from promptkit.core.format_version import check_format
from promptkit.core.hashing import sha256_hex
from promptkit.predictor.saved_format import FORMAT, PREDICTOR, SavedPredictor, digest_of


def check_new(folder: Path) -> None:
    """Checks that a predictor can be saved into a folder.

    Raises:
        CheckpointError: The folder exists and is not empty, or the path is a file.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise CheckpointError(
            f"{folder} exists already, and was not changed",
            code="path-exists",
            got="a file" if folder.is_file() else "a folder that is not empty",
            hint="Give another folder",
            folder=str(folder),
        )


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder atomically: it gets its name when all files are on disk.

    Args:
        folder: The folder, which must not contain anything.
        files: Relative path -> content.

    Raises:
        CheckpointError: The folder is not empty or cannot be written.
    """
    check_new(folder)
    partial = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        for name, content in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(partial / name, content)
        if folder.is_dir():
            folder.rmdir()
        partial.rename(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(
            f"The folder {folder} cannot be written to: {error.strerror}",
            code="cannot-write",
            hint="Give another folder",
            folder=str(folder),
            reason=error.strerror,
        ) from None


def read(folder: Path, given: Mapping[str, bytes] | None = None) -> tuple[SavedPredictor, dict[str, bytes]]:
    """Reads the files of a saved predictor.

    Args:
        folder: The folder.
        given: Files that the folder does not contain, because they were left out when the predictor was published.

    Returns:
        The content of `predictor.json`, and the content of every other file by its name.

    Raises:
        CheckpointError: A file is missing, was changed or does not belong to the predictor.
    """
    saved = _read_json(folder)
    present = {*_files_of(folder)} - {PREDICTOR}
    if unexpected := sorted(present - saved.files.keys()):
        raise _damaged(folder, "unexpected-file", f"{unexpected[0]} is not one of its files", "Remove it", file=unexpected[0])
    contents = {name: (folder / name).read_bytes() for name in sorted(present)}
    contents |= {name: content for name, content in (given or {}).items() if name in saved.withheld}
    for name, expected in saved.files.items():
        if name not in contents and name not in saved.withheld:
            raise _damaged(folder, "missing-file", f"{name} does not exist", "Copy it again", file=name)
        if name in contents and sha256_hex(contents[name]) != expected:
            raise _damaged(folder, "changed-since-saved", f"{name} was changed after it was saved", "Save it again", file=name)
    return saved, contents


def _files_of(folder: Path) -> list[str]:
    """Returns the relative paths of all files except hidden ones, such as the files of version control and caches."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))


def _read_json(folder: Path) -> SavedPredictor:
    try:
        content = (folder / PREDICTOR).read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"There is no saved predictor in {folder}: it has no {PREDICTOR}",
            code="no-predictor",
            hint=by_caller(
                command="Give a folder that promptkit eval --save has written, or hf://USER/NAME",
                python="Give a folder that predictor.save has written, or hf://USER/NAME",
            ),
            folder=str(folder),
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(
            folder, "unreadable-file", f"{PREDICTOR} cannot be read: {error}", "Copy it again", file=PREDICTOR
        ) from None
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = f"{PREDICTOR} is not JSON: {json_reason(error)}"
        raise _damaged(folder, "not-json", reason, "Copy it again", file=PREDICTOR) from None
    check_format(entries, FORMAT, folder, saved="predictor", hint="fit it again")
    try:
        saved = SavedPredictor.model_validate(entries)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        problem = f"{key}: {first['msg']}" if key else f"it contains a {type(entries).__name__} instead of an object"
        reason = f"{PREDICTOR} does not describe a predictor: {problem}"
        raise _damaged(folder, "invalid-manifest", reason, "Copy it again", file=PREDICTOR, key=key) from None
    if saved.sha256 != digest_of(entries):
        reason = f"{PREDICTOR} was changed after it was saved"
        raise _damaged(folder, "changed-since-saved", reason, "Save it again", file=PREDICTOR)
    return saved


def _damaged(folder: Path, code: str, description: str, hint: str, **fields: object) -> CheckpointError:
    message = f"The saved predictor in {folder} cannot be used: {description}"
    return CheckpointError(message, code=code, hint=hint, folder=str(folder), **fields)
