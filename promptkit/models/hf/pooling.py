"""The output of a `Read` request: log-probabilities, and the state at the last position or a mean over positions."""

from __future__ import annotations

from torch import Tensor

from promptkit.core.arrays import Array
from promptkit.core.errors import Unsupported
from promptkit.core.requests import Read, ReadOutput
from promptkit.models.hf.tensors import array_of


def hidden_state(verb: Read, states: Tensor, d_model: int) -> Array:
    """Returns the pooled hidden state of one layer, of length d_model.

    Args:
        verb: Whether to take the last position or a mean.
        states: The layer's states at the input's positions, shape (positions, d_model) or (1, positions, d_model). For only
            the last position, the states of a suffix of the input are sufficient.
        d_model: The width of the model's hidden states.

    Raises:
        Unsupported: If the layer does not have one state of that width for each position.
    """
    if states.dim() == 3 and len(states) == 1:
        states = states[0]
    if states.dim() != 2 or states.shape[1] != d_model:
        raise Unsupported(
            f"Layer {verb.hidden_layer} of this model does not have one hidden state of width {d_model} for each token",
            code="unusual-hidden-states",
            got=f"states of shape {' x '.join(map(str, (*states.shape[:-2], 'tokens', states.shape[-1])))}",
            hint="Read another layer, or use another model",
            layer=verb.hidden_layer,
            d_model=d_model,
        )
    state = states[-1] if verb.mean_from is None else states[verb.mean_from :].float().mean(0)
    return array_of(state)


def read_output(verb: Read, logprobs: Tensor, states: Tensor | None, d_model: int) -> ReadOutput:
    """Returns the output of a request.

    Args:
        verb: What to read.
        logprobs: The log-probabilities of all tokens, shape (vocabulary,).
        states: The states of the layer that is read, as in `hidden_state`; None if no state is read.
        d_model: The width of the model's hidden states.
    """
    best = logprobs.topk(min(verb.top_m, len(logprobs)))
    return ReadOutput(
        logprobs=tuple(logprobs[[*verb.token_ids]].tolist()),
        top=tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)),
        hidden=None if states is None else hidden_state(verb, states, d_model),
    )
