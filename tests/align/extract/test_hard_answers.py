"""Extracts the answers from the texts in answers.yaml, which are grouped by extraction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from promptkit.align.extract.rules import EXTRACTIONS

TABLE: dict[str, list[list[Any]]] = yaml.safe_load(Path(__file__).with_name("answers.yaml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("name", "case"), [pytest.param(name, case, id=f"{name}-{case[0][:50]!a}") for name in TABLE for case in TABLE[name]]
)
def test_answer_is_extracted(name: str, case: list[Any]) -> None:
    text, expected, *choices = case
    extraction = EXTRACTIONS[name]()
    answer = extraction.answer(text, *map(tuple, choices))
    normal_forms = [None if text_ is None else extraction.normalized(text_) for text_ in (answer, expected)]
    assert normal_forms[0] == normal_forms[1], f"{answer!r} and not {expected!r}"


def test_every_extraction_is_tested() -> None:
    assert TABLE.keys() == EXTRACTIONS.keys()
