"""What a row's columns say of its answers."""

import pytest

from promptkit.core.errors import TaskError
from promptkit.manipulate import demos
from promptkit.tasks.columns import chosen, offered
from promptkit.tasks.spec import ChoicesSource, Source
from tests.support.errors import refused


def source(**offer):
    return Source.model_validate({"mirror": "m", "inputs": {"q": "q"}, "label": "answer", "choices": offer})


@pytest.mark.parametrize(
    ("choices", "answer", "right"),
    [
        (["4", "2", "0", "6"], 2, "0"),
        (["1", "2", "3", "4"], 2, "3"),
        (["4", "2", "0", "6"], "2", "2"),
        (["a", "b", "c"], "2", "c"),
        (["a", "b", "c"], "b", "b"),
    ],
)
def test_a_number_is_a_place_and_a_text_is_a_text(choices, answer, right):
    told = source(column="opts")
    row = {"q": "q", "opts": choices, "answer": answer}
    assert chosen(row, told, offered(row, told.choices, {}, "row 1"), "row 1") == right


@pytest.mark.parametrize("answer", ["5", 7, "d"])
def test_a_label_that_means_no_answer_is_refused(answer):
    row = {"q": "q", "opts": ["1", "2", "3"], "answer": answer}
    with refused(TaskError, "label-not-in-choices", label=str(answer), where="row 1"):
        chosen(row, source(column="opts"), ("1", "2", "3"), "row 1")


@pytest.mark.parametrize("bad", [None, {"x": 1}, ["a"]])
def test_an_answer_that_is_no_text_is_refused(bad):
    with refused(TaskError, "choice-not-text", column="opts", where="row 1"):
        offered({"opts": ["a", bad]}, ChoicesSource(column="opts"), {}, "row 1")


def test_names_that_stand_twice_name_nothing():
    row = {"opts": ["x", "y"], "names": ["A", "A"], "answer": "A"}
    with refused(TaskError, "label-not-in-choices", label="A"):
        chosen(row, source(column="opts", names="names"), ("x", "y"), "row 1")


def test_balanced_demonstrations_without_labels_are_refused(context, make_rows):
    with refused(TaskError, "no-fixed-labels", selector="balanced"):
        demos.balanced(k=2).bind(context(make_rows(6)))
