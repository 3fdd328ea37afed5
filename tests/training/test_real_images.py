"""A program is trained on the demo classifier."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.config.train import TrainConfig

pytestmark = pytest.mark.real


def test_a_watermark_with_a_bayesian_label_map_improves_the_accuracy_on_digits(tmp_path: Path) -> None:
    """Measured: 0.25 before and 0.62 after 40 steps, on 64 dev rows."""
    config = TrainConfig(
        task="digits", model="vision:demo", set=["size=96"], labelmap="blm+", per_class=20, steps=40, dev=64, eval_every=20
    )
    result = config.run(out=tmp_path, cache=False)
    before, after = result.dev_evaluations[0].value, result.best.value
    assert before is not None
    assert after is not None
    assert after > before + 0.15
