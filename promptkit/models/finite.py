"""Stops a run at numbers that are not finite, which comparisons and the choice of tokens would otherwise hide."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isnan

import numpy as np

from promptkit.core.errors import ModelError
from promptkit.core.requests import Output, ReadOutput, ScoreOutput


def not_finite(what: str, **fields: object) -> ModelError:
    """Returns the error for a model that returned something that is not finite.

    Args:
        what: What it returned, such as `a log-probability`.
        fields: Further fields of the error.
    """
    return ModelError(
        f"The model returned {what} that is not finite",
        code="not-finite",
        hint="Its activations overflow at this precision: try --set dtype=bfloat16 or dtype=float32",
        **fields,
    )


def check_finite(outputs: Iterable[Output], model: str) -> None:
    """Checks log-probabilities and hidden states; a log-probability of -inf is allowed, for tokens that a model rules out.

    Args:
        outputs: The outputs of a model.
        model: The name of the model.

    Raises:
        ModelError: If a number is not finite.
    """
    for output in outputs:
        if any(isnan(x) or x == inf for x in _logprobs(output)):
            raise not_finite("a log-probability", model=model)
        if isinstance(output, ReadOutput) and output.hidden is not None and not np.isfinite(output.hidden.numpy()).all():
            raise not_finite("a hidden state", model=model)


def _logprobs(output: Output) -> list[float]:
    if isinstance(output, ScoreOutput):
        return [x for tokens in output.logprobs for x in tokens]
    if isinstance(output, ReadOutput):
        return [*output.logprobs, *(logprob for _, logprob in output.top)]
    return []
