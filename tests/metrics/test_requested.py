"""Metrics are requested by name, file, class or function, from the command line, YAML, task files and Python."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.analysis.compare import compare_runs
from promptkit.cli.main import app
from promptkit.core.errors import InputError, MissingPackage
from promptkit.metrics import METRICS, MetricInput, register
from promptkit.metrics.requested import name_of, parse_metrics
from promptkit.metrics.table import estimate
from tests.support.errors import refused
from tests.support.runs import contents
from tests.support.tables import isolate

OWN = """
def starts_alike(prediction, accepted):
    return any(prediction[:1] == answer[:1] for answer in accepted)


class Words:
    name, title = "words", "words"
    is_default, higher_is_better = False, False
    interval, bounds = "bootstrap", (0.0, float("inf"))

    def applies_to(self, rows):
        return rows.kind == "texts"

    def values(self, rows):
        import numpy as np

        return np.array([len((text or "").split()) for text in rows.predictions], float)
"""


def starts_alike(prediction: str, accepted: tuple[str, ...]) -> float:
    return any(prediction[:1] == answer[:1] for answer in accepted)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


def predictor(tokens: int = 3) -> pk.Predictor:
    return pk.Predictor(pk.load("fake"), pk.Prompt("facts/capital"), pk.extract.FirstLine(max_tokens=tokens))


def evaluated(out: Path, **options: Any) -> pk.Run:
    return pk.evaluate(predictor(), pk.task("capitals"), limit=10, out=out, **options)


def names(run: pk.Run) -> list[str]:
    return list(run.results[0].metrics)


DEFAULT = ["exact_match", "no_answer"]


# ---- spellings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, []),
        ([], []),
        ("token_f1", ["token_f1"]),
        ("token_f1, bleu", ["token_f1", "bleu"]),
        (["token_f1,bleu", "token_f1"], ["token_f1", "bleu"]),
        (("f1@a label", "field@city"), ["f1@a label", "field@city"]),
        (starts_alike, ["starts_alike"]),
        ([METRICS["bleu"], type(METRICS["chrf"])], ["bleu", "chrf"]),
    ],
)
def test_metrics_are_names_classes_metrics_and_functions(given: Any, expected: list[str]) -> None:
    assert [name_of(each) for each in parse_metrics(given)] == expected


def test_a_file_has_metrics_of_both_kinds(own: Path) -> None:
    rows = MetricInput.of_texts(np.array([1.0, 0.0]), ["Oslo is", None], [["Oslo"], ["Rome"]])
    function, words = parse_metrics([f"{own}:starts_alike", f"{own}:Words"])
    assert (name_of(function), name_of(words)) == ("starts_alike", "words")
    assert [estimate(each, rows).value for each in (function, words) if not isinstance(each, str)] == [0.5, 1]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("acuracy", "unknown-name"),
        (3, "not-a-metric"),
        (lambda prediction, accepted: 1.0, "not-a-metric"),
        ("missing.py:f", "no-such-file"),
        ("own.py:missing", "unknown-name"),
        ("broken.py:f", "metric-file-failed"),
        ("taken.py:bleu", "name-taken"),
        ("own.py:OWN", "not-a-metric"),
    ],
)
def test_what_is_no_metric_is_refused(given: Any, code: str, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    own.write_text(f"OWN = 1{OWN}")
    Path("broken.py").write_text("1 / 0")
    Path("taken.py").write_text("def bleu(prediction, accepted): return 1")
    with refused(InputError, code):
        parse_metrics(given)


@pytest.mark.parametrize("body", ["1 / 0", "'a'", "None"])
def test_a_function_that_fails_is_named(body: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(f"def mine(prediction, accepted): return {body}")
    with refused(InputError, "metric-failed", metric="mine"):
        evaluated(tmp_path, metrics=f"{tmp_path / 'own.py'}:mine")


# ---- runs ---------------------------------------------------------------------------------------------


def test_the_first_metric_is_the_main_one_and_the_folder_does_not_depend_on_metrics(tmp_path: Path) -> None:
    plain = evaluated(tmp_path)
    before = contents(plain)
    requested = evaluated(tmp_path, metrics=["token_f1", starts_alike, "bleu"])
    assert (names(plain), names(requested)) == (DEFAULT, ["token_f1", "starts_alike", "bleu", *DEFAULT])
    assert requested.main_metric.name == requested.to_json()["main_metric"] == "token_f1"
    assert requested.path == plain.path
    assert {name: content for name, content in contents(requested).items() if name in before} == before
    assert "token F1" in str(requested)
    assert {"starts", "alike"} <= set(str(requested).split())
    expected = [
        starts_alike(text or "", (gold,)) for text, gold in zip(requested.results[0].predictions, requested.gold, strict=True)
    ]
    assert requested.results[0].metrics["starts_alike"]["value"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_a_loaded_run_has_the_named_metrics_that_were_requested_last(tmp_path: Path) -> None:
    run = evaluated(tmp_path, metrics=["token_f1", starts_alike])
    assert names(pk.Run.load(run.path)) == ["token_f1", *DEFAULT]
    assert names(pk.Run.load(run.path).with_metrics("rouge1")) == ["rouge1", *DEFAULT]
    evaluated(tmp_path)
    assert names(pk.Run.load(run.path)) == DEFAULT


def test_the_command_line_yaml_and_python_ask_for_a_metric_in_a_file(own: Path, tmp_path: Path) -> None:
    out, spelled = tmp_path / "runs", f"{own}:starts_alike"
    options = ["--model", "fake", "--limit", "10", "--max-tokens", "3", "--out", str(out)]
    result = CliRunner().invoke(app, ["eval", "capitals", *options, "--metric", f"token_f1,{spelled}", "--json"])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    (tmp_path / "eval.yaml").write_text(
        "task: capitals\nmodel: fake\nlimit: 10\nmax_tokens: 3\nmetric: [token_f1, own.py:starts_alike]\n"
    )
    config = pk.EvalConfig.from_yaml(tmp_path / "eval.yaml")
    run = config.run(out=out)
    again = pk.EvalConfig(task="capitals", model="fake", limit=10, max_tokens=3, metric=["token_f1", spelled]).run(out=out)
    for each in (run, again):
        assert json.loads(json.dumps(each.to_json()["results"])) == printed["results"]
        assert str(each.path) == printed["run"]
    assert list(printed["results"][0]["metrics"]) == ["token_f1", "starts_alike", *DEFAULT]
    assert f"--metric token_f1,{spelled}" in config.to_command()


def test_differences_from_baselines_are_of_the_main_metric(tmp_path: Path) -> None:
    options: dict[str, Any] = {"task": "capitals", "model": "fake", "limit": 10}
    run = pk.EvalConfig(**options, metric=["no_answer"]).run(out=tmp_path)
    assert run.baselines is not None
    (difference,) = run.to_json()["baselines"]["differences"]  # type: ignore[index]
    value = run.results[0].metrics["no_answer"]["value"] - run.baselines.results[0].metrics["no_answer"]["value"]
    assert (difference["metric"], difference["value"]) == ("no_answer", pytest.approx(value))
    assert "no answer found minus that of" in " ".join(str(run).split())


def test_the_best_baseline_has_the_best_value_of_the_main_metric(tmp_path: Path) -> None:
    run = pk.EvalConfig(task="sentiment", model="fake", limit=40, metric=["brier"]).run(out=tmp_path)
    assert run.baselines is not None
    values = {result.name: result.metrics["brier"]["value"] for result in run.baselines.results}
    assert values[run.baselines.best.name] == min(values.values())


def test_comparisons_and_studies_show_the_main_metric(tmp_path: Path, own: Path) -> None:
    task = pk.task("capitals")
    other = pk.evaluate(predictor(5), task, limit=10, out=tmp_path)
    run = evaluated(tmp_path, metrics=["token_f1"])
    assert compare_runs([str(run.path), str(other.path)]).main_metric == "token_f1"
    assert compare_runs([str(run.path), str(other.path)], f"{own}:starts_alike").main_metric == "starts_alike"
    named = pk.compare(task, limit=10, out=tmp_path, metrics="rouge1", one=predictor(), two=predictor(5))
    assert named.main_metric == "rouge1"
    study = pk.study(predictor, task, limit=10, out=tmp_path, metrics=[starts_alike], tokens=[3, 5])
    assert study.table().title == study.table(metric="starts_alike").title
    assert [*study.cells[0].result.metrics] == ["starts_alike", *DEFAULT]


def test_a_task_file_names_its_metrics(tmp_path: Path) -> None:
    shipped = pk.task("capitals")
    assert shipped.file is not None
    text = shipped.file.read_text()
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "mine.yaml").write_text(text + "\nmetrics: [token_f1, chrf]\n")
    for name in ("data",):
        (folder / name).symlink_to(shipped.file.parent / name)
    run = pk.evaluate(predictor(), pk.task(folder / "mine.yaml"), limit=10, out=tmp_path)
    assert names(run) == ["token_f1", "chrf", *DEFAULT]
    assert names(pk.evaluate(predictor(), pk.task(folder / "mine.yaml"), limit=10, out=tmp_path, metrics="bleu"))[0] == "bleu"
    (folder / "mine.yaml").write_text(text + "\nmetrics: [own.py:f]\n")
    with refused(InputError, "metric-file-in-task", metric="own.py:f"):
        pk.evaluate(predictor(), pk.task(folder / "mine.yaml"), limit=10, out=tmp_path)


# ---- refused before the model answers -------------------------------------------------------------------


def test_a_metric_that_does_not_apply_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with refused(InputError, "metric-not-applicable", metric="accuracy", kind="texts"):
        evaluated(tmp_path / "runs", metrics="accuracy")
    with refused(InputError, "metric-not-applicable", metric="f1@neutral", kind="labels"):
        pk.EvalConfig(task="sentiment", model="hf:missing", metric=["f1@neutral"]).run(out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_missing_package_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with refused(MissingPackage, "missing-package", package="sacrebleu", extra="metrics"):
        evaluated(tmp_path / "runs", metrics="bleu")
    assert not (tmp_path / "runs").exists()


def test_a_registered_function_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, METRICS)
    register(starts_alike)
    run = evaluated(tmp_path, metrics="starts_alike")
    assert names(pk.Run.load(run.path)) == ["starts_alike", *DEFAULT]
    assert names(evaluated(tmp_path)) == DEFAULT
