"""Reparameterization networks: equal to the reference implementations of the papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.errors import InputError
from promptkit.manipulate.learned.reparameterization import differentiable_output, initial_network, network_output
from tests.support.errors import refused

KINDS = ("mlp", "lstm", "residual")
each_kind = pytest.mark.parametrize("kind", KINDS)


def initial_vectors(length: int, d_model: int, scale: float = 1.0, seed: int = 0) -> Any:
    return scale * np.random.default_rng(seed).normal(size=(length, d_model))


def tensors(parameters: Any) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(array.numpy()) for name, array in parameters.items()}


def perturbed(parameters: Any, seed: int = 0) -> dict[str, Any]:
    """Returns perturbed parameters, including the gain of the norm, to simulate training."""
    draw = np.random.default_rng(seed)
    return {name: as_array(item.numpy() + 0.1 * draw.normal(size=item.shape)) for name, item in parameters.items()}


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
@pytest.mark.parametrize(("length", "d_model", "width"), [(1, 4, 4), (5, 8, 3), (3, 6, 9)])
def test_p_tuning_encoders_equal_peft(kind: Any, length: int, d_model: int, width: int) -> None:
    config = peft.PromptEncoderConfig(
        num_virtual_tokens=length,
        token_dim=d_model,
        num_transformer_submodules=1,
        encoder_hidden_size=width,
        encoder_reparameterization_type=kind.upper(),
    )
    encoder = peft.PromptEncoder(config)
    parameters = perturbed(initial_network(kind, initial_vectors(length, d_model), width=width, seed=1))
    encoder.load_state_dict(tensors(parameters), strict=True)
    with torch.no_grad():
        expected = encoder(torch.arange(length)[None])[0].numpy()
    assert network_output(kind, parameters).numpy() == pytest.approx(expected, abs=1e-5)


def test_the_residual_network_equals_its_definition() -> None:
    parameters = perturbed(initial_network("residual", initial_vectors(4, 6), width=3, seed=1))
    reference = torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.ReLU(), torch.nn.Linear(3, 6), torch.nn.LayerNorm(6))
    weights = tensors(parameters)
    names = {"0": "down", "2": "up", "3": "norm"}
    reference.load_state_dict({f"{at}.{x}": weights[f"{name}.{x}"] for at, name in names.items() for x in ("weight", "bias")})
    with torch.no_grad():
        expected = (weights["embedding.weight"] + reference(weights["embedding.weight"])).numpy()
    assert network_output("residual", parameters).numpy() == pytest.approx(expected, abs=1e-5)


@given(st.sampled_from(KINDS), st.integers(1, 4), st.integers(2, 6), st.integers(1, 5), st.floats(0.01, 50))
def test_initial_output_has_the_scale_of_the_vectors_and_equals_them_with_a_residual(
    kind: Any, length: int, d_model: int, width: int, scale: float
) -> None:
    rows = initial_vectors(length, d_model, scale)
    result = network_output(kind, initial_network(kind, rows, width=width, seed=2)).numpy()
    assert result.shape == rows.shape
    assert np.sqrt((result**2).mean()) == pytest.approx(np.sqrt((rows**2).mean()), rel=1e-3)
    if kind == "residual":
        assert np.array_equal(result, rows.astype("<f4"))


@each_kind
def test_every_parameter_gets_a_gradient_and_seeds_differ(kind: Any) -> None:
    parameters = perturbed(initial_network(kind, initial_vectors(2, 3), width=2, seed=0))
    weights = {name: tensor.double().requires_grad_() for name, tensor in tensors(parameters).items()}
    names = [*weights]
    assert torch.autograd.gradcheck(
        lambda *given: differentiable_output(kind, dict(zip(names, given, strict=True))),
        [weights[name] for name in names],
        atol=1e-4,
    )
    differentiable_output(kind, weights).square().sum().backward()
    assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in weights.values())
    one, other, same = (initial_network(kind, initial_vectors(3, 4), width=5, seed=seed) for seed in (0, 1, 0))
    assert one == same != other


@pytest.mark.parametrize(
    ("keywords", "code", "fields"),
    [
        ({"reparameterize": "lstmm"}, "unknown-name", {"name": "lstmm", "close": ["lstm"]}),
        ({"width": 4}, "width-without-network", {"width": 4}),
        ({"reparameterize": "mlp", "width": 0}, "out-of-range", {"width": 0}),
    ],
)
def test_invalid_settings_are_refused(keywords: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        pk.SoftPrompt(2, **keywords)


def test_settings_include_the_network_until_the_prompt_is_trained() -> None:
    plain, network = pk.SoftPrompt(2), pk.SoftPrompt(2, reparameterize="mlp", width=3)
    assert plain.settings() != network.settings() != pk.SoftPrompt(2, reparameterize="mlp").settings()
    vectors = {"vectors": as_array(initial_vectors(2, 4))}
    assert plain.with_parameters(vectors, {}).settings() == network.with_parameters(vectors, {}).settings()
