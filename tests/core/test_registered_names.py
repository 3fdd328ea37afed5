"""Registered classes are CamelCase, and their registered names are attributes of the same public module."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import pytest

import promptkit as pk
from promptkit.core.class_table import ClassTable, attribute_of

TABLES: dict[ModuleType, ClassTable[Any]] = {
    pk.demos: pk.demos.SELECTORS,
    pk.order: pk.order.ORDERS,
    pk.cot: pk.cot.COT,
    pk.extract: pk.extract.EXTRACTIONS,
    pk.calibrate: pk.calibrate.CALIBRATIONS,
    pk.labelmap: pk.labelmap.LABEL_MAPPINGS,
    pk.probes: pk.probes.PROBES,
    pk.optimizers: pk.optimizers.OPTIMIZERS,
    pk.manipulations: pk.manipulations.MODIFIERS,
}


@pytest.mark.parametrize("module", TABLES, ids=lambda module: module.__name__)
def test_both_spellings_are_the_same_class(module: ModuleType) -> None:
    for name, added in TABLES[module].items():
        if added.__module__.startswith("promptkit."):
            assert added.__name__[0].isupper()
            assert vars(module)[added.__name__] is vars(module)[attribute_of(name)] is added


def test_names_registered_later_are_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Last(pk.demos.Selector):
        name: ClassVar[str] = "the-last+"

    assert not hasattr(pk.demos, "the_last_plus")
    monkeypatch.setattr(pk.demos.SELECTORS, "_entries", {**pk.demos.SELECTORS, Last.name: Last})
    assert pk.demos.the_last_plus is Last
    assert not hasattr(pk.demos, "balance")
