"""Chat replies that name no label: they are no answer, count as wrong, and no calibration is fitted on them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.analysis.bias import bias
from promptkit.analysis.compare import compare_runs
from promptkit.analysis.doctor import NO_ANSWER, diagnose
from promptkit.analysis.realign import align
from promptkit.analysis.reliability import confidence_bins, confusion_matrix
from promptkit.core.errors import InputError, ModelError
from promptkit.core.inputs import TextInput
from promptkit.core.output_reader import Target
from promptkit.core.requests import Request, Score, ScoreOutput
from promptkit.evaluation.evaluate import evaluate, evaluate_shard
from promptkit.evaluation.merge import merge
from promptkit.models.cache_entries import decode, encode
from promptkit.runs.shard import Shard
from promptkit.searches import instructions
from promptkit.searches.halving import CandidateScore, sort_key
from tests.evaluation.test_kinds_of_tasks import make
from tests.support.errors import refused
from tests.support.runs import Killed, contents, lines
from tests.support.servers import Answer, Body, Script, load_http, reply, serving

N = 24
WORDS = {"negative": "No", "positive": "Yes, definitely"}
"""The first label is the shorter one, so that `score="sum"` and `score="mean"` prefer different labels."""
UNSURE = "I cannot tell"


@dataclass
class Server:
    """A chat server; `unsure` decides from the last message whether the reply names no label."""

    url: str = ""
    unsure: Callable[[str], bool] = field(default=lambda text: text.count("e") % 3 == 0)
    requests: int = 0

    def chat(self, body: Body) -> Answer:
        self.requests += 1
        text = body["messages"][-1]["content"]
        return reply(UNSURE if self.unsure(text) else "Yes, definitely" if len(text) % 2 else "No")


@pytest.fixture
def server() -> Iterator[Server]:
    script = Server()
    with serving(Script(script.chat)) as script.url:
        yield script


def predictors(url: str, *calibrations: Any, score: Any = "sum", **options: Any) -> list[pk.Predictor]:
    model, words = load_http(url), pk.Verbalizer(WORDS, score=score)
    prompt = pk.Prompt("sentiment/review", **options)
    return [pk.Predictor(model, prompt, [words, *chain]) for chain in ([], *([each] for each in calibrations))]


def run(each: list[pk.Predictor], folder: Path, *, cache: bool = False) -> pk.Run:
    return evaluate(each, pk.task("sentiment"), limit=N, out=folder, cache=cache)


@pytest.mark.parametrize("score", ["sum", "mean"])
def test_rows_without_an_answer_count_as_wrong_also_if_their_label_would_have_been_preferred(
    server: Server, score: Any, tmp_path: Path
) -> None:
    done = run(predictors(server.url, score=score), tmp_path)
    (result,), records = done.results, lines(done)
    unanswered = [record for record in records if record.get("no_answer")]
    answered = [record for record in records if not record.get("no_answer")]
    assert {record["gold"] for record in unanswered} == set(WORDS)
    assert done.no_answer == len(unanswered) < N
    for record in unanswered:
        assert (record["prediction"], record["correct"]) == (None, False)
        assert not {"logprobs", "continuations", "skipped"} & record.keys()
    correct = sum(record["prediction"] == record["gold"] for record in answered)
    assert result.metrics["accuracy"]["value"] == pytest.approx(correct / N, abs=1e-6)
    assert sum(result.predicted.values()) == len(answered)
    if score == "sum":
        expected = (len(unanswered) + 2 * (len(answered) - correct)) / N
        assert result.metrics["brier"]["value"] == pytest.approx(expected, abs=1e-4)
    for row, record in zip(lines(done, "predictions.jsonl"), records, strict=True):
        assert [*row["predictions"].values()] == [record["prediction"]]
    assert done.to_json()["no_answer"] == json.loads((done.path / "summary.json").read_text())["no_answer"] == done.no_answer
    assert any(note.startswith(f"{done.no_answer} of {N} rows have no answer") for note in done.notes)
    assert f"{done.no_answer} without an answer" in str(done)


def test_resume_cache_and_shards_give_the_same_files(server: Server, tmp_path: Path) -> None:
    calibrations = pk.calibrate.Batch(rows=12), pk.calibrate.Temperature(rows=12)
    each = predictors(server.url, *calibrations)
    complete = run(each, tmp_path / "complete")
    assert complete.no_answer
    assert any(record.get("no_answer") for record in lines(complete, "support.jsonl"))
    filled = run(each, tmp_path / "filled", cache=True)
    before = server.requests
    cached = run(each, tmp_path / "cached", cache=True)
    assert server.requests == before
    model: Any = each[0].model
    answer = model.answer

    def killed(*arguments: Any) -> Any:
        batches = [*answer(*arguments)]
        yield from batches[: len(batches) // 2]
        raise Killed

    model.answer = killed
    with pytest.raises(Killed):
        run(each, tmp_path / "resumed")
    model.answer = answer
    before = server.requests
    resumed = run(each, tmp_path / "resumed")
    again = run(each, tmp_path / "resumed")
    support = len(lines(complete, "support.jsonl"))
    assert server.requests - before == N + support - (N + support) // 2
    shards = [
        evaluate_shard(each, pk.task("sentiment"), Shard(i, 2), limit=N, out=tmp_path / str(i), cache=False) for i in (1, 2)
    ]
    merged = merge([shard.path for shard in shards], out=tmp_path / "merged")
    for other in (filled, cached, resumed, again, merged):
        assert contents(other) == contents(complete)
        assert (other.no_answer, other.results[1].predictions) == (complete.no_answer, complete.results[1].predictions)


def test_calibrations_are_fitted_on_the_rows_with_an_answer(server: Server, tmp_path: Path) -> None:
    done = run(predictors(server.url, pk.calibrate.Batch(rows=12), pk.calibrate.Temperature(rows=12)), tmp_path)
    unanswered = [bool(record.get("no_answer")) for record in lines(done)]
    for result in done.results:
        assert [prediction is None for prediction in result.predictions] == unanswered
        assert not result.correct[unanswered].any()
        assert np.isneginf(result.logprobs[unanswered]).all()
        assert np.isfinite(result.logprobs[np.logical_not(unanswered)]).all()
    scarce = predictors(server.url, pk.calibrate.ProCa(rows=8))
    server.unsure = lambda text: True
    fit = [*lines(done, "support.jsonl")]
    assert 0 < sum("no_answer" in record for record in fit) < len(fit)
    server.unsure = lambda text: text.count("e") % 8 > 0
    with refused(InputError, "too-few-rows", needed=8) as raised:
        run(scarce, tmp_path)
    assert raised.value.fields["given"] < 8


@pytest.mark.parametrize("calibration", [pk.calibrate.Contextual(), pk.calibrate.PMI()])
def test_a_content_free_input_or_premise_without_an_answer_is_refused(server: Server, calibration: Any, tmp_path: Path) -> None:
    asked = predictors(server.url, calibration)
    server.unsure = lambda text: False
    assert run(asked, tmp_path / "sure").no_answer == 0
    task = pk.task("sentiment")
    reviews = [text for row in task.rows(task.spec.split) for text in row.inputs.values()]
    server.unsure = lambda text: not any(review in text for review in reviews)
    with refused(ModelError, "no-answer"):
        run(asked, tmp_path / "unsure")
    before = server.requests
    with refused(ModelError, "no-answer"):
        run(asked, tmp_path / "unsure")
    assert server.requests == before  # the answers are kept
    assert run(asked[:1], tmp_path / "uncalibrated").no_answer == 0


def test_a_run_without_any_answer_has_an_accuracy_of_0(server: Server, tmp_path: Path) -> None:
    server.unsure = lambda text: True
    done = run(predictors(server.url, pk.calibrate.Temperature(rows=8)), tmp_path)
    assert done.no_answer == N
    assert {value["value"] for result in done.results for name, value in result.metrics.items() if "acc" in name} == {0.0}
    assert bias(str(done.path)).n == 0
    assert str(align(done.path, "temperature:rows=8"))


def test_choices(server: Server, tmp_path: Path) -> None:
    rows = [{"q": f"row {i}", "options": ["red", "blue", f"o{i}"][: 2 + i % 2], "label": i % 2} for i in range(20)]
    task = make(tmp_path / "choices", rows, choices={"column": "options"})
    server.unsure = lambda text: "row 1" in text
    predictor = pk.Predictor(load_http(server.url), pk.Prompt(task.spec.template), pk.Choices())
    done = evaluate([predictor], task, out=tmp_path, cache=False)
    assert done.no_answer == 20 - sum(result is not None for result in done.results[0].predictions) > 0
    server.unsure = lambda text: True
    silent = evaluate([predictor], task, out=tmp_path / "silent", cache=False)
    assert (silent.no_answer, silent.results[0].metrics["accuracy"]["value"]) == (20, 0.0)


def test_finished_runs_are_analyzed(server: Server, tmp_path: Path) -> None:
    done = run(predictors(server.url, pk.calibrate.Batch(rows=12)), tmp_path)
    realigned = align(done.path, "batch:rows=12")
    assert [result.metrics for result in realigned.results] == [result.metrics for result in done.results]
    assert bias(str(done.path)).n == N - done.no_answer
    assert int(pk.Run.load(done.path).results[0].metric_input.answered.sum()) == N - done.no_answer
    result = done.results[0]
    assert confusion_matrix(result).sum() == N - done.no_answer
    assert confidence_bins(result)[0][:2] == (0.0, done.no_answer)
    server.unsure = lambda text: False
    other = run(predictors(server.url, score="mean"), tmp_path)
    assert compare_runs([f"{done.path}:verbalizer", str(other.path)]).to_json()


def test_engines_disagree_on_a_row_that_one_of_them_does_not_answer(server: Server) -> None:
    sure = Server(unsure=lambda text: False)
    with serving(Script(sure.chat)) as url:
        first, second = load_http(server.url), load_http(url)
        reader = pk.Verbalizer(WORDS)
        found = diagnose(first, second, pk.task("sentiment"), pk.Prompt("sentiment/review"), reader, limit=N)
    assert found.flips
    assert {flip.first for flip in found.flips} == {NO_ANSWER}
    assert found.largest == 0
    assert found.reasons
    json.dumps(found.to_json(), allow_nan=False)


def test_a_search_counts_rows_without_an_answer_as_wrong(server: Server, tmp_path: Path) -> None:
    server.unsure = lambda text: "hesitate" in text and text.count("e") % 2 == 0
    (predictor,) = predictors(server.url)
    texts = ["Rate it.", "Do hesitate."]
    found = instructions.search(
        predictor, pk.task("sentiment"), instructions=texts, by="logprob", dev=20, test=10, out=tmp_path, cache=False
    )
    standings = found.rungs[0].standings
    assert [text for text in standings if text in texts] == texts
    assert (standings[texts[0]].no_answer, standings[texts[0]].skipped) == (0, 0)
    assert standings[texts[1]].no_answer > 0 == standings[texts[1]].skipped
    answered = 20 - standings[texts[1]].no_answer
    assert standings[texts[1]].metric <= answered / 20
    assert sort_key("a", CandidateScore(0.5, -1.0), "logprob") < sort_key("b", CandidateScore(0.5, -0.1, 0, 1), "logprob")


def test_methods_that_need_scores_are_refused_and_those_that_need_answers_are_not(server: Server, tmp_path: Path) -> None:
    server.unsure = lambda text: text.count("e") % 2 == 0
    ordered = predictors(server.url, demos=pk.demos.Balanced(k=2), order=pk.order.LeastEntropy())
    with refused(ModelError, "no-answer"):
        run(ordered, tmp_path)
    influential = predictors(server.url, demos=pk.demos.Influence(k=2, contexts=4, rows=4))
    assert run(influential, tmp_path).ids


def test_an_output_without_an_answer_survives_copies() -> None:
    output = ScoreOutput(logprobs=(), answered=False)
    request = Request(input=TextInput(ids=(1, 2)), verb=Score(continuations=((3,), (4, 5))))
    assert pickle.loads(pickle.dumps(output)) == output
    assert decode(request, json.loads(json.dumps(encode(output)))) == output
    given = ScoreOutput(logprobs=((-1.0,), (-2.0, -3.0)))
    assert decode(request, json.loads(json.dumps(encode(given)))) == given
    with refused(ModelError, "no-answer", purpose="Training"):
        pk.Verbalizer(WORDS).loss_of_output(Target(gold=0), output)
