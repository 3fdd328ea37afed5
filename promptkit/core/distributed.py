"""The processes that train together, as accelerate starts them: which one this is, its share, and sums over all.

`accelerate launch --num_processes 2 -m promptkit train ...` starts two, each on its own GPU, and `torchrun --nproc-per-node 2`
does so where there is none. Nothing else than sums passes between them. A process that was started alone imports no accelerate.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from promptkit.core.errors import TrainingError
from promptkit.core.hashing import sha256_int


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """All of them, as one sees them."""

    rank: int = 0
    """Which this one is, from 0."""
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether it is the one that writes and tells."""
        return self.rank == 0

    @property
    def device(self) -> Any:
        """The torch device of this process alone; None where it is the only one."""
        return None if self.count == 1 else _state(self.count).device

    def share(self, sizes: Sequence[int]) -> list[int]:
        """Which of several things of these sizes are this process's: the largest first, each to that which has least."""
        loads, own = [0] * self.count, []
        for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
            least = loads.index(min(loads))
            loads[least] += sizes[index]
            if least == self.rank:
                own.append(index)
        return sorted(own)

    def total(self, numbers: Any) -> Any:
        """The sum of an array of numpy over all processes, each of which asks for it and gets the same."""
        if self.count == 1:
            return numbers
        import torch
        from accelerate.utils import reduce

        try:
            own = torch.from_numpy(numbers).contiguous().to(_state(self.count).device)
            return reduce(own, "sum").cpu().numpy()
        except RuntimeError as error:  # the connection is closed
            reason = str(error).splitlines()[0]
            raise TrainingError(
                f"Another process of this training ended: {reason}",
                code="process-ended",
                hint="Look at its error message",
                reason=reason,
            ) from None

    def check_same(self, told: str) -> None:
        """Raise, at least in one process, where they do not all tell the same."""
        import numpy as np

        number = float(sha256_int(told, size=5))  # so that sums of them are exact
        if self.total(np.array([number]))[0] != number * self.count:
            raise TrainingError(
                "The processes of this training start with different inputs",
                code="processes-differ",
                got=f"process {self.rank + 1} of {self.count}: {told}",
                hint="Give all of them the same files, and an --out folder that they all share",
                rank=self.rank,
                count=self.count,
            )


def processes() -> Processes:
    """Those that this one was started with."""
    told = os.environ
    if "LOCAL_RANK" not in told or int(told.get("WORLD_SIZE", 1)) == 1:
        return Processes()
    return Processes(rank=int(told["RANK"]), count=int(told["WORLD_SIZE"]))


@cache
def _state(count: int) -> Any:
    """Accelerate's, which joins the processes when it is first asked for."""
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())
    if state.num_processes != count:
        raise TrainingError(
            f"accelerate started {count} processes but cannot connect them on this type of device",
            code="processes-not-joined",
            got=str(state.device),
            hint="Set ACCELERATE_USE_CPU=true, or train in one process",
            count=count,
            device=str(state.device),
        )
    atexit.register(state.destroy_process_group)
    return state
