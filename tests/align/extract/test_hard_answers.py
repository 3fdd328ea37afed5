"""Every text of answers.yaml, read by the extraction that it stands under."""

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
def test_the_answer_in_a_text_is_found(name: str, case: list[Any]) -> None:
    text, expected, *choices = case
    extraction = EXTRACTIONS[name]()
    answer = extraction.answer(text, *map(tuple, choices))
    forms = [None if each is None else extraction.normalized(each) for each in (answer, expected)]
    assert forms[0] == forms[1], f"{answer!r} and not {expected!r}"


def test_every_extraction_is_in_the_table() -> None:
    assert TABLE.keys() == EXTRACTIONS.keys()
