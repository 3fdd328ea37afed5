"""The processes of a distributed training, as started by accelerate or torchrun: they share the work and sum their results.

Use `accelerate launch --num_processes 2 -m promptkit train ...`, or `torchrun --nproc-per-node 2`, to start two processes on
one GPU each. They exchange only sums. A single process does not import accelerate.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from promptkit.core.caller import setting
from promptkit.core.errors import TrainingError
from promptkit.core.hashing import sha256_int

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState

    from promptkit.core.arrays import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """The rank of this process in a distributed training, and the number of processes."""

    rank: int = 0
    """The number of this process, from 0."""
    count: int = 1
    """The number of processes."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints messages."""
        return self.rank == 0

    @property
    def device(self) -> torch.device | None:
        """The torch device of this process; None if it is the only process."""
        return None if self.count == 1 else _state(self.count).device

    def share(self, sizes: Sequence[int]) -> list[int]:
        """Returns the indices of the items that this process handles.

        Items are assigned from the largest to the smallest, each to the process with the least work so far.

        Args:
            sizes: The amount of work of each item.
        """
        loads, indices = [0] * self.count, []
        for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
            least = loads.index(min(loads))
            loads[least] += sizes[index]
            if least == self.rank:
                indices.append(index)
        return sorted(indices)

    def total(self, numbers: Floats) -> Floats:
        """Returns the sum of an array over all processes. Every process must call it, and gets the same result.

        Raises:
            TrainingError: Another process ended.
        """
        if self.count == 1:
            return numbers
        import torch
        from accelerate.utils import reduce

        try:
            tensor = torch.from_numpy(numbers).contiguous().to(_state(self.count).device)
            total: Floats = reduce(tensor, "sum").cpu().numpy()
            return total
        except RuntimeError as error:  # the connection is closed
            reason = str(error).splitlines()[0]
            raise TrainingError(
                f"Another process of this training run ended: {reason}",
                code="process-ended",
                hint="Look at its error message",
                reason=reason,
            ) from None

    def check_same(self, description: str) -> None:
        """Checks that all processes pass the same text.

        Raises:
            TrainingError: The texts differ. At least one process raises it.
        """
        import numpy as np

        number = float(sha256_int(description, size=5))  # 5 bytes, so that a sum of floats is exact
        if self.total(np.array([number]))[0] != number * self.count:
            raise TrainingError(
                "The processes of this training run start with different inputs",
                code="processes-differ",
                got=f"process {self.rank + 1} of {self.count}: {description}",
                hint=f"Give all of them the same files, and a folder {setting('out')} that they all share",
                rank=self.rank,
                count=self.count,
            )


def processes() -> Processes:
    """Returns the processes of this training run, from the environment variables of accelerate or torchrun."""
    environment = os.environ
    if "LOCAL_RANK" not in environment or int(environment.get("WORLD_SIZE", 1)) == 1:
        return Processes()
    return Processes(rank=int(environment["RANK"]), count=int(environment["WORLD_SIZE"]))


@cache
def _state(count: int) -> PartialState:
    """Returns accelerate's state. The first call connects the processes."""
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
