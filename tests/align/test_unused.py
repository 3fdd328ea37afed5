"""Options that have no effect with the other options are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.errors import InputError
from tests.support.errors import refused

ANY: Any = pk
MAPS = ("Random", "Frequency", "Iterative", "Bayesian", "BayesianPlus", "Semantic", "Full")


@pytest.mark.parametrize(
    ("make", "given", "options"),
    [
        *((getattr(pk.labelmap, name), {"sources": "words"}, {"tokens": 100}) for name in MAPS),
        (pk.labelmap.Full, {"towards": "none"}, {"encoder": "encoder:x"}),
        (pk.labelmap.Full, {"towards": "verbalizer"}, {"encoder": "encoder:x"}),
        (pk.labelmap.Full, {"towards": "verbalizer", "per_class": 0}, {"strength": 1.0, "shares": "labeled", "unlabeled": 5}),
        (pk.probes.LinearProbe, {"on": "hidden"}, {"tokens": 100}),
        (pk.probes.LinearProbe, {"on": "words"}, {"tokens": 100, "layer": 1}),
        (pk.probes.LinearProbe, {"on": "tokens"}, {"layer": 1}),
        (pk.calibrate.Batch, {"estimate_on": "test"}, {"rows": 64}),
        (pk.calibrate.Prior, {"estimate_on": "test"}, {"rows": 64}),
        (pk.calibrate.LabelBatch, {"estimate_on": "test"}, {"rows": 64}),
    ],
)
def test_an_option_without_effect_is_refused(make: Callable[..., Any], given: dict[str, Any], options: dict[str, Any]) -> None:
    assert make(**given)
    for option, value in options.items():
        with refused(InputError, "option-without-effect", option=option):
            make(**given, **{option: value})


@pytest.mark.parametrize(
    "make",
    [
        lambda: pk.labelmap.BayesianPlus(tokens=100),
        lambda: pk.labelmap.Full(towards="semantic", encoder="encoder:x"),
        lambda: pk.labelmap.Full(strength=1.0, shares="labeled", unlabeled=5, tokens=100),
        lambda: pk.probes.LinearProbe(on="tokens", tokens=100),
        lambda: pk.probes.LinearProbe(on="hidden", layer=1),
        lambda: pk.calibrate.Batch(rows=64),
        lambda: pk.calibrate.ProCa(estimate_on="test", rows=64),
    ],
)
def test_an_option_with_an_effect_is_accepted(make: Callable[[], object]) -> None:
    assert make()
