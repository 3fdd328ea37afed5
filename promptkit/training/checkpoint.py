"""The state of a training run as one file, written atomically: an interrupted run leaves its last complete checkpoint."""

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
    """The loss and the main metric on the dev rows after a number of steps."""

    step: int
    """The number of steps that were done before it."""
    loss: float
    """The mean loss of the dev rows."""
    metric: str | None = None
    """The name of the main metric; None for generated texts, of which only the loss is known."""
    value: float | None = None
    """The value of the metric."""
    higher_is_better: bool = True
    """Whether a higher value of the metric is better."""

    @property
    def sort_key(self) -> tuple[float, float]:
        """A key that is greater for a better evaluation: by the main metric, then by loss."""
        value = self.value or 0.0
        return (value if self.higher_is_better else -value, -self.loss)


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """Everything that the remaining steps of a training run depend on."""

    parameters: dict[str, Array]
    """The trained parameters."""
    best_parameters: dict[str, Array]
    """The parameters with the best dev evaluation."""
    fixed_parameters: dict[str, Array] = field(default_factory=dict)
    """Parameters that training leaves unchanged, such as units."""
    label_map: dict[str, Array] = field(default_factory=dict)
    """The numbers of the label map that is trained together with the parameters; empty if there is none."""
    optimizer_state: dict[str, Array] = field(default_factory=dict)
    """The optimizer's state, such as AdamW's running averages."""
    step: int = 0
    """The number of steps done."""
    losses: list[float] = field(default_factory=list)
    """The mean loss of each step's rows."""
    rows_computed: dict[str, int] = field(default_factory=dict)
    """The number of rows that the model computed, for `steps`, for evaluations on `dev`, and to fit the `label_map`."""
    dev_evaluations: list[DevEvaluation] = field(default_factory=list)
    """The evaluations on dev so far."""
    seconds: float = 0.0
    """The time of all calls so far, including loading and evaluation."""
    stop_reason: str = ""
    """Why training ended; empty while it continues."""

    @property
    def best(self) -> DevEvaluation:
        """The best dev evaluation; the earliest of equal ones."""
        return max(self.dev_evaluations, key=lambda evaluation: (evaluation.sort_key, -evaluation.step))

    @property
    def all_parameters(self) -> dict[str, Array]:
        """The trained and the fixed parameters."""
        return {**self.fixed_parameters, **self.parameters}


def write(folder: Path, state: TrainingState) -> None:
    """Writes the checkpoint of a folder, replacing the previous one atomically."""
    arrays = {f"{group}/{name}": array for group, named in _groups(state).items() for name, array in named.items()}
    text = json.dumps(
        {
            "step": state.step,
            "losses": state.losses,
            "rows_computed": state.rows_computed,
            "dev_evaluations": [asdict(evaluation) for evaluation in state.dev_evaluations],
            "seconds": state.seconds,
            "stop_reason": state.stop_reason,
        }
    )
    write_atomically(folder / FILE, serialize(arrays, {"state": text, "sha256": _hash(text, arrays)}))


def read(folder: Path) -> TrainingState | None:
    """Reads the checkpoint of a folder; None if there is none.

    Raises:
        CheckpointError: If it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as stream:
            metadata = stream.metadata()
            names: list[str] = list(stream.keys())
            arrays = {name: as_array(stream.get_tensor(name)) for name in names}
        if metadata["sha256"] != _hash(metadata["state"], arrays):
            raise ValueError("the checksum does not match its content")
        return _state(json.loads(metadata["state"]), arrays)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"The checkpoint {path} is damaged: {error}",
            code="damaged-checkpoint",
            hint="Delete it; the same command then trains from the start",
            file=str(path),
        ) from None


def _groups(state: TrainingState) -> dict[str, dict[str, Array]]:
    return {
        "parameters": state.parameters,
        "best_parameters": state.best_parameters,
        "fixed_parameters": state.fixed_parameters,
        "label_map": state.label_map,
        "optimizer_state": state.optimizer_state,
    }


def _state(values: dict[str, Any], arrays: Mapping[str, Array]) -> TrainingState:
    evaluations = [DevEvaluation(**evaluation) for evaluation in values.pop("dev_evaluations")]
    return TrainingState(
        parameters=_group("parameters", arrays),
        best_parameters=_group("best_parameters", arrays),
        fixed_parameters=_group("fixed_parameters", arrays),
        label_map=_group("label_map", arrays),
        optimizer_state=_group("optimizer_state", arrays),
        dev_evaluations=evaluations,
        **values,
    )


def _group(group: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.partition("/")[2]: array for name, array in arrays.items() if name.partition("/")[0] == group}


def _hash(text: str, arrays: Mapping[str, Array]) -> str:
    return sha256_hex(text + parameters_digest(arrays))
