"""Networks behind a soft prompt: those of the papers, as others compute them."""

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
from promptkit.manipulate.learned.reparameterization import evaluated, made, networked
from tests.support.errors import refused

KINDS = ("mlp", "lstm", "residual")
every = pytest.mark.parametrize("kind", KINDS)


def begin(length: int, d_model: int, scale: float = 1.0, seed: int = 0) -> Any:
    return scale * np.random.default_rng(seed).normal(size=(length, d_model))


def tensors(parameters: Any) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(array.numpy()) for name, array in parameters.items()}


def moved(parameters: Any, seed: int = 0) -> dict[str, Any]:
    """As after some steps, the norm's gain too."""
    draw = np.random.default_rng(seed)
    return {name: as_array(each.numpy() + 0.1 * draw.normal(size=each.shape)) for name, each in parameters.items()}


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
@pytest.mark.parametrize(("length", "d_model", "width"), [(1, 4, 4), (5, 8, 3), (3, 6, 9)])
def test_p_tunings_encoder_is_pefts(kind: Any, length: int, d_model: int, width: int) -> None:
    config = peft.PromptEncoderConfig(
        num_virtual_tokens=length,
        token_dim=d_model,
        num_transformer_submodules=1,
        encoder_hidden_size=width,
        encoder_reparameterization_type=kind.upper(),
    )
    encoder = peft.PromptEncoder(config)
    parameters = moved(networked(kind, begin(length, d_model), width=width, seed=1))
    encoder.load_state_dict(tensors(parameters), strict=True)
    with torch.no_grad():
        expected = encoder(torch.arange(length)[None])[0].numpy()
    assert evaluated(kind, parameters).numpy() == pytest.approx(expected, abs=1e-5)


def test_the_residual_network_is_that_of_its_paper() -> None:
    parameters = moved(networked("residual", begin(4, 6), width=3, seed=1))
    own = torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.ReLU(), torch.nn.Linear(3, 6), torch.nn.LayerNorm(6))
    held = tensors(parameters)
    names = {"0": "down", "2": "up", "3": "norm"}
    own.load_state_dict({f"{at}.{x}": held[f"{name}.{x}"] for at, name in names.items() for x in ("weight", "bias")})
    with torch.no_grad():
        expected = (held["embedding.weight"] + own(held["embedding.weight"])).numpy()
    assert evaluated("residual", parameters).numpy() == pytest.approx(expected, abs=1e-5)


@given(st.sampled_from(KINDS), st.integers(1, 4), st.integers(2, 6), st.integers(1, 5), st.floats(0.01, 50))
def test_it_begins_at_the_scale_of_the_vectors_and_a_residual_one_as_they_are(
    kind: Any, length: int, d_model: int, width: int, scale: float
) -> None:
    rows = begin(length, d_model, scale)
    found = evaluated(kind, networked(kind, rows, width=width, seed=2)).numpy()
    assert found.shape == rows.shape
    assert np.sqrt((found**2).mean()) == pytest.approx(np.sqrt((rows**2).mean()), rel=1e-3)
    if kind == "residual":
        assert np.array_equal(found, rows.astype("<f4"))


@every
def test_every_number_of_it_is_learned_and_seeds_draw_others(kind: Any) -> None:
    parameters = moved(networked(kind, begin(3, 4), width=5, seed=0))
    held = {name: tensor.double().requires_grad_() for name, tensor in tensors(parameters).items()}
    names = [*held]
    assert torch.autograd.gradcheck(
        lambda *given: made(kind, dict(zip(names, given, strict=True))), [held[name] for name in names], atol=1e-4
    )
    made(kind, held).square().sum().backward()
    assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in held.values())
    one, other, same = (networked(kind, begin(3, 4), width=5, seed=seed) for seed in (0, 1, 0))
    assert one == same != other


@pytest.mark.parametrize(
    ("keywords", "code", "fields"),
    [
        ({"reparameterize": "lstmm"}, "unknown-name", {"name": "lstmm", "close": ["lstm"]}),
        ({"width": 4}, "width-without-network", {"width": 4}),
        ({"reparameterize": "mlp", "width": 0}, "out-of-range", {"width": 0}),
    ],
)
def test_what_is_no_reparameterization_is_told(keywords: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        pk.SoftPrompt(2, **keywords)


def test_how_it_is_trained_tells_prompts_apart_until_they_are_learned() -> None:
    plain, network = pk.SoftPrompt(2), pk.SoftPrompt(2, reparameterize="mlp", width=3)
    assert plain.settings() != network.settings() != pk.SoftPrompt(2, reparameterize="mlp").settings()
    vectors = {"vectors": as_array(begin(2, 4))}
    assert plain.with_parameters(vectors, {}).settings() == network.with_parameters(vectors, {}).settings()
