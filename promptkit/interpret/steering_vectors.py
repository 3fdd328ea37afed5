"""Extracts steering vectors from demonstrations, without training: means of hidden states over rows of the pool.

The mean state after demonstrations minus the mean state without them is a steering vector. The mean itself, added, is the
baseline that function vectors are compared with (Todd et al. 2023, arXiv:2310.15213; see `function_vectors`); replacing the
state by it gives a task vector (Hendel et al. 2023, arXiv:2310.15916). Only the labels of the demonstrations are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import PositiveInt

from promptkit.collect.queries import sent_rows
from promptkit.core.arguments import check_arguments
from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample
from promptkit.core.model import text_card
from promptkit.core.requests import Read, ReadOutput
from promptkit.interpret.checks import check_layer, demonstration_prompt, pool_rows, scaled_vector
from promptkit.manipulate.demos import Zero
from promptkit.manipulate.learned.base_model import base_of
from promptkit.manipulate.learned.steering import At, SteeringVector
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.models.support import check_supports
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.single_table import training_task
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

Method = Literal["difference", "mean", "replace"]


@check_arguments("extract_steering_vector")
def extract_steering_vector(
    predictor: Predictor,
    task: Task,
    *,
    layer: int,
    how: Method = "difference",
    at: At = "last",
    strength: float = 1.0,
    rows: PositiveInt = 64,
    split: str | None = None,
    cache: bool = True,
) -> SteeringVector:
    """Computes a steering vector from the hidden states at the last token of prompts with demonstrations.

    Args:
        predictor: A predictor with a prompt that shows demonstrations.
        task: The task; rows come from its pool. Of a single table that is evaluated by folds, all rows are used.
        layer: The layer, counted from 1. The last layer is excluded, because its states are read after normalization.
        how: `difference` adds the difference that the demonstrations make to the mean state, `mean` adds the mean state
            itself, and `replace` replaces the state by the mean.
        at: The tokens that the steering vector will apply to: the `last` token of the prompt, or `all`.
        strength: A factor of the vector; not with `replace`.
        rows: The maximum number of rows.
        split: The split that will be evaluated, whose inputs are excluded; the task's default split if None.
        cache: Whether to cache the model's answers.

    Returns:
        The steering vector, for a prompt without demonstrations.

    Raises:
        InputError: If the prompt shows no demonstrations, or an argument is out of range.
        Unsupported: If the model does not return hidden states.
    """
    if how == "replace" and strength != 1:
        reason, hint = 'how="replace" cannot be combined with a strength', "Leave strength out"
        raise InputError(reason, code="strength-with-replace", got=f"strength={strength}", hint=hint, strength=strength)
    prompt = demonstration_prompt(predictor)
    _check_hidden_states(predictor, layer)
    untrained = SteeringVector((layer,), at=at, operation="replace" if how == "replace" else "add")
    task = training_task(task, split)
    selected = pool_rows(task, split, rows, of="a steering vector")
    score_cache = ScoreCache() if cache else None
    state = _mean_state(predictor, task, selected, layer, score_cache)
    if how == "difference":
        plain = Predictor(predictor.model, replace(prompt, demos=Zero(), order=None), predictor.reader)
        state = state - _mean_state(plain, task, selected, layer, score_cache)
    vectors = {"vectors": scaled_vector(state, strength)}
    return untrained.with_parameters(vectors, base_of(predictor.model), predictor.rows_read(task))


def _check_hidden_states(predictor: Predictor, layer: int) -> None:
    model = predictor.model
    check_supports(model.name, model.capabilities, "hidden_states", together=predictor.needed_features | {"edits"})
    check_layer(layer, text_card(model.card).layers - 1, "because the states of the last layer are read after normalization")


def _mean_state(
    predictor: Predictor, task: Task, rows: Sequence[LabeledExample], layer: int, cache: ScoreCache | None
) -> Floats:
    """Returns the mean over the rows that are not skipped of the hidden state at the prompt's last token, shape (d_model,)."""
    rendered = predictor.bind(task, cache=cache).encode([row.unlabeled() for row in rows])
    requests = [prompt.request(Read(hidden_layer=layer)) for _, prompt in sent_rows(rows, rendered)]
    outputs = CachedModel(predictor.model, cache)(requests)
    states = [output.hidden.numpy() for output in outputs if isinstance(output, ReadOutput) and output.hidden is not None]
    mean: Floats = np.mean(np.array(states, np.float64), axis=0)
    return mean
