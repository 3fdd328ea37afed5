"""Networks that compute a soft prompt's vectors P during training; only the vectors are saved.

    mlp       P = W3 relu(W2 relu(W1 E + b1) + b2) + b3            (P-tuning, Liu et al. 2021, arXiv:2103.10385)
    lstm      P = W2 relu(W1 lstm(E) + b1) + b2, with a bidirectional LSTM of two layers
    residual  P = E + norm(U relu(D E + d) + u)                    (Razdaibiedina et al. 2023, arXiv:2305.03937)

The first two have the architecture and parameter names of PEFT's `PromptEncoder`. E is initialized with the initial vectors,
for `mlp` and `lstm` at unit scale, and their last layer is rescaled so that P has the scale of the initial vectors. The gain of
the residual network's norm is initialized as 0, so that P equals the initial vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from promptkit.core.arrays import Array, as_array
from promptkit.core.seeding import number
from promptkit.manipulate.learned.tensors import to_array, to_tensor

if TYPE_CHECKING:
    from torch import Tensor, nn

    from promptkit.core.arrays import Floats

Reparameterization = Literal["mlp", "lstm", "residual"]
EMBEDDING = "embedding.weight"
"""The name of E, shape (vectors, d_model)."""
LAST_LAYERS = {"mlp": "mlp_head.4", "lstm": "mlp_head.2"}
"""The last layer of each network that is rescaled."""


def initial_network(kind: Reparameterization, vectors: Floats, *, width: int, seed: int) -> dict[str, Array]:
    """Returns the parameters of an untrained network.

    Args:
        kind: The architecture.
        vectors: The initial vectors of the soft prompt, shape (vectors, d_model).
        width: The width of the hidden layers.
        seed: The seed of the weights, which are drawn with torch's default initialization.
    """
    import torch

    length, d_model = vectors.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number(kind, seed) % 2**63)
        module = _network(kind, length, d_model, width)
    drawn = {name: to_array(weight) for name, weight in module.named_parameters()}
    if kind == "residual":
        return {**drawn, EMBEDDING: as_array(vectors)}
    scale = np.sqrt(np.mean(vectors**2)) or 1.0
    parameters = {**drawn, EMBEDDING: as_array(vectors / scale)}
    factor = scale / (np.sqrt(np.mean(network_output(kind, parameters).numpy() ** 2)) or 1.0)
    last = [f"{LAST_LAYERS[kind]}.{name}" for name in ("weight", "bias")]
    return {**parameters, **{name: as_array(parameters[name].numpy() * factor) for name in last}}


def network_output(kind: Reparameterization, parameters: Mapping[str, Array]) -> Array:
    """Returns the vectors that a network computes, shape (vectors, d_model)."""
    import torch

    with torch.no_grad():
        return to_array(differentiable_output(kind, {name: to_tensor(array) for name, array in parameters.items()}))


def differentiable_output(kind: Reparameterization, parameters: Mapping[str, Tensor]) -> Tensor:
    """Returns the vectors that a network computes, as a differentiable function of its parameters."""
    import torch
    from torch.func import functional_call

    length, d_model = parameters[EMBEDDING].shape
    with torch.device("meta"):  # only the architecture is needed: the weights are passed in
        module = _network(kind, length, d_model, _width(kind, parameters))
    vectors: Tensor = functional_call(module, dict(parameters), (), strict=True)
    return vectors


def _width(kind: Reparameterization, parameters: Mapping[str, Tensor]) -> int:
    first = {"mlp": "mlp_head.0.weight", "lstm": "lstm_head.weight_hh_l0", "residual": "up.weight"}[kind]
    return parameters[first].shape[0 if kind == "mlp" else 1]


def _network(kind: Reparameterization, length: int, d_model: int, width: int) -> nn.Module:
    from promptkit.manipulate.learned import networks

    architectures: dict[str, Callable[[int, int, int], nn.Module]] = {
        "mlp": networks.MLPEncoder,
        "lstm": networks.LSTMEncoder,
        "residual": networks.ResidualNetwork,
    }
    return architectures[kind](length, d_model, width)
