"""Tests of the score cache: lookups, keys, damaged files and the size limit."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.inputs import ImageInput, TextInput
from promptkit.core.interventions import InputOperation, Interventions
from promptkit.core.requests import Classify, ClassifyOutput, Generate, Read, Request, Score
from promptkit.evaluation.evaluate import evaluate
from promptkit.models.cache import ScoreCache
from promptkit.models.fake import FakeModel
from tests.support.hf_models import answer

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


@pytest.fixture(scope="module")
def new_cache(tmp_path_factory):
    return lambda: ScoreCache(tmp_path_factory.mktemp("scores", numbered=True) / "scores.sqlite")


classifications = st.builds(
    lambda value, classes, inverted: Request(
        input=ImageInput(pixels=as_array(np.full((3, 2, 2), value))),
        verb=Classify(classes=classes),
        interventions=Interventions(operations=(InputOperation(name="invert"),) if inverted else ()),
    ),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([(), (0,), (2, 1)]),
    st.booleans(),
)
logits = st.lists(st.floats(-20, 20, width=32), min_size=3, max_size=3)


@given(stored=st.dictionaries(classifications, logits, max_size=4), others=st.lists(classifications, max_size=3))
def test_logits_of_classes_are_found_unchanged(new_cache, stored, others):
    cache, outputs = new_cache(), []
    for request, row in stored.items():
        chosen = [row[number] for number in request.verb.classes or range(3)]
        outputs.append(ClassifyOutput(logits=as_array(np.array(chosen)), log_normalizer=float(np.logaddexp.reduce(row))))
    cache.add(ID, [*stored], outputs)
    assert cache.find(ID, [*stored]) == dict(enumerate(outputs))
    assert {others[index] for index in cache.find(ID, others)} == {request for request in others if request in stored}
    assert cache.find({**ID, "name": "another"}, [*stored]) == {}


# ---- lookups and keys -------------------------------------------------------------------------------


@given(stored=st.lists(requests, max_size=5), others=st.lists(requests, max_size=5))
def test_stored_outputs_are_found_unchanged_and_others_are_not_found(new_cache, stored, others):
    cache = new_cache()
    outputs = answer(MODEL, stored)
    cache.add(ID, stored, outputs)
    assert cache.find(ID, stored) == dict(enumerate(outputs))
    result = cache.find(ID, others)
    expected = answer(MODEL, others)
    assert all(expected[index] == output for index, output in result.items())
    assert cache.find({**ID, "name": "another"}, stored) == {}


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
def test_every_setting_that_changes_an_output_is_part_of_the_key(new_cache, change):
    request = Request(input=TextInput(ids=(1, 2)), verb=Generate(max_tokens=4, temperature=1.0, seed=3))
    cache = new_cache()
    cache.add(ID, [request], answer(MODEL, [request]))
    assert cache.find(ID, [request])
    assert not cache.find(ID, [change(request)])


def test_cached_samples_serve_smaller_requests_and_greedy_texts_any_seed(new_cache):
    cache = new_cache()
    eight, three = (
        Request(input=TextInput(ids=(1, 2)), verb=Generate(max_tokens=4, temperature=1.0, seed=3, n=n)) for n in (8, 3)
    )
    cache.add(ID, [eight], answer(MODEL, [eight]))
    assert cache.find(ID, [three]) == {0: answer(MODEL, [three])[0]}
    one, other = (Request(input=TextInput(ids=(1, 2)), verb=Generate(max_tokens=4, seed=seed)) for seed in (0, 1))
    cache.add(ID, [one], answer(MODEL, [one]))
    assert cache.find(ID, [other])


# ---- runs -------------------------------------------------------------------------------------------


class CountingModel(FakeModel):
    """A fake model that counts the requests that it computes."""

    computed = 0

    def answer(self, requests: Any, done: Any = frozenset()) -> Any:
        for indices, outputs in super().answer(requests, done):
            CountingModel.computed += len(indices)
            yield indices, outputs


def run(out: Path, *, template: str = "sentiment/review", seed: int = 0, model: str = "fake", cache: bool = True) -> Any:
    CountingModel.computed = 0
    predictor = pk.Predictor(
        CountingModel(model, FakeModel.Settings(batch_tokens=3000)),
        pk.Prompt(template, demos=pk.demos.Balanced(k=2, seed=seed)),
        [pk.Verbalizer({"negative": "bad", "positive": "good"}), pk.calibrate.Contextual()],
    )
    return evaluate(predictor, pk.task("sentiment"), limit=20, out=out, cache=cache)


def test_a_second_identical_run_computes_nothing_and_writes_the_same_files(tmp_path):
    first = run(tmp_path / "first")
    assert CountingModel.computed == 23
    second = run(tmp_path / "second")
    assert CountingModel.computed == 0
    assert second.notes[-1] == "23 of 23 answers were taken from the score cache"
    for file in ("run.json", "samples.jsonl", "support.jsonl", "predictions.jsonl", "summary.json"):
        assert (first.path / file).read_bytes() == (second.path / file).read_bytes()


OTHER = "{% block input %}{{ text }}:{% endblock %}{% block target %} {{ label }}{% endblock %}"


@pytest.mark.parametrize("change", [{"seed": 1}, {"model": "another"}, {"template": OTHER}])
def test_another_template_seed_or_model_is_computed_again(tmp_path, change):
    run(tmp_path)
    run(tmp_path, **change)
    assert CountingModel.computed == 23


def test_without_the_cache_nothing_is_read_or_stored(tmp_path, scores):
    run(tmp_path / "a", cache=False)
    assert not scores.exists()
    run(tmp_path / "b")
    run(tmp_path / "c", cache=False)
    assert CountingModel.computed == 23


# ---- damage, size, several processes ----------------------------------------------------------------


def scored(number: int, size: int = 1) -> tuple[list[Request], list[Any]]:
    batch = [Request(input=TextInput(ids=(number, number)), verb=Score(continuations=((1,) * size,)))]
    return batch, answer(MODEL, batch)


def test_a_damaged_entry_is_a_miss(tmp_path):
    cache = ScoreCache(tmp_path / "s")
    for number in (1, 2):
        cache.add(ID, *scored(number))
    with sqlite3.connect(tmp_path / "s") as connection:
        connection.execute("UPDATE answers SET value = replace(value, '[[-', '[[-1') WHERE rowid = 1")
    assert [len(cache.find(ID, scored(number)[0])) for number in (1, 2)] == [0, 1]
    cache.add(ID, *scored(1))
    assert cache.find(ID, scored(1)[0]) == {0: scored(1)[1][0]}


@pytest.mark.parametrize("damage", [lambda x: b"not a database" * 100, lambda x: x[:4000] + b"\xff" * (len(x) - 4000)])
def test_a_damaged_file_is_renamed_and_a_new_one_is_created(tmp_path, damage, caplog):
    path = tmp_path / "s"
    cache = ScoreCache(path)
    for number in range(50):
        cache.add(ID, *scored(number, 30))
    path.write_bytes(damage(path.read_bytes()))
    for number in range(50):
        cache.find(ID, scored(number)[0])
        cache.add(ID, *scored(number, 30))
    assert cache.find(ID, scored(49, 30)[0])
    assert [record.args[0] for record in caplog.records] == [path]
    assert [file for file in tmp_path.iterdir() if ".damaged-" in file.name]


def test_a_cache_that_cannot_be_written_is_disabled_with_a_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "scores.sqlite"
    monkeypatch.setenv("PROMPTKIT_SCORES", str(path))
    for name in ("runs", "more"):
        assert len(run(tmp_path / name).ids) == 20
    assert [record.args[0] for record in caplog.records if record.name == "promptkit.models.cache"] == [path]


def test_a_damaged_file_that_cannot_be_renamed_disables_the_cache_once(tmp_path, monkeypatch, caplog):
    path = tmp_path / "s"
    path.write_bytes(b"not a database" * 100)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("promptkit.models.cache.Path.rename", refuse)
    for number in range(3):
        ScoreCache(path).add(ID, *scored(number))
    assert [record.args[0] for record in caplog.records] == [path]
    assert path.read_bytes() == b"not a database" * 100


def test_a_full_cache_deletes_the_least_recently_used_entries(tmp_path, monkeypatch):
    cache = ScoreCache(tmp_path / "s", max_bytes=100_000)
    day = 86400.0
    for number in range(60):
        monkeypatch.setattr("promptkit.models.cache.time.time", lambda number=number: number * day)
        cache.find(ID, scored(0, 100)[0])  # used every day
        cache.add(ID, *scored(number, 100))
        assert cache.contents().size < 130_000
    kept = [number for number in range(60) if cache.find(ID, scored(number, 100)[0])]
    assert {0, 59} <= set(kept)
    assert kept[1:] == list(range(kept[1], 60))
    assert len(kept) < 60


WRITER = """
import sys
from promptkit.models.cache import ScoreCache
from promptkit.core.inputs import ImageInput, TextInput
from promptkit.core.interventions import InputOperation, Interventions
from promptkit.core.requests import Request, Score, ScoreOutput
cache, start = ScoreCache(sys.argv[1]), int(sys.argv[2])
for number in range(start, start + 60):
    request = Request(input=TextInput(ids=(number,)), verb=Score(continuations=((1,),)))
    cache.add({}, [request], [ScoreOutput(logprobs=((-float(number),),))])
"""


def test_two_processes_that_write_at_the_same_time_do_not_damage_the_file(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "s"), str(start)]) for start in (0, 30)]
    assert [writer.wait() for writer in writers] == [0, 0]
    batch = [Request(input=TextInput(ids=(number,)), verb=Score(continuations=((1,),))) for number in range(90)]
    result = ScoreCache(tmp_path / "s").find({}, batch)
    assert {index: output.logprobs for index, output in result.items()} == {n: ((-float(n),),) for n in range(90)}
    with sqlite3.connect(tmp_path / "s") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_stored_output_of_another_verb_is_a_miss(tmp_path):
    """Simulates a manually edited file, since hashes do not collide."""
    cache = ScoreCache(tmp_path / "s")
    (request,), _ = scored(1)
    cache.add(ID, [request], answer(MODEL, [replace(request, verb=Read(top_m=2))]))
    assert cache.find(ID, [request]) == {}


def test_contents_and_clear(tmp_path):
    run(tmp_path)
    cache = ScoreCache()
    assert cache.contents().entries == 23
    cache.clear()
    assert cache.contents().entries == 0
