"""Where a training stands, as one file: what `kill -9` leaves is a whole checkpoint, the last one or the one before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from promptkit.core.arrays import Array, as_array, parameters_digest, serialize
from promptkit.core.errors import CheckpointError
from promptkit.core.files import write_atomically
from promptkit.core.hashing import sha256_hex

FILE = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevEvaluation:
    """How good the parameters were on dev after so many steps."""

    step: int
    loss: float
    accuracy: float | None
    """None where the answers are texts."""

    @property
    def better(self) -> tuple[float, float]:
        """The greater the better: accuracy, then the loss."""
        return (self.accuracy or 0.0, -self.loss)


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """Everything that the rest of a training depends on."""

    parameters: dict[str, Array]
    best: dict[str, Array]
    """The parameters that did best on dev."""
    fixed_parameters: dict[str, Array] = field(default_factory=dict)
    """What belongs to the parameters, and no step changes."""
    state: dict[str, Array] = field(default_factory=dict)
    """What the optimizer keeps from one step to the next."""
    step: int = 0
    """Steps that were made."""
    losses: list[float] = field(default_factory=list)
    """Of each step."""
    evaluations: dict[str, int] = field(default_factory=dict)
    """How many rows the model has computed, for `steps` and for looks at `dev`."""
    looks: list[DevEvaluation] = field(default_factory=list)
    seconds: float = 0.0
    """That it took up to here, in every call: loading and looks included."""
    done: str = ""
    """Why it has ended; nothing before that."""

    @property
    def chosen(self) -> DevEvaluation:
        """The best look at dev, of equal ones the first."""
        return max(self.looks, key=lambda look: (look.better, -look.step))


_ARRAYS = ("parameters", "best", "fixed_parameters", "state")


def write(folder: Path, standing: TrainingState) -> None:
    """Put it in the place of the one before, at once."""
    arrays = {f"{kind}/{name}": array for kind in _ARRAYS for name, array in getattr(standing, kind).items()}
    told: dict[str, Any] = {"step": standing.step, "losses": standing.losses, "done": standing.done}
    told |= {"evaluations": standing.evaluations, "seconds": standing.seconds}
    told["looks"] = [asdict(look) for look in standing.looks]
    text = json.dumps(told)
    write_atomically(folder / FILE, serialize(arrays, {"standing": text, "sha256": _hash(text, arrays)}))


def read(folder: Path) -> TrainingState | None:
    """The one that was left, if there is one."""
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as stream:
            held = stream.metadata()
            arrays = {key: as_array(stream.get_tensor(key)) for key in stream.keys()}  # noqa: SIM118 - no mapping
        told: Any = json.loads(held["standing"])
        if held["sha256"] != _hash(held["standing"], arrays):
            raise ValueError("the checksum does not match its content")
        looks = [DevEvaluation(**look) for look in told.pop("looks")]
        return TrainingState(**{**told, **{kind: _of(kind, arrays) for kind in _ARRAYS}, "looks": looks})
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"The checkpoint {path} is damaged: {error}",
            code="damaged-checkpoint",
            hint="Delete it; the same command then trains from the start",
            file=str(path),
        ) from None


def _hash(text: str, arrays: Mapping[str, Array]) -> str:
    return sha256_hex(text + parameters_digest(arrays))


def _of(kind: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.partition("/")[2]: array for name, array in arrays.items() if name.partition("/")[0] == kind}
