"""Merged shards equal the run of one process, byte for byte, even if a shard was interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.analysis.compare import compare_runs
from promptkit.core.errors import InputError, RunError
from promptkit.evaluation.evaluate import evaluate, evaluate_shard
from promptkit.evaluation.merge import merge
from promptkit.runs.shard import Shard
from tests.support.errors import refused
from tests.support.runs import Killed, contents


def sentiment(model: Any) -> tuple[list[pk.Predictor], pk.Task]:
    words = pk.Verbalizer({"negative": "Negative", "positive": ["Positive", "Good"]}, score="mean")
    chains: list[list[Any]] = [[], [pk.calibrate.Contextual(content_free=("N/A", ""))], [pk.calibrate.Batch(rows=8)]]
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.RandomEach(k=2))
    return [pk.Predictor(model, prompt, [words, *chain]) for chain in chains], pk.task("sentiment")


def capitals(model: Any) -> tuple[list[pk.Predictor], pk.Task]:
    prompt = pk.Prompt("facts/capital", demos=pk.demos.Random(k=2))
    return [pk.Predictor(model, prompt, pk.extract.FirstLine(max_tokens=4, stop=("x", "y")))], pk.task("capitals")


@pytest.mark.parametrize("make", [sentiment, capitals])
@pytest.mark.parametrize("of", [1, 2, 3])
def test_merged_shards_equal_the_run_of_one_process(tmp_path, make, of):
    predictors, task = make(pk.load("fake", batch_tokens=60))
    full_run = evaluate(predictors, task, limit=20, out=tmp_path / "full_run", cache=False)
    shards = [
        evaluate_shard(predictors, task, Shard(number, of), limit=20, out=tmp_path / f"{number}", cache=False)
        for number in range(1, of + 1)
    ]
    assert sum(shard.rows for shard in shards) == 20
    if of > 1:
        assert max(shard.rows for shard in shards) < 20
    merged = merge([shard.path for shard in shards], out=tmp_path / "merged")
    assert contents(merged) == contents(full_run)
    assert merged.to_json()["results"] == full_run.to_json()["results"]
    assert merge([shard.path for shard in shards], out=tmp_path / "merged").path == merged.path


@pytest.mark.parametrize("fit", [True, False])
def test_shards_of_a_fitted_predictor_are_merged(tmp_path: Path, fit: bool) -> None:
    """Calibrations with arrays, with the context of each row, and one that is fitted by the run."""
    task, words, prompt = pk.task("sentiment"), pk.Verbalizer({"negative": "bad", "positive": "good"}), "sentiment/review"
    chains: list[list[Any]] = [
        [pk.calibrate.Temperature()],
        [pk.calibrate.Contextual()],
        [pk.probes.LinearProbe(per_class=4)],
        [pk.labelmap.Bayesian(per_class=4, tokens=20)],
    ]
    model, options = pk.load("fake", batch_tokens=600), {"limit": 20, "cache": False, "allow_seen": True}
    single = [pk.Predictor(model, pk.Prompt(prompt, demos=pk.demos.Random(k=2)), [words, *chain]) for chain in chains]
    for number, predictor in enumerate(single):
        fitted = predictor.fit(task) if fit else predictor
        full_run = evaluate(fitted, task, out=tmp_path / f"full{number}", **options)
        shards = [evaluate_shard(fitted, task, Shard(part, 2), out=tmp_path / f"{number}-{part}", **options) for part in (1, 2)]
        assert contents(merge([shard.path for shard in shards], out=tmp_path / "merged")) == contents(full_run)
        if fit and (shards[0].path / "fitted.safetensors").is_file():
            content = (shards[0].path / "fitted.safetensors").read_bytes()
            (shards[0].path / "fitted.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            with refused(RunError, "changed-file", file=str(shards[0].path / "fitted.safetensors")):
                merge([shard.path for shard in shards], out=tmp_path / "again")


def test_an_interrupted_shard_continues(tmp_path):
    predictors, task = sentiment(pk.load("fake", batch_tokens=600))
    full_run = evaluate(predictors, task, limit=20, out=tmp_path, cache=False)
    first = evaluate_shard(predictors, task, Shard(1, 2), limit=20, out=tmp_path, cache=False)
    model: Any = predictors[0].model
    answer = model.answer

    def killed(*arguments: Any) -> Any:
        for number, batch in enumerate(answer(*arguments)):
            if number == 2:
                raise Killed
            yield batch

    model.answer = killed
    with pytest.raises(Killed):
        evaluate_shard(predictors, task, Shard(2, 2), limit=20, out=tmp_path, cache=False)
    unfinished = Path(str(first.path).replace("1-of-2", "2-of-2"))
    with refused(RunError, "unfinished-run", folder=str(unfinished)):
        merge([first.path, unfinished])
    model.answer = answer
    second = evaluate_shard(predictors, task, Shard(2, 2), limit=20, out=tmp_path, cache=False)
    assert second.resumed > 0
    assert contents(merge([second.path, first.path], out=tmp_path / "merged")) == contents(full_run)


def test_shards_that_do_not_belong_together_are_refused(tmp_path):
    predictors, task = sentiment(pk.load("fake", batch_tokens=300))
    one, two = (evaluate_shard(predictors, task, Shard(n, 3), limit=20, out=tmp_path).path for n in (1, 2))
    other = evaluate_shard(predictors, task, Shard(2, 2), limit=20, out=tmp_path).path
    foreign = evaluate_shard(predictors, task, Shard(3, 3), limit=19, out=tmp_path).path
    full_run = evaluate(predictors, task, limit=20, out=tmp_path).path
    with refused(InputError, "no-shards"):
        merge([])
    cases: list[tuple[list[Path], str, dict[str, object]]] = [
        ([one, two], "missing-shards", {"shards": ("3/3",)}),
        ([one, two, foreign], "shards-differ", {"folder": str(foreign), "other": str(one), "settings": ("limit", "rows")}),
        ([one, one, two], "mismatched-shards", {"shards": ("1/3", "1/3", "2/3")}),
        ([one, other], "mismatched-shards", {"shards": ("1/3", "2/2")}),
        ([full_run], "not-a-shard", {"folder": str(full_run)}),
        ([tmp_path], "not-a-run", {"folder": str(tmp_path)}),
    ]
    for shards, code, fields in cases:
        with refused(RunError, code, **fields):
            merge(shards)
    with refused(RunError, "unmerged-shard", folder=str(one)):
        compare_runs([str(one), str(two)])


@pytest.mark.parametrize(
    "damage", [{"order": 4}, {"order": {"samples": ["nobody"], "support": []}}, {"shard": [2, 1]}, {"shard": 1}]
)
def test_a_damaged_shard_is_refused(tmp_path, damage):
    predictors, task = sentiment(pk.load("fake"))
    path = evaluate_shard(predictors, task, Shard(1, 1), limit=5, out=tmp_path).path
    marker = path / "shard.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), **damage}))
    with refused(RunError, "damaged-file", file=str(marker)):
        merge([path])


@pytest.mark.parametrize("spelling", ["", "3", "0/3", "4/3", "a/b", "1/3/5", "-1/3", "1/"])
def test_an_invalid_shard_is_refused(spelling):
    with refused(InputError, "invalid-shard", shard=spelling):
        Shard.read(spelling)
