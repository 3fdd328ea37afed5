"""A shift told by what a model holds behind demonstrations, without training: mean hidden states of the pool's rows.

Their difference to what it holds without the demonstrations is a steering vector; the mean itself, added, is the baseline to
which function vectors are compared (Todd et al. 2023, 2310.15213; those: `function_vectors`); in the place of the
state it is a task vector (Hendel et al. 2023, 2310.15916). No label is seen but the demonstrations'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from pydantic import PositiveInt

from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import InputError, Unsupported, unknown
from promptkit.core.examples import LabeledExample
from promptkit.core.registry import as_python, check_value
from promptkit.core.requests import Read, ReadOutput, Request
from promptkit.manipulate.demos import zero
from promptkit.manipulate.learned.steering import At, SteeringVector
from promptkit.manipulate.prompt import Prompt
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.predictor.compatibility import base_of
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task, untested

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

How = Literal["difference", "mean", "replace"]


def extract_steering_vector(
    predictor: Predictor,
    task: Task,
    *,
    layer: int,
    how: How = "difference",
    at: At = "last",
    strength: float = 1.0,
    rows: int = 64,
    split: str | None = None,
    cache: bool = True,
) -> SteeringVector:
    """The shift behind `layer` that the prompt's demonstrations come to, for a prompt without them.

    States are those of the prompts' last tokens, of at most so many `rows` of the pool whose inputs do not stand in `split`,
    which is to be evaluated. `how`: the `difference` that demonstrations make or the `mean` behind them, each times
    `strength` and added; or the mean in the state's place (`replace`). Raises PromptkitError for a prompt without
    demonstrations and for a last layer, whose states are read normalized, and Unsupported for a model without hidden states.
    """
    if how not in get_args(How):
        raise unknown("extraction method", str(how), get_args(How))
    layer, strength = as_python(layer), as_python(strength)
    check_value("strength", strength, float, of="a steering vector")
    if how == "replace" and strength != 1:
        reason = 'how="replace" cannot be combined with a strength'
        raise InputError(
            reason, code="strength-with-replace", got=f"strength={strength}", hint="Leave strength out", strength=strength
        )
    prompt = shown_by(predictor)
    if not predictor.model.hidden_states:
        name = predictor.model.name
        hint = "Use an hf model, by its name alone"
        raise Unsupported(f"The model {name} does not return hidden states", code="no-hidden-states", hint=hint, model=name)
    check_layer(layer, predictor.model.card.layers - 1, "because the states of the last layer are read after normalization")
    shift = SteeringVector((layer,), at=at, operation="replace" if how == "replace" else "add")
    chosen = chosen_rows(task, split, rows, of="a steering vector")
    score_cache = ScoreCache() if cache else None
    state = _mean_state(predictor, task, chosen, layer, score_cache)
    if how == "difference":
        plain = Predictor(predictor.model, replace(prompt, demos=zero(), order=None), predictor.reading)
        state = state - _mean_state(plain, task, chosen, layer, score_cache)
    return shift.with_parameters({"vectors": scaled(state, strength)}, base_of(predictor.model))


def scaled(state: Floats, strength: float) -> Array:
    """The one vector of a shift, (1, d_model). Raises PromptkitError where it is too large for float32."""
    with np.errstate(over="ignore"):
        vectors = (strength * state)[None].astype(np.float32)
    if not np.isfinite(vectors).all():
        reason = "The steering vector is too large for float32 at this strength"
        raise InputError(reason, code="overflow", got=f"strength={strength}", hint="Use a smaller strength", strength=strength)
    return as_array(vectors)


def shown_by(predictor: Predictor) -> Prompt:
    """Its prompt. Raises PromptkitError unless that shows demonstrations, answers follow it, and nothing changes it."""
    if not isinstance(predictor, Predictor):
        raise InputError(
            "The first argument must be a predictor",
            code="not-a-predictor",
            got=repr(predictor)[:100],
            hint="Write pk.Predictor(...)",
            value=repr(predictor)[:100],
        )
    prompt = predictor.manipulate
    if not isinstance(prompt, Prompt) or not prompt.parts:
        raise InputError(
            "The predictor needs a single prompt with demonstrations, and it has none",
            code="no-demonstrations",
            hint='Write pk.Prompt("sentiment/review", demos=pk.demos.random_each(k=8)), with no modifier after it',
            predictor=predictor.name,
        )
    if prompt.channel:
        reason = "With channel=True no answer follows the last token of the prompt"
        raise InputError(reason, code="channel-prompt", hint="Leave channel out", predictor=predictor.name)
    return prompt


def check_layer(layer: int, most: int, reason: str = "") -> None:
    """Raise PromptkitError unless the layer is one from 1 to `most`."""
    check_value("layer", layer, int, of="a steering vector")
    if not 1 <= layer <= most:
        hint = f"Use a layer from 1 to {most}" + (f", {reason}" if reason else "")
        raise InputError(
            "The layer is out of range", code="out-of-range", got=f"layer={layer}", hint=hint, layer=layer, most=most
        )


def chosen_rows(task: Task, split: str | None, count: int, *, of: str) -> list[LabeledExample]:
    """So many rows of the pool, by hash, whose inputs are not evaluated; raises PromptkitError where there are none."""
    if not isinstance(task, Task):
        hint = 'Write pk.task("sentiment")'
        raise InputError(
            f"The rows for {of} need a task object, not a name",
            code="not-a-task",
            got=repr(task)[:100],
            hint=hint,
            value=repr(task)[:100],
        )
    check_value("rows", count, PositiveInt, of=of)
    rows = by_hash(untested(task.part("pool"), task.rows(split or task.spec.split)), count)
    if not rows:
        raise task.without_rows(f"to compute {of} from", "pool")
    return rows


def _mean_state(
    predictor: Predictor, task: Task, rows: Sequence[LabeledExample], layer: int, cache: ScoreCache | None
) -> Floats:
    """The mean over the rows of the hidden state at the last token of each one's prompt, (d_model,)."""
    bound = predictor.bind(task, cache=cache)
    examples = [row.unlabeled() for row in rows]
    asked = [Request(input=each.input, verb=Read(hidden_layer=layer)) for each in bound.apply(examples)]
    found = CachedModel(predictor.model, cache)(asked)
    states = [each.hidden.numpy() for each in found if isinstance(each, ReadOutput) and each.hidden is not None]
    mean: Floats = np.mean(np.array(states, np.float64), axis=0)
    return mean
