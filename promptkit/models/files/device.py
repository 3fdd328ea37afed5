"""The device that a model runs on, tried before anything is put there."""

from __future__ import annotations

import torch

from promptkit.core.distributed import processes
from promptkit.core.errors import InputError


def device_of(setting: str) -> torch.device:
    """The device of that name; `auto` is a GPU if there is one, and of several processes each has its own.

    Raises PromptkitError for one that cannot be used.
    """
    own = processes().device
    if own is not None and setting in ("auto", own.type):
        return torch.device(own)
    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(setting)
        if not torch.empty(1, device=device).tolist():
            raise RuntimeError("it cannot hold tensors")
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:200]
        if reason.startswith("Expected one of"):  # torch lists all that it was ever built for
            reason = "PyTorch has no device type of that name"
        raise InputError(
            f"The device {setting} cannot be used: {reason}",
            code="unusable-device",
            hint="Try --set device=cpu, cuda or cuda:1",
            device=setting,
        ) from None
    return device
