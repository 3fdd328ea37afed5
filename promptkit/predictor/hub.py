"""Publishes saved predictors on the Hugging Face hub, and downloads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from promptkit.core.errors import CheckpointError

SCHEME = "hf://"
"""The start of the name of a predictor on the hub."""


def is_on_hub(name: str | Path) -> bool:
    """Returns whether a name is that of a predictor on the hub, such as `hf://user/name`."""
    return str(name).startswith(SCHEME)


def download(name: str) -> Path:
    """Downloads a predictor.

    Args:
        name: `hf://user/name`, or `hf://user/name@revision`.

    Returns:
        The folder in the cache of the hub.

    Raises:
        CheckpointError: The predictor cannot be downloaded.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.removeprefix(SCHEME).partition("@")
    try:
        return Path(HfApi().snapshot_download(repository, revision=revision or None))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        _fail(f"The predictor {name} cannot be downloaded", "cannot-download", error, name)


def local_folder(folder: str | Path) -> str | Path:
    """Returns the folder of a saved predictor, which is downloaded if it is on the hub."""
    return download(str(folder)) if is_on_hub(folder) else folder


def push(write: Callable[[Path], object], name: str, *, private: bool) -> str:
    """Publishes a predictor.

    Args:
        write: Writes the predictor into a folder.
        name: `user/name`, with or without `hf://`.
        private: Whether a newly created repository is private.

    Returns:
        The address of the commit.

    Raises:
        CheckpointError: It cannot be uploaded.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    repository = name.removeprefix(SCHEME)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "predictor"
        write(folder)
        try:
            api = HfApi()
            api.create_repo(repository, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository, folder_path=folder, commit_message="Upload predictor", delete_patterns="*"
            )
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            _fail(f"The predictor cannot be published as {name}", "cannot-publish", error, name)
    return str(commit.commit_url)


def _fail(what: str, code: str, error: Exception, name: str) -> NoReturn:
    raise CheckpointError(
        what,
        code=code,
        got=str(error).strip().partition("\n")[0],
        hint="Check the name, the connection, and that you are logged in (hf auth login)",
        name=name,
    ) from None
