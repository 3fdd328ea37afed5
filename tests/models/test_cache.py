"""The score cache: what it gives back, what is another question, and what becomes of damage."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Generate, Generation, Read, Request, Score
from promptkit.evaluation.evaluate import evaluate
from promptkit.models.cache import ScoreCache
from promptkit.models.fake import FakeModel

MODEL = pk.load("fake")
ID = MODEL.identity()

ids = st.lists(st.integers(0, 255), min_size=1, max_size=6).map(tuple)
verbs = st.one_of(
    st.builds(Score, continuations=st.lists(ids, min_size=1, max_size=3).map(tuple)),
    st.builds(
        Read,
        token_ids=ids,
        top_m=st.integers(0, 3),
        hidden_layer=st.sampled_from([None, 0]),
        mean_from=st.sampled_from([None, 0]),
    ),
    st.builds(
        Generate,
        max_tokens=st.integers(1, 4),
        n=st.integers(1, 3),
        temperature=st.sampled_from([0.0, 1.0]),
        seed=st.integers(0, 3),
    ),
)
requests = st.builds(lambda prompt, verb: Request(input=TextInput(ids=prompt), verb=verb), ids, verbs)


def answers(asked: list[Request]) -> list[Any]:
    outputs: dict[int, Any] = {}
    for indices, batch in MODEL.answer(asked):
        outputs |= dict(zip(indices, batch, strict=True))
    return [outputs[index] for index in range(len(asked))]


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return lambda: ScoreCache(tmp_path_factory.mktemp("scores", numbered=True) / "scores.sqlite")


# ---- what it gives back -----------------------------------------------------------------------------


@given(asked=st.lists(requests, max_size=5), others=st.lists(requests, max_size=5))
def test_what_was_kept_is_found_as_it_was_and_nothing_else_is(empty, asked, others):
    cache = empty()
    outputs = answers(asked)
    cache.add(ID, asked, outputs)
    assert cache.find(ID, asked) == dict(enumerate(outputs))
    found = cache.find(ID, others)
    expected = answers(others)
    assert all(expected[index] == output for index, output in found.items())
    assert cache.find({**ID, "name": "another"}, asked) == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda r: replace(r, input=TextInput(ids=(*r.input.ids, 7))),
        lambda r: replace(r, verb=replace(r.verb, seed=9)),
        lambda r: replace(r, verb=replace(r.verb, temperature=0.5)),
        lambda r: replace(r, verb=replace(r.verb, stop=("x",))),
        lambda r: replace(r, verb=replace(r.verb, max_tokens=5)),
    ],
)
def test_whatever_changes_an_answer_is_another_question(empty, change):
    request = Request(input=TextInput(ids=(1, 2)), verb=Generate(max_tokens=4, temperature=1.0, seed=3))
    cache = empty()
    cache.add(ID, [request], answers([request]))
    assert cache.find(ID, [request])
    assert not cache.find(ID, [change(request)])


def test_fewer_samples_are_found_in_more_and_a_greedy_text_whatever_the_seed(empty):
    cache = empty()
    eight, three = (
        Request(input=TextInput(ids=(1, 2)), verb=Generate(max_tokens=4, temperature=1.0, seed=3, n=n)) for n in (8, 3)
    )
    cache.add(ID, [eight], answers([eight]))
    assert cache.find(ID, [three]) == {0: answers([three])[0]}
    one, other = (Request(input=TextInput(ids=(1, 2)), verb=Generate(max_tokens=4, seed=seed)) for seed in (0, 1))
    cache.add(ID, [one], answers([one]))
    assert cache.find(ID, [other])


# ---- runs -------------------------------------------------------------------------------------------


class Counting(FakeModel):
    """Counts what it was asked."""

    asked = 0

    def answer(self, requests: Any, done: Any = frozenset()) -> Any:
        for indices, outputs in super().answer(requests, done):
            Counting.asked += len(indices)
            yield indices, outputs


def run(out: Path, *, template: str = "sentiment/review", seed: int = 0, model: str = "fake", cache: bool = True) -> Any:
    Counting.asked = 0
    predictor = pk.Predictor(
        Counting(model, FakeModel.Settings(batch_tokens=3000)),
        pk.Prompt(template, demos=pk.demos.balanced(k=2, seed=seed)),
        [pk.Verbalizer({"negative": "bad", "positive": "good"}), pk.calibrate.Contextual()],
    )
    return evaluate(predictor, pk.task("sentiment"), limit=20, out=out, cache=cache)


def test_a_second_identical_run_asks_the_model_nothing_and_has_the_same_bytes(tmp_path):
    first = run(tmp_path / "first")
    assert Counting.asked == 23
    second = run(tmp_path / "second")
    assert Counting.asked == 0
    assert second.notes[-1] == "23 of 23 answers were taken from the score cache"
    for file in ("run.json", "samples.jsonl", "support.jsonl", "predictions.jsonl", "summary.json"):
        assert (first.path / file).read_bytes() == (second.path / file).read_bytes()


OTHER = "{% block input %}{{ text }}:{% endblock %}{% block target %} {{ label }}{% endblock %}"


@pytest.mark.parametrize("change", [{"seed": 1}, {"model": "another"}, {"template": OTHER}])
def test_another_template_seed_or_model_is_asked_anew(tmp_path, change):
    run(tmp_path)
    run(tmp_path, **change)
    assert Counting.asked == 23


def test_without_the_cache_nothing_is_read_from_it_or_kept(tmp_path, scores):
    run(tmp_path / "a", cache=False)
    assert not scores.exists()
    run(tmp_path / "b")
    run(tmp_path / "c", cache=False)
    assert Counting.asked == 23


# ---- damage, size, company --------------------------------------------------------------------------


def one(number: int, size: int = 1) -> tuple[list[Request], list[Any]]:
    asked = [Request(input=TextInput(ids=(number, number)), verb=Score(continuations=((1,) * size,)))]
    return asked, answers(asked)


def test_a_damaged_entry_is_a_miss(tmp_path):
    cache = ScoreCache(tmp_path / "s")
    for number in (1, 2):
        cache.add(ID, *one(number))
    with sqlite3.connect(tmp_path / "s") as connection:
        connection.execute("UPDATE answers SET value = replace(value, '[[-', '[[-1') WHERE rowid = 1")
    assert [len(cache.find(ID, one(number)[0])) for number in (1, 2)] == [0, 1]
    cache.add(ID, *one(1))
    assert cache.find(ID, one(1)[0]) == {0: one(1)[1][0]}


@pytest.mark.parametrize("damage", [lambda x: b"not a database" * 100, lambda x: x[:4000] + b"\xff" * (len(x) - 4000)])
def test_a_damaged_file_is_set_aside_and_a_new_one_is_begun(tmp_path, damage, caplog):
    path = tmp_path / "s"
    cache = ScoreCache(path)
    for number in range(50):
        cache.add(ID, *one(number, 30))
    path.write_bytes(damage(path.read_bytes()))
    for number in range(50):
        cache.find(ID, one(number)[0])
        cache.add(ID, *one(number, 30))
    assert cache.find(ID, one(49, 30)[0])
    assert "is damaged" in caplog.text
    assert [each for each in tmp_path.iterdir() if ".damaged-" in each.name]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PROMPTKIT_SCORES", str(tmp_path / "file" / "scores.sqlite"))
    assert len(run(tmp_path / "runs").ids) == 20
    assert "done without" in caplog.text


def test_a_full_cache_forgets_what_was_not_used_for_longest(tmp_path, monkeypatch):
    cache = ScoreCache(tmp_path / "s", max_bytes=100_000)
    day = 86400.0
    for number in range(60):
        monkeypatch.setattr("promptkit.models.cache.time.time", lambda number=number: number * day)
        cache.find(ID, one(0, 100)[0])  # is used every day
        cache.add(ID, *one(number, 100))
        assert cache.contents().size < 130_000
    kept = [number for number in range(60) if cache.find(ID, one(number, 100)[0])]
    assert {0, 59} <= set(kept)
    assert kept[1:] == list(range(kept[1], 60))
    assert len(kept) < 60


WRITER = """
import sys
from promptkit.models.cache import ScoreCache
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Request, Score, ScoreOutput
cache, start = ScoreCache(sys.argv[1]), int(sys.argv[2])
for number in range(start, start + 60):
    request = Request(input=TextInput(ids=(number,)), verb=Score(continuations=((1,),)))
    cache.add({}, [request], [ScoreOutput(logprobs=((-float(number),),))])
"""


def test_two_processes_that_write_at_once_leave_it_sound(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "s"), str(start)]) for start in (0, 30)]
    assert [writer.wait() for writer in writers] == [0, 0]
    asked = [Request(input=TextInput(ids=(number,)), verb=Score(continuations=((1,),))) for number in range(90)]
    found = ScoreCache(tmp_path / "s").find({}, asked)
    assert {index: output.logprobs for index, output in found.items()} == {n: ((-float(n),),) for n in range(90)}
    with sqlite3.connect(tmp_path / "s") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_an_answer_to_another_question_is_no_answer(tmp_path):
    """A key of 32 bytes never meets another; a file edited by hand may."""
    cache = ScoreCache(tmp_path / "s")
    (asked, _) = one(1)
    cache.add(ID, asked, [Generation(ids=(1,), text="", ended="end")] and answers([replace(asked[0], verb=Read(top_m=2))]))
    assert cache.find(ID, asked) == {}


def test_the_command_shows_and_clears_it(tmp_path):
    run(tmp_path)
    cache = ScoreCache()
    assert cache.contents().entries == 23
    cache.clear()
    assert cache.contents().entries == 0
