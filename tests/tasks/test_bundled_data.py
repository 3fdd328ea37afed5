"""The bundled capitals and word problems: counts, and contents checked independently of the generator."""

import importlib.util
import json
import re
import sys
from collections import Counter

import pytest

from tests.support.paths import ROOT

DATA = ROOT / "evals" / "data"
SPLITS = ("train", "test")
EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")


def read(name):
    return {
        split: [json.loads(line) for line in (DATA / name / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
        for split in SPLITS
    }


@pytest.fixture(scope="module")
def capitals():
    return read("capitals")


@pytest.fixture(scope="module")
def arithmetic():
    return read("arithmetic")


def is_correct(first, operator, second, result):
    """Whether an equation of integers is correct; divisions must have no remainder."""
    if operator == "/":
        return second != 0 and result * second == first
    return {"+": first + second, "-": first - second, "*": first * second}[operator] == result


def test_capitals_have_distinct_places_and_the_same_kinds_in_both_splits(capitals):
    places = [row["place"] for rows in capitals.values() for row in rows]
    assert len(capitals["train"]) >= 100
    assert len(capitals["test"]) >= 150
    assert len({place.casefold() for place in places}) == len(places)
    assert {row["kind"] for row in capitals["train"]} == {row["kind"] for row in capitals["test"]}


def test_every_capital_is_a_list_of_distinct_clean_texts(capitals):
    for row in (row for rows in capitals.values() for row in rows):
        assert row.keys() == {"place", "capital", "kind"}
        assert row["capital"]
        assert len(set(row["capital"])) == len(row["capital"])
        assert all(text and text == text.strip() for text in [row["place"], row["kind"], *row["capital"]])


def test_the_generator_of_the_word_problems_writes_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the folder is packaged with all of its files
    spec = importlib.util.spec_from_file_location("make_arithmetic", DATA / "arithmetic" / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    make.write(tmp_path)
    for split in SPLITS:
        assert (tmp_path / f"{split}.jsonl").read_bytes() == (DATA / "arithmetic" / f"{split}.jsonl").read_bytes()


def test_every_equation_is_correct_and_the_last_gives_the_answer(arithmetic):
    for row in (row for rows in arithmetic.values() for row in rows):
        steps = [
            (int(first), sign, int(second), int(result)) for first, sign, second, result in EQUATION.findall(row["reasoning"])
        ]
        assert 1 <= len(steps) <= 3
        assert len(steps) == row["reasoning"].count("=")
        assert all(is_correct(*step) for step in steps), row
        assert str(steps[-1][-1]) == row["answer"]
        assert 0 < steps[-1][-1] < 200


def test_every_number_of_a_word_problem_is_used_in_its_reasoning(arithmetic):
    for row in (row for rows in arithmetic.values() for row in rows):
        assert set(re.findall(r"\d+", row["question"])) <= set(re.findall(r"\d+", row["reasoning"])), row


def test_word_problems_are_distinct_and_balanced_by_kind(arithmetic):
    questions = [row["question"] for rows in arithmetic.values() for row in rows]
    assert len(set(questions)) == len(questions)
    kinds = {split: Counter(row["kind"] for row in rows) for split, rows in arithmetic.items()}
    assert len(kinds["train"]) >= 16
    assert kinds["train"].keys() == kinds["test"].keys()
    assert {split: sum(counts.values()) for split, counts in kinds.items()} == {"train": 120, "test": 180}
    assert all(len(set(counts.values())) == 1 for counts in kinds.values())


def test_word_problems_are_clean_texts_without_unfilled_placeholders(arithmetic):
    for row in (row for rows in arithmetic.values() for row in rows):
        assert row.keys() == {"question", "reasoning", "answer", "kind"}
        assert all(text and text == " ".join(text.split()) and not set("[]{}") & set(text) for text in row.values())
