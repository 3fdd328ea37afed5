"""Multiple choice and generation: their task files and their runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

import promptkit as pk
from promptkit.align.chain import reader_for
from promptkit.core.errors import InputError, TaskError, Unsupported
from promptkit.metrics import METRICS, MetricInput
from promptkit.metrics.table import estimates
from promptkit.runs.row_warnings import RowWarning, row_warnings
from tests.support.errors import refused
from tests.support.runs import lines

TEMPLATE = "{% block input %}Q: {{ q }}\nA:{% endblock %}{% block target %} {{ label }}{% endblock %}"


def make(folder: Path, rows: list[dict[str, Any]], *, answer: Any = None, **source: Any) -> pk.Task:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (folder / "t.j2").write_text(TEMPLATE)
    source = {"files": {"test": "rows.jsonl"}, "inputs": {"q": "q"}, "label": "label", **source}
    spec = {"description": "made up", "template": "t.j2", "sources": [source]} | ({"answer": answer} if answer else {})
    (folder / "t.yaml").write_text(yaml.safe_dump(spec))
    return pk.task(folder / "t.yaml")


CHOICES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a list, by text": ({"options": ["red", "blue"], "label": "blue"}, {"column": "options"}),
    "a list, by number": ({"options": ["red", "blue"], "label": 1}, {"column": "options"}),
    "a list, by number from 1": ({"options": ["red", "blue"], "label": "2"}, {"column": "options", "count_from": 1}),
    "a field, by name": (
        {"choices": {"text": ["red", "blue"], "label": ["A", "B"]}, "label": "B"},
        {"column": "choices.text", "names": "choices.label"},
    ),
    "columns": ({"one": "red", "two": "blue", "label": 1}, {"columns": ["one", "two"]}),
}


@pytest.mark.parametrize("kind", CHOICES)
def test_choices_come_from_columns(tmp_path: Path, kind: str) -> None:
    row, choices = CHOICES[kind]
    (example,) = make(tmp_path, [{"q": "?", **row}], choices=choices).rows("test")
    assert (example.choices, example.label) == (("red", "blue"), "blue")


def test_choices_come_from_a_pattern_without_repeats(tmp_path: Path) -> None:
    row = {"q": "Is (B) before (A)?\n(A) no\n(B) yes\n(C) (A)", "label": "(B)"}
    (example,) = make(tmp_path, [row], choices={"pattern": r"(?m)^\([A-Z]\)"}).rows("test")
    assert (example.choices, example.label) == (("(A)", "(B)", "(C)"), "(B)")


@pytest.mark.parametrize(
    ("row", "choices", "code", "fields"),
    [
        ({"options": ["red"], "label": 0}, {"column": "options"}, "invalid-choices", {"choices": ("red",)}),
        ({"options": ["red", "red"], "label": 0}, {"column": "options"}, "invalid-choices", {"choices": ("red", "red")}),
        ({"options": ["red", ""], "label": 0}, {"column": "options"}, "invalid-choices", {"choices": ("red", "")}),
        ({"options": "red, blue", "label": 0}, {"column": "options"}, "not-a-list", {"column": "options"}),
        ({"options": ["red", "blue"], "label": 2}, {"column": "options"}, "label-not-in-choices", {"choices": ("red", "blue")}),
        (
            {"options": ["red", "blue"], "label": 0},
            {"column": "options", "count_from": 1},
            "label-not-in-choices",
            {"choices": ("red", "blue")},
        ),
        (
            {"options": ["red", "blue"], "label": "C", "n": ["A", "B"]},
            {"column": "options", "names": "n"},
            "label-not-in-choices",
            {"label": "C", "choices": ("red", "blue")},
        ),
        (
            {"options": ["red", "blue"], "label": "0"},
            {"column": "option"},
            "unknown-name",
            {"kind": "column", "name": "option", "close": ["options"]},
        ),
        ({"label": "x"}, {"pattern": "[A-Z]"}, "invalid-choices", {"choices": ()}),
    ],
)
def test_invalid_choices_are_refused_with_the_row(
    tmp_path: Path, row: dict[str, Any], choices: dict[str, Any], code: str, fields: dict[str, Any]
) -> None:
    with refused(TaskError, code, where="row 1 of the test split of t", **fields):
        make(tmp_path, [{"q": "?", **row}], choices=choices).rows("test")


def test_rows_with_equal_inputs_and_different_choices_have_different_ids(tmp_path: Path) -> None:
    rows = [{"q": "?", "o": options, "label": 0} for options in (["a", "b"], ["a", "c"])]
    one, other = make(tmp_path, rows, choices={"column": "o"}).rows("test")
    assert one.id.partition("#")[0] != other.id.partition("#")[0]


@pytest.mark.parametrize(
    ("label", "accepted"), [("Kyiv", ("Kyiv",)), (["Kyiv", "Kiev", "Kyiv"], ("Kyiv", "Kiev")), (42, ("42",)), ([7], ("7",))]
)
def test_an_answer_is_a_text_or_a_list_of_accepted_texts(tmp_path: Path, label: Any, accepted: tuple[str, ...]) -> None:
    (example,) = make(tmp_path, [{"q": "?", "label": label}], answer="first_line").rows("test")
    assert (example.accepted, example.label) == (accepted, accepted[0])


@pytest.mark.parametrize("label", [[], [""], " ", ["x", ["y"]], {"a": 1}])
def test_an_answer_that_is_not_a_text_is_refused(tmp_path: Path, label: Any) -> None:
    with refused(TaskError, "invalid-answer", column="label", where="row 1 of the test split of t"):
        make(tmp_path, [{"q": "?", "label": label}], answer="first_line").rows("test")


def test_a_rationale_comes_from_a_column_and_appears_only_in_demonstrations(tmp_path: Path) -> None:
    def regex_column(regex: str) -> dict[str, str]:
        return {"column": "answer", "pattern": regex}

    rows = [{"q": f"{i}+1?", "answer": f"{i} + 1 = {i + 1}\n#### {i + 1}"} for i in range(8)]
    task = make(
        tmp_path,
        rows,
        answer="final_number",
        label=regex_column("#### (.+)"),
        rationale={"why": regex_column(r"(?s)(.*)\n####")},
        hold_out=4,
    )
    text = "{% block input %}{{ q }}{% endblock %}{% block target %} {{ why }} so {{ label }}{% endblock %}"
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt(pk.Template(text), demos=pk.demos.Random(k=2)), reader_for(task))
    (rendered,) = predictor.bind(task).encode([task.rows("test")[0]])
    prompt = "".join(piece.text for piece in rendered.pieces if not piece.control)
    for row in task.pool():
        assert (f"{row.rationale['why']} so {row.label}" in prompt) == (row.id in rendered.demos)
    assert prompt.endswith(task.rows("test")[0].inputs["q"])


def test_a_pattern_that_matches_nothing_is_refused_with_the_row(tmp_path: Path) -> None:
    with refused(TaskError, "pattern-not-found", pattern="#", column="label", where="row 1 of the test split of t"):
        make(tmp_path, [{"q": "?", "label": "x"}], answer="first_line", label={"column": "label", "pattern": "#"}).rows("test")


@pytest.mark.parametrize(
    ("changed", "code", "fields"),
    [
        ({"answer": "first_line", "labels": {"a": "a", "b": "b"}}, "ambiguous-task-kind", {"given": "labels and answer"}),
        ({}, "ambiguous-task-kind", {"given": "none of them"}),
        ({"answer": {"first_line": {}, "pattern": {}}}, "invalid-extraction", {}),
    ],
)
def test_a_task_is_of_one_kind(tmp_path: Path, changed: dict[str, Any], code: str, fields: dict[str, Any]) -> None:
    source = {"files": {"test": "x.csv"}, "inputs": {"q": "q"}, "label": "label"}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump({"description": "d", "template": "t.j2", "sources": [source], **changed}))
    with refused(TaskError, code, file=str(tmp_path / "t.yaml"), **fields):
        pk.task(tmp_path / "t.yaml")


@pytest.mark.parametrize(
    ("answer", "code", "fields"),
    [
        ("firstline", "unknown-name", {"kind": "extraction", "name": "firstline", "close": ["first_line"]}),
        (
            {"first_line": {"max_token": 3}},
            "unknown-name",
            {"kind": "keyword of the extraction first_line", "name": "max_token", "close": ["max_tokens"]},
        ),
        ({"first_line": {"max_tokens": "many"}}, "invalid-value", {"of": "first_line", "keyword": "max_tokens"}),
        ({"pattern": {"regex": "("}}, "invalid-pattern", {"pattern": "("}),
    ],
)
def test_an_invalid_extraction_is_refused(tmp_path: Path, answer: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        reader_for(make(tmp_path, [{"q": "?", "label": "x"}], answer=answer))


# ---- runs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> tuple[pk.Task, pk.Run]:
    folder = tmp_path_factory.mktemp("choice")
    rows = [{"q": f"question {i}", "o": [f"{i}{j}" for j in range(2 + i % 3)], "label": i % 2} for i in range(40)]
    task = make(folder, rows, choices={"column": "o"})
    return task, pk.evaluate(pk.Predictor(pk.load("fake"), pk.Prompt(folder / "t.j2"), pk.Choices()), task, out=folder)


def test_a_run_of_choices_predicts_the_likeliest_choice_of_each_row(chosen: tuple[pk.Task, pk.Run]) -> None:
    task, run = chosen
    of_id = {row.id: row for row in task.labeled_rows()}
    for line in lines(run):
        assert tuple(line["logprobs"]) == of_id[line["id"]].choices
        assert line["prediction"] == max(line["logprobs"], key=line["logprobs"].__getitem__)
        assert [scored["text"] for scored in line["continuations"]] == [f" {text}" for text in of_id[line["id"]].choices]
    right = [line["gold"] == line["prediction"] for line in lines(run)]
    assert run.results[0].metrics["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert set(run.results[0].metrics) == {"accuracy", "ece", "brier"}


def test_the_brier_score_of_choices_uses_the_probabilities_of_each_rows_choices(chosen: tuple[pk.Task, pk.Run]) -> None:
    squares = []
    for line in lines(chosen[1]):
        total = sum(map(math.exp, line["logprobs"].values()))
        squares.append(sum((math.exp(x) / total - (text == line["gold"])) ** 2 for text, x in line["logprobs"].items()))
    assert chosen[1].results[0].metrics["brier"]["value"] == pytest.approx(np.mean(squares), abs=1e-5)


def test_choices_are_scored_by_pmi_against_the_premise_of_each_row(chosen: tuple[pk.Task, pk.Run], tmp_path: Path) -> None:
    """Holtzman et al. 2021: log p(y | x) - log p(y | premise), over the choices of the row."""
    task, plain = chosen
    model, prompt = pk.load("fake"), pk.Prompt(plain.path.parent / "t.j2")
    branches = [pk.Predictor(model, prompt, [pk.Choices(), *chain]) for chain in ([], [pk.calibrate.PMI()])]
    run = pk.evaluate(branches, task, out=tmp_path)
    assert run.results[0].to_json() == plain.results[0].to_json()
    premises = {line["id"]: line["logprobs"] for line in lines(run, "support.jsonl")}
    assert len(premises) == len(run.ids)
    for line, prediction, scores in zip(lines(run), run.results[1].predictions, run.results[1].logprobs, strict=True):
        gains = {text: score - premises[f"premise of {line['id']}"][text] for text, score in line["logprobs"].items()}
        assert prediction == max(gains, key=gains.__getitem__)
        q = np.exp([*gains.values()]) / np.exp([*gains.values()]).sum()
        assert np.exp(scores[: len(q)]) / np.exp(scores[: len(q)]).sum() == pytest.approx(q, abs=1e-6)
        assert np.isneginf(scores[len(q) :]).all()
    assert run.results[1].align == "pmi"


@given(st.lists(st.tuples(st.integers(0, 2), st.lists(st.floats(-9, 0), min_size=3, max_size=3)), min_size=2, max_size=20))
def test_metrics_of_choices_equal_metrics_of_labels_if_rows_have_equal_numbers_of_choices(
    rows: list[tuple[int, list[float]]],
) -> None:
    gold, logprobs = np.array([g for g, _ in rows]), np.array([x for _, x in rows])
    full = estimates(MetricInput.of_scores(gold, logprobs))
    of_choices = estimates(MetricInput.of_scores(gold, np.hstack([logprobs, np.full((len(rows), 2), -np.inf)]), kind="choices"))
    for name, figure in of_choices.items():
        for one, other in zip(
            (figure.value, figure.low, figure.high), (full[name].value, full[name].low, full[name].high), strict=True
        ):
            assert one == pytest.approx(other, abs=1e-12)
    assert of_choices["accuracy"].value == pytest.approx(accuracy_score(gold, logprobs.argmax(1)))


def facts(folder: Path, **keywords: Any) -> tuple[pk.Task, pk.Run]:
    rows = [{"q": f"question {i}", "label": [f"answer {i}", "@"]} for i in range(30)]
    task = make(folder, rows, answer={"pattern": {"regex": "[a-z@]+", "max_tokens": 6}}, hold_out=10)
    prompt = pk.Prompt(folder / "t.j2", demos=pk.demos.Random(k=2))
    return task, pk.evaluate(pk.Predictor(pk.load("fake"), prompt, reader_for(task, **keywords)), task, out=folder)


def test_a_run_of_texts_records_the_texts_and_the_extracted_answers(tmp_path: Path) -> None:
    _, run = facts(tmp_path)
    for line in lines(run):
        (text,) = line["generations"]
        assert text["ended"] in ("stop", "end", "length")
        assert text["tokens"] <= 6
        assert line["prediction"] is None or line["prediction"] in text["text"]
        assert line["correct"] == (line["prediction"] in line["accepted"])
    predictions = [line["prediction"] for line in lines(run)]
    assert run.results[0].metrics["no_answer"]["value"] == pytest.approx(
        np.mean([prediction is None for prediction in predictions])
    )
    assert run.results[0].metrics["exact_match"]["value"] == pytest.approx(np.mean([line["correct"] for line in lines(run)]))
    assert None in predictions
    assert METRICS["no_answer"].title in str(run)
    cut_off = sum(line["generations"][0]["ended"] == "length" for line in lines(run))
    warning = RowWarning(code="max-tokens", rows=cut_off, of=len(run.ids))
    assert cut_off > 0
    assert warning in row_warnings(lines(run))
    assert str(warning) in run.notes


def test_a_sampled_text_does_not_depend_on_the_other_rows(tmp_path: Path) -> None:
    task, full = facts(tmp_path, temperature=1.0, seed=3)
    predictor = pk.Predictor(
        pk.load("fake"), pk.Prompt(tmp_path / "t.j2", demos=pk.demos.Random(k=2)), reader_for(task, temperature=1.0, seed=3)
    )
    subset = lines(pk.evaluate(predictor, task, limit=5, out=tmp_path))
    assert subset == lines(full)[:5]
    other = facts(tmp_path, temperature=1.0, seed=4)[1]
    assert [line["generations"] for line in lines(other)] != [line["generations"] for line in lines(full)]


def test_runs_of_texts_are_compared_by_correctness_and_not_by_spelling(tmp_path: Path) -> None:
    from promptkit.analysis.compare import compare_runs

    one, other = facts(tmp_path)[1], facts(tmp_path, temperature=1.0)[1]
    compared = compare_runs([str(one.path), str(other.path)])
    assert [branch.accuracy.value for branch in compared.branches] == pytest.approx(
        [run.results[0].metrics["exact_match"]["value"] for run in (one, other)], abs=1e-5
    )


def test_a_predictor_for_another_kind_of_task_is_refused(tmp_path: Path) -> None:
    task = make(tmp_path, [{"q": "?", "label": "x"}], answer="first_line")
    for wrong in (pk.Choices(), pk.Verbalizer({"x": "x", "y": "y"})):
        with refused(TaskError, "wrong-task-kind", task="t", kind="generation", aligner=wrong.name):
            pk.evaluate(pk.Predictor(pk.load("fake"), pk.Prompt(tmp_path / "t.j2"), wrong), task, out=tmp_path)
    with refused(TaskError, "wrong-task-kind", task="sentiment", kind="classification", aligner="first_line"):
        pk.evaluate(
            pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), pk.extract.FirstLine()),
            pk.task("sentiment"),
            out=tmp_path,
        )


def test_a_calibration_over_fixed_labels_is_refused_for_choices() -> None:
    with refused(Unsupported, "no-fixed-labels", calibration="contextual", aligner="choices"):
        pk.Predictor(pk.load("fake"), pk.Prompt("question/answer"), [pk.Choices(), pk.calibrate.Contextual()])


def test_demonstrations_are_dropped_to_leave_context_for_the_text(bind_context: Any, make_card: Any, make_rows: Any) -> None:
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.First(k=6), instruction="")
    example = pk.task("sentiment").rows("test")[0]

    def render(max_tokens: int, card: Any) -> Any:
        return prompt.bind(bind_context(make_rows(8), card=card, reader=pk.extract.FirstLine(max_tokens=max_tokens)))(
            [example]
        )[0]

    full = render(1, make_card())
    card = make_card(context_length=len(full.input.ids) + 10)
    assert not render(10, card).dropped
    fewer = render(11, card)
    assert len(fewer.dropped) == 1
    assert len(fewer.input.ids) + 11 <= card.context_length
