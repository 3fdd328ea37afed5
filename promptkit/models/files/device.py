"""The device that a model runs on, checked before a model is moved there."""

from __future__ import annotations

import torch

from promptkit.core.caller import engine_setting
from promptkit.core.distributed import processes
from promptkit.core.errors import InputError


def device_of(setting: str) -> torch.device:
    """Returns the device that a setting names.

    Args:
        setting: The name of a PyTorch device, or `auto`: a GPU if there is one, and in a distributed run the device that is
            assigned to this process.

    Raises:
        InputError: If the device does not exist or cannot be used.
    """
    assigned = processes().device
    if assigned is not None and setting in ("auto", assigned.type):
        return torch.device(assigned)
    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(setting)
        if not torch.empty(1, device=device).tolist():
            raise RuntimeError("tensors on it cannot be read")
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:200]
        if reason.startswith("Expected one of"):  # followed by a long list of device types
            reason = "PyTorch has no device type of that name"
        raise InputError(
            f"The device {setting} cannot be used: {reason}",
            code="unusable-device",
            hint=f"Try {engine_setting('device', 'cpu')}, cuda or cuda:1",
            device=setting,
        ) from None
    return device
