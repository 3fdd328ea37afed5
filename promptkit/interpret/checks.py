"""The checks and rows that function vectors and steering vectors share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample
from promptkit.manipulate.prompt import Prompt
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task, untested

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


def demonstration_prompt(predictor: Predictor) -> Prompt:
    """Returns the predictor's prompt.

    Raises:
        InputError: If it shows no demonstrations, is followed by a modifier, or scores by the channel, where no answer
            follows the prompt's last token.
    """
    prompt = predictor.manipulate
    if not isinstance(prompt, Prompt) or not prompt.parts:
        raise InputError(
            "The predictor needs a single prompt with demonstrations, and it has none",
            code="no-demonstrations",
            hint='Write pk.Prompt("sentiment/review", demos=pk.demos.RandomEach(k=8)), with no modifier after it',
            predictor=predictor.name,
        )
    if prompt.channel:
        reason = "With channel=True no answer follows the last token of the prompt"
        raise InputError(reason, code="channel-prompt", hint="Leave channel out", predictor=predictor.name)
    return prompt


def check_layer(layer: int, most: int, reason: str = "") -> None:
    """Raises InputError unless the layer is from 1 to `most`; `reason` explains the upper limit."""
    if not 1 <= layer <= most:
        hint = f"Use a layer from 1 to {most}" + (f", {reason}" if reason else "")
        raise InputError(
            "The layer is out of range", code="out-of-range", got=f"layer={layer}", hint=hint, layer=layer, most=most
        )


def pool_rows(task: Task, split: str | None, count: int, *, of: str) -> list[LabeledExample]:
    """Returns rows of the task's pool, selected by hash, without inputs of the evaluated split.

    Args:
        task: The task.
        split: The split that will be evaluated; the task's default split if None.
        count: The maximum number of rows.
        of: What is computed from the rows, for error messages.

    Raises:
        TaskError: If no rows are left.
    """
    rows = by_hash(untested(task.part("pool"), task.rows(task.spec.split if split is None else split)), count)
    if not rows:
        raise task.no_rows_error(f"to compute {of} from", "pool")
    return rows


def scaled_vector(vector: Floats, strength: float) -> Array:
    """Returns the vector times the strength as the parameter of a steering vector, shape (1, d_model).

    Raises:
        InputError: If it is too large for float32.
    """
    with np.errstate(over="ignore"):
        vectors = (strength * vector)[None].astype(np.float32)
    if not np.isfinite(vectors).all():
        reason = "The steering vector is too large for float32 at this strength"
        raise InputError(reason, code="overflow", got=f"strength={strength}", hint="Use a smaller strength", strength=strength)
    return as_array(vectors)
