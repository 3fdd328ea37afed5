"""Runs with several texts per row: their metrics and records, and that cache, interruption and shards do not change them."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import promptkit as pk
from promptkit.analysis.compare import compare_runs
from promptkit.core.requests import GenerateOutput
from promptkit.evaluation.evaluate import evaluate, evaluate_shard
from promptkit.evaluation.merge import merge
from promptkit.evaluation.preview import views
from promptkit.metrics.intervals import mean_share, wilson
from promptkit.models.fake import FakeModel
from promptkit.runs.shard import Shard
from tests.support.runs import Killed, contents, lines

RIGHT = list("abcdefghijklm")


class Counting(FakeModel):
    """A model that counts the texts it generates and can be killed after some batches."""

    written = 0
    most = 10**9

    def answer(self, *arguments: Any) -> Any:
        for number, batch in enumerate(super().answer(*arguments)):
            if number == self.most:
                raise Killed
            yield batch

    def _output(self, request: Any) -> Any:
        output = super()._output(request)
        assert isinstance(output, GenerateOutput)
        Counting.written += len(output.generations)
        return output


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> pk.Task:
    """Half of the letters are correct, and a text of a few random bytes contains a letter or none."""
    folder = tmp_path_factory.mktemp("task")
    (folder / "rows.jsonl").write_text("".join(json.dumps({"q": f"question {i}", "label": RIGHT}) + "\n" for i in range(40)))
    (folder / "t.j2").write_text("{% block input %}{{ q }}{% endblock %}{% block target %}{{ label }}{% endblock %}")
    source = {"files": {"test": "rows.jsonl"}, "inputs": {"q": "q"}, "label": "label"}
    spec = {"description": "letters", "template": "t.j2", "answer": "pattern", "sources": [source]}
    (folder / "letters.yaml").write_text(yaml.safe_dump(spec))
    return pk.task(folder / "letters.yaml")


def predictor(task: pk.Task, samples: int, *, model: str = "fake", most: int = 10**9) -> pk.Predictor:
    Counting.written = 0
    counting = Counting(model, FakeModel.Settings(batch_tokens=24))
    counting.most = most
    extraction = pk.extract.Pattern(regex="[a-z]", max_tokens=6)
    chain = [extraction, pk.vote.Majority(samples=samples, temperature=0.7)] if samples > 1 else extraction
    return pk.Predictor(counting, pk.Prompt(task.spec.template), chain)


def run(task: pk.Task, samples: int, out: Path, *, cache: bool = False, limit: int = 30, **options: Any) -> pk.Run:
    return evaluate(predictor(task, samples, **options), task, limit=limit, out=out, cache=cache)


def voted(answers: tuple[str | None, ...]) -> str | None:
    said = [answer for answer in answers if answer is not None]
    return max(said, key=said.count) if said else None  # max keeps the first of those that are equal


def test_a_run_records_every_text_with_its_answer_and_the_majority_answer(task: pk.Task, tmp_path: Path) -> None:
    for line in lines(run(task, 5, tmp_path)):
        assert len(line["generations"]) == 5
        answers = tuple(text["answer"] for text in line["generations"])
        assert all(answer is None or answer in text["text"] for answer, text in zip(answers, line["generations"], strict=True))
        assert line["prediction"] == voted(answers)
        assert line["correct"] == (line["prediction"] in line["accepted"])


def test_metrics_equal_metrics_of_the_recorded_texts(task: pk.Task, tmp_path: Path) -> None:
    finished = run(task, 5, tmp_path)
    metrics = finished.results[0].metrics
    answers = [tuple(text["answer"] for text in line["generations"]) for line in lines(finished)]
    for k in range(1, 6):
        shares = [np.mean([voted(subset) in RIGHT for subset in combinations(given, k)]) for given in answers]
        assert metrics[f"exact_match@{k}"]["value"] == pytest.approx(np.mean(shares), abs=1e-6)
        assert metrics[f"exact_match@{k}"]["low"] < metrics[f"exact_match@{k}"]["value"] < metrics[f"exact_match@{k}"]["high"]
    assert metrics["exact_match@5"] == metrics["exact_match"]
    assert metrics["no_answer"]["value"] == pytest.approx(np.mean([set(given) == {None} for given in answers]), abs=1e-6)
    assert metrics["no_answer_samples"]["value"] == pytest.approx(np.mean([np.mean([a is None for a in g]) for g in answers]))
    assert 0 < metrics["no_answer_samples"]["value"] < 1
    table = str(finished)
    assert [k for k in range(1, 6) if f"of {k} " in table] == [1, 2, 4, 5]


def test_the_interval_of_shares_is_wilsons_for_binary_rows_and_narrower_for_rows_that_vary_less() -> None:
    one = mean_share(np.array([1.0] * 13 + [0.0] * 7))
    full = wilson(13, 20)
    assert (one.value, one.low, one.high) == pytest.approx((full.value, full.low, full.high))
    spread = mean_share(np.array([0.6] * 10 + [0.7] * 10))
    assert full.low < spread.low < 0.65 < spread.high < full.high
    assert mean_share(np.zeros(20)) == wilson(0, 20)


def test_a_killed_run_continues_to_the_same_bytes_and_shards_merge_to_them(task: pk.Task, tmp_path: Path) -> None:
    full = run(task, 4, tmp_path / "full")
    with pytest.raises(Killed):
        run(task, 4, tmp_path / "killed", most=3)
    resumed = run(task, 4, tmp_path / "killed")
    assert 0 < resumed.resumed < 30
    assert contents(resumed) == contents(full)
    shards = [
        evaluate_shard(predictor(task, 4), task, Shard(n, 3), limit=30, out=tmp_path / "shards", cache=False) for n in (1, 2, 3)
    ]
    merged = merge([shard.path for shard in shards], out=tmp_path / "merged")
    assert contents(merged) == contents(full)
    assert merged.to_json()["results"] == full.to_json()["results"]


@pytest.mark.parametrize(("before", "after", "written"), [(4, 8, 4), (8, 4, 0), (1, 3, 3)])
def test_cached_texts_are_not_generated_again(task: pk.Task, tmp_path: Path, before: int, after: int, written: int) -> None:
    run(task, before, tmp_path / "before", cache=True)
    assert Counting.written == 30 * before
    again = run(task, after, tmp_path / "after", cache=True)
    assert Counting.written == 30 * written
    assert contents(again) == contents(run(task, after, tmp_path / "alone"))
    run(task, after, tmp_path / "third", cache=True)
    assert Counting.written == 0


def test_a_killed_run_with_some_cached_texts_continues_to_the_same_bytes(task: pk.Task, tmp_path: Path) -> None:
    run(task, 4, tmp_path / "before", cache=True)
    with pytest.raises(Killed):
        run(task, 8, tmp_path / "killed", cache=True, most=3)
    resumed = run(task, 8, tmp_path / "killed", cache=True)
    assert Counting.written < 30 * 4
    assert contents(resumed) == contents(run(task, 8, tmp_path / "full"))


def test_runs_with_a_vote_can_be_compared_and_rendered(
    task: pk.Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = run(task, 1, tmp_path), run(task, 5, tmp_path)
    compared = compare_runs([str(one.path), f"{other.path}:majority"])
    assert [branch.accuracy.value for branch in compared.branches] == pytest.approx(
        [item.results[0].metrics["exact_match"]["value"] for item in (one, other)], abs=1e-5
    )
    (view,) = views(predictor(task, 5), task, split="test", n=1)
    view.show(tokens=False)
    assert "5 texts at temperature 0.7, each of at most 6 tokens" in capsys.readouterr().out
    shown: Any = view.to_json()
    assert (shown["generate"]["n"], shown["generate"]["temperature"]) == (5, 0.7)


def test_an_option_is_extracted_only_if_it_is_a_choice_of_the_row(tmp_path: Path) -> None:
    rows = [{"q": f"{i}? (A) x (B) y", "label": "(B)"} for i in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "t.j2").write_text("{% block input %}{{ q }}{% endblock %}{% block target %} {{ label }}{% endblock %}")
    choices = {"choices": {"pattern": r"\([A-Z]\)"}}
    source = {"files": {"test": "rows.jsonl"}, "inputs": {"q": "q"}, "label": "label", **choices}
    spec = {"description": "d", "template": "t.j2", "answer": "option", "sources": [source]}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(spec))
    option_task = pk.task(tmp_path / "t.yaml")
    assert option_task.spec.kind == "generation"
    model: Any = pk.load("fake")
    texts = iter(["The answer is B.", "The answer is (C).", "The answer is (A).", "(B)"])
    write = model._write
    model._write = lambda request: GenerateOutput(
        generations=tuple(type(g)(ids=g.ids, text=next(texts), ended=g.ended) for g in write(request).generations)
    )
    finished = evaluate(
        pk.Predictor(model, pk.Prompt(tmp_path / "t.j2"), pk.extract.Option(max_tokens=2)), option_task, out=tmp_path
    )
    said = {line["generations"][0]["text"]: (line["prediction"], line["correct"]) for line in lines(finished)}
    assert said == {
        "The answer is B.": ("(B)", True),
        "The answer is (C).": (None, False),
        "The answer is (A).": ("(A)", False),
        "(B)": ("(B)", True),
    }
