"""The values in the inputs of a row: texts, arrays and references to files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from promptkit.core.arrays import Array
from promptkit.core.errors import TaskError
from promptkit.core.hashing import file_sha256_hex, sha256_hex

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class FileReference:
    """A file, identified by the hash of its content. The content is read when it is needed.

    Create one with `of_file` or `of_bytes`.
    """

    name: str = field(compare=False)
    """The name of the file in messages: its path, or its place in a larger file."""
    digest: str
    """The SHA-256 of the content in hexadecimal."""
    path: Path | None = field(default=None, compare=False)
    """Where the file is; None for a file within a larger one, whose content is in memory."""
    content: bytes | None = field(default=None, compare=False, repr=False)
    """The content of a file within a larger one, such as an image in a Parquet file."""

    @classmethod
    def of_file(cls, path: Path) -> FileReference:
        """Returns a reference to a file on disk, whose content is hashed but not kept.

        Raises:
            OSError: The file cannot be read.
        """
        return cls(str(path), file_sha256_hex(path), path)

    @classmethod
    def of_bytes(cls, content: bytes, name: str) -> FileReference:
        """Returns a reference to a file within a larger one.

        Args:
            content: The content of the file.
            name: Its name in messages.
        """
        return cls(name, sha256_hex(content), content=content)

    def read_bytes(self) -> bytes:
        """Returns the content.

        Raises:
            TaskError: The file cannot be read, or its content has changed since the reference was created.
        """
        if self.content is not None:
            return self.content
        try:
            content = (self.path or Path(self.name)).read_bytes()
        except OSError as error:
            reason = f"The file {self.name} cannot be read: {error.strerror or error}"
            raise TaskError(reason, code="unreadable-file", file=self.name) from None
        if sha256_hex(content) != self.digest:
            raise TaskError(
                f"The file {self.name} has changed since the rows of the task were read",
                code="file-changed",
                hint="Load the task again, because the ids of its rows depend on the contents of files",
                file=self.name,
            )
        return content


Value: TypeAlias = "str | Array[np.float32] | Array[np.uint8] | FileReference"
"""A value in the inputs of a row. Values are immutable, hashable, and equal if their contents are."""


def value_identity(value: Value) -> str | dict[str, object]:
    """Returns a JSON value that is equal for two values if and only if their contents are; for a text, the text itself."""
    if isinstance(value, str):
        return value
    if isinstance(value, FileReference):
        return {"file": value.digest}
    return {value.dtype: list(value.shape), "sha256": value.digest}


def describe_value(value: Value) -> str:
    """Returns a one-line description of a value for messages and previews; for a text, the text itself."""
    if isinstance(value, str):
        return value
    if isinstance(value, FileReference):
        return f"file {value.name} ({value.digest[:12]})"
    return f"{value.dtype} array of shape {'x'.join(map(str, value.shape))} ({value.digest[:12]})"


def as_text(value: Value, variable: str, row: str) -> str:
    """Returns a value that must be a text.

    Args:
        value: The value.
        variable: The variable that it belongs to, for the error message.
        row: The id of its row.

    Raises:
        TaskError: The value is an array or a file.
    """
    if isinstance(value, str):
        return value
    raise TaskError(
        f"The input {variable} of row {row} is not a text",
        code="not-text",
        got=describe_value(value),
        hint="Prompts and sentence encoders read texts; images are for image classifiers (pk.ImageProcessor)",
        variable=variable,
        row=row,
    )
