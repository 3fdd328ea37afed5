"""Running out of memory, reported as an error of promptkit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from promptkit.core.errors import OutOfMemory


@contextmanager
def reporting_out_of_memory(what: str, *, model: str, device: torch.device, hint: str, **fields: object) -> Iterator[None]:
    """Context manager that raises `OutOfMemory` when memory runs out.

    Args:
        what: The subject of the message, such as `A prompt of 300 tokens`.
        model: The name of the model.
        device: The device whose memory is used.
        hint: What to try.
        fields: Further fields of the error.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"{what} does not fit in memory on {device}",
            code="out-of-memory",
            hint=hint,
            model=model,
            device=str(device),
            **fields,
        ) from None


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)
