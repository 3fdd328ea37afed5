"""The training loss, the AdamW optimizer, and the rows of each training step."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.output_reader import Target
from promptkit.core.requests import ScoreOutput
from promptkit.training.checkpoint import TrainingState
from promptkit.training.config import TrainingConfig

WORDS = {"no": ["bad, really", "dull"], "yes": ["good"]}


class Slope:
    """An objective with a constant gradient."""

    def __init__(self, gradient: Any) -> None:
        self._gradient = gradient

    def gradient(self, parameters: Any) -> Any:
        return 0.0, {name: as_array(self._gradient.numpy()) for name in parameters}


@given(st.lists(st.lists(st.floats(-9, -0.1), min_size=1, max_size=3), min_size=3, max_size=3), st.integers(0, 8))
def test_loss_is_cross_entropy_of_the_aligners_scores(rows: list[list[float]], combination: int) -> None:
    score, pool = ("sum", "mean")[combination % 2], ("logsumexp", "mean", "max")[combination % 3]
    words = pk.Verbalizer(WORDS, score=score, pool=pool)
    for reader in (words, pk.Choices(score=score)):
        expected = reader.align(ScoreOutput(logprobs=tuple(map(tuple, rows))))
        scores = reader.align_tensors([torch.tensor(row) for row in rows])
        assert scores.tolist() == pytest.approx(expected, abs=1e-4)
        loss, scored = reader.loss(Target(gold=1), [torch.tensor(row) for row in rows])
        total = math.log(sum(math.exp(x) for x in expected))
        assert loss.item() == pytest.approx(total - expected[1], abs=1e-3)
        assert scored is not None
        assert scored.tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("schedule", "decay"), [("linear", 0.0), ("constant", 0.1)])
def test_optimizer_equals_torch_adamw(schedule: Any, decay: float) -> None:
    recipe = TrainingConfig(steps=12, schedule=schedule, warmup=0.25)
    draw = torch.Generator().manual_seed(0)
    start, gradients = torch.randn((2, 3), generator=draw), torch.randn((12, 2, 3), generator=draw)
    standing = TrainingState(parameters={"0.x": as_array(start.numpy())}, best_parameters={})
    reference = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([reference], lr=1.0, weight_decay=decay)
    make_step = pk.AdamW(weight_decay=decay).begin(standing, 0)
    for step, gradient in enumerate(gradients):
        make_step(Slope(gradient), {"0.x": 0.3 * recipe.lr_factor(step)})
        standing.step += 1
        optimizer.param_groups[0]["lr"] = 0.3 * recipe.lr_factor(step)
        reference.grad = gradient.clone()
        optimizer.step()
    assert standing.parameters["0.x"].numpy() == pytest.approx(reference.detach().numpy(), abs=1e-5)
    rates = [recipe.lr_factor(step) for step in range(12)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[2:]))


@given(st.integers(1, 30), st.integers(1, 9), st.integers(0, 3))
def test_each_row_is_used_once_per_epoch(count: int, size: int, seed: int) -> None:
    ids = [f"row {i}" for i in range(count)]
    recipe = TrainingConfig(batch_size=size, seed=seed)
    seen = [index for step in range(40) for index in recipe.batch(ids, step)]
    for begin in range(0, len(seen) - count, count):
        assert sorted(seen[begin : begin + count]) == list(range(count))
