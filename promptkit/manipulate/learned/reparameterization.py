"""Networks that make a soft prompt's vectors while it is trained, and are dropped afterwards.

    mlp       P' = W3 relu(W2 relu(W1 E + b1) + b2) + b3            (P-tuning, Liu et al. 2021, 2103.10385)
    lstm      P' = W2 relu(W1 lstm(E) + b1) + b2, in two layers, both ways
    residual  P' = P + norm(U relu(D P + d) + u)                    (Razdaibiedina et al. 2023, 2305.03937)

The first two are shaped and named as PEFT's PromptEncoder has them. E begins as what the vectors would begin as, at unit
scale, and the last layer such that P' begins at the scale that they would have. The norm's gain begins as 0, so that P' is P.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from promptkit.core.arrays import Array, as_array
from promptkit.core.seeding import generator

if TYPE_CHECKING:
    from torch import Tensor

Reparameterization = Literal["mlp", "lstm", "residual"]
EMBEDDING = "embedding.weight"
"""E or P, shape (vectors, d_model)."""
LAYERS = 2
"""Of the LSTM."""


def networked(kind: Reparameterization, rows: Any, *, width: int, seed: int) -> dict[str, Array]:
    """The parameters of a network before any training. rows: (vectors, d_model), what the vectors would begin as."""
    shapes = dict(_shapes(kind, rows.shape[1], width))
    chance = generator(kind, seed)
    drawn = {name: as_array(chance.uniform(-bound, bound, size=shape)) for name, (shape, bound) in shapes.items()}
    if kind == "residual":
        return {EMBEDDING: as_array(rows), **drawn}
    scale = np.sqrt(np.mean(rows**2)) or 1.0
    begun = {EMBEDDING: as_array(rows / scale), **drawn}
    found = np.sqrt(np.mean(evaluated(kind, begun).numpy() ** 2)) or 1.0
    last = [name for name in shapes if name.startswith("mlp_head")][-2:]
    return {**begun, **{name: as_array(begun[name].numpy() * (scale / found)) for name in last}}


def evaluated(kind: Reparameterization, parameters: Mapping[str, Array]) -> Array:
    """The vectors that a network makes, shape (vectors, d_model)."""
    import torch

    tensors = {name: torch.from_numpy(array.numpy().copy()) for name, array in parameters.items()}
    with torch.no_grad():
        return as_array(made(kind, tensors).numpy())


def made(kind: Reparameterization, parameters: Mapping[str, Tensor]) -> Tensor:
    """The vectors that a network makes, (vectors, d_model), as a differentiable function of its parameters."""
    from torch.nn.functional import layer_norm, linear

    def layer(x: Tensor, name: str) -> Tensor:
        return linear(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"])

    held = parameters[EMBEDDING]
    if kind == "residual":
        change = layer(layer(held, "down").relu(), "up")
        return held + layer_norm(change, change.shape[-1:], parameters["norm.weight"], parameters["norm.bias"])
    if kind == "lstm":
        return layer(layer(_lstm(held, parameters), "mlp_head.0").relu(), "mlp_head.2")
    return layer(layer(layer(held, "mlp_head.0").relu(), "mlp_head.2").relu(), "mlp_head.4")


def _lstm(x: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """(vectors, d_model) -> (vectors, 2 width)."""
    import torch

    width = parameters["lstm_head.weight_hh_l0"].shape[1]
    weights = [parameters[name] for name, _ in _lstm_shapes(x.shape[1], width)]
    zeros = x.new_zeros(2 * LAYERS, 1, width)
    read, _, _ = torch.lstm(x[None], (zeros, zeros), weights, True, LAYERS, 0.0, False, True, True)
    return read[0]


def _shapes(kind: Reparameterization, d_model: int, width: int) -> Iterator[tuple[str, tuple[tuple[int, ...], float]]]:
    """Of each parameter but the embedding its shape, and how far from 0 it may begin: torch's own bounds."""
    if kind == "residual":
        yield from _linear("down", d_model, width)
        yield from _linear("up", width, d_model)
        yield from (("norm.weight", ((d_model,), 0.0)), ("norm.bias", ((d_model,), 0.0)))
    elif kind == "lstm":
        yield from _lstm_shapes(d_model, width)
        yield from _linear("mlp_head.0", 2 * width, 2 * width)
        yield from _linear("mlp_head.2", 2 * width, d_model)
    else:
        yield from _linear("mlp_head.0", d_model, width)
        yield from _linear("mlp_head.2", width, width)
        yield from _linear("mlp_head.4", width, d_model)


def _linear(name: str, width: int, out: int) -> Iterator[tuple[str, tuple[tuple[int, ...], float]]]:
    yield f"{name}.weight", ((out, width), width**-0.5)
    yield f"{name}.bias", ((out,), width**-0.5)


def _lstm_shapes(d_model: int, width: int) -> Iterator[tuple[str, tuple[tuple[int, ...], float]]]:
    """In the order in which torch reads them."""
    bound = width**-0.5
    for number in range(LAYERS):
        for way in ("", "_reverse"):
            sizes = {"weight_ih": (4 * width, 2 * width if number else d_model), "weight_hh": (4 * width, width)}
            for name, shape in {**sizes, "bias_ih": (4 * width,), "bias_hh": (4 * width,)}.items():
                yield f"lstm_head.{name}_l{number}{way}", (shape, bound)
