"""Calibrations of finished runs: results equal to the run, missing outputs, and the command that collects them."""

from __future__ import annotations

import json
import shlex
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS, chain_from_settings
from promptkit.align.labelmap import LABEL_MAPPINGS
from promptkit.align.probes import PROBES
from promptkit.analysis.bias import bias
from promptkit.analysis.realign import Alignments, align
from promptkit.analysis.reliability import confidence_bins, confusion_matrix, draw
from promptkit.cli.main import main
from promptkit.core.errors import InputError
from promptkit.core.manipulation import BindContext
from promptkit.core.registry import build, spelling
from promptkit.evaluation.evaluate import evaluate
from promptkit.manipulate.learned.base_model import base_of
from promptkit.metrics.ece import BINS
from promptkit.metrics.intervals import paired_difference
from promptkit.models.client import CachedModel
from promptkit.models.fake import FakeModel
from promptkit.models.registry import ENGINES
from promptkit.needs.premise import Premise
from promptkit.runs.command import eval_command, explained, placeholders
from tests.support.calibrations import ONE_LABEL
from tests.support.errors import refused

WORDS = {"negative": "Negative", "positive": "Positive"}
TRANSDUCTIVE = ["batch:estimate_on=test", "prior:estimate_on=test", "proca:estimate_on=test"]


def run(out: Path, *calibrations: str, limit: int = 40, model: str = "fake", **prompt: Any) -> pk.Run:
    words, loaded = pk.Verbalizer(WORDS), pk.load(model)
    prompt = {"demos": pk.demos.Balanced(k=2)} | prompt
    chains: list[list[Any]] = [[], *([build("calibration", CALIBRATIONS, item)] for item in calibrations)]
    branches = [pk.Predictor(loaded, pk.Prompt("sentiment/review", **prompt), [words, *chain]) for chain in chains]
    return evaluate(branches, pk.task("sentiment"), limit=limit, out=out)


@pytest.fixture(scope="module")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> pk.Run:
    return run(tmp_path_factory.mktemp("runs"), *ONE_LABEL)


@pytest.fixture(scope="module")
def full_alignments(full_run: pk.Run) -> Alignments:
    return align(full_run.path)


def test_a_finished_run_is_aligned_to_the_same_numbers_without_a_model(
    full_run: pk.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeModel, "__init__", None)
    actual = align(full_run.path)
    again = {result.align: result for result in actual.results}
    for result in full_run.results:
        assert again[result.align].to_json() == result.to_json()
        np.testing.assert_array_equal(again[result.align].logprobs, result.logprobs)
    assert [*again] == sorted(again, key=[*again].index)
    assert again.keys() - {result.align for result in full_run.results} == {*TRANSDUCTIVE}
    assert (actual.unavailable, actual.command) == ((), None)


def test_differences_are_to_the_plain_verbalizer(full_run: pk.Run, full_alignments: Alignments) -> None:
    plain = full_alignments.results[0]
    assert (plain.align, full_alignments.differences[0]) == ("verbalizer", None)
    for result, difference in zip(full_alignments.results[1:], full_alignments.differences[1:], strict=True):
        assert difference == paired_difference(result.correct, plain.correct)


def names(actual: Alignments) -> list[str]:
    return [result.align for result in actual.results]


def test_an_uncalibrated_run_supports_calibrations_on_its_rows_and_lists_missing_outputs(tmp_path: Path) -> None:
    actual = align(run(tmp_path).path)
    assert names(actual) == ["verbalizer", *TRANSDUCTIVE]
    assert [item.name for item in actual.unavailable] == [*ONE_LABEL]
    problems = {item.name: (item.code, item.fields) for item in actual.unavailable}
    assert problems["contextual"] == ("missing-content-free", {"missing": 3, "needed": 3})
    assert problems["pmi"] == ("missing-premise", {})
    assert problems["batch"] == ("missing-fit-rows", {"labeled": False})
    assert problems["vector"] == ("missing-fit-rows", {"labeled": True})


def test_a_calibration_uses_fewer_rows_if_the_run_has_no_more(tmp_path: Path) -> None:
    actual = align(run(tmp_path, "batch:rows=9", "contextual:content_free=nothing").path)
    fitted = [f"{name}:rows=9" for name in ("batch-fitted", "temperature", "vector", "affine")]
    assert {*names(actual)} == {
        *("verbalizer", "contextual:content_free=nothing", "batch:rows=9", "prior:rows=9", "proca:rows=9"),
        *(*fitted, *TRANSDUCTIVE),
    }
    assert [item.name for item in actual.unavailable] == ["domain", "pmi", *PROBES, *LABEL_MAPPINGS]
    subset = align(run(tmp_path, "batch:rows=3").path)
    proca = next(item for item in subset.unavailable if item.name == "proca")
    assert (proca.code, proca.fields["given"], proca.fields["needed"]) == ("too-few-rows", 3, 8)
    assert subset.command is not None
    assert subset.command.endswith(",".join(["--calibrate batch:rows=3,contextual,domain,pmi,proca", *PROBES, *LABEL_MAPPINGS]))


def test_recorded_random_words_need_no_rows_of_the_fit_part(tmp_path: Path) -> None:
    assert names(align(run(tmp_path, "domain").path, "domain")) == ["verbalizer", "domain"]


@pytest.mark.parametrize(
    ("prompt", "template", "never"),
    [
        ({"channel": True}, "sentiment/review_channel", ("pmi", "knn", "hidden", "linear", "blm", "semantic")),
        ({"cot": pk.cot.ZeroShot(max_tokens=4)}, "sentiment/review", ("pmi",)),
    ],
)
def test_the_command_collects_only_outputs_that_the_prompt_supports(
    tmp_path: Path, prompt: dict[str, Any], template: str, never: tuple[str, ...]
) -> None:
    plain = pk.Predictor(pk.load("fake"), pk.Prompt(template, **prompt), pk.Verbalizer(WORDS))
    actual = align(evaluate(plain, pk.task("sentiment"), limit=4, out=tmp_path).path)
    assert actual.command is not None
    collected = actual.command.partition("--calibrate ")[2].split(",")
    codes = {item.name: item.code for item in actual.unavailable}
    for name in never:
        assert name not in collected
        assert codes[name] in ("no-answer-slot", "no-premise")
    assert {"contextual", "domain", "vector"} <= {*collected}


def test_alignments_are_chosen_by_name(full_run: pk.Run) -> None:
    assert names(align(full_run.path, "prior:target=0.2|0.8, pmi")) == ["verbalizer", "prior:target=0.2|0.8", "pmi"]
    with refused(InputError, "unknown-name", kind="calibration", name="contextul") as error:
        align(full_run.path, "contextul")
    assert error.value.fields["close"][0] == "contextual"


PROMPTS: list[dict[str, Any]] = [
    {},
    {"demos": pk.demos.Zero()},
    {"demos": pk.demos.RandomEach(k=3, seed=5), "order": pk.order.Shuffled(seed=2), "instruction": "It's one, or the other."},
    {"demos": pk.demos.BM25(k=2), "order": pk.order.Given(), "chat": True, "instruction": ""},
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_command_repeats_the_run_and_collects_missing_outputs(
    tmp_path: Path, prompt: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_result = run(tmp_path, "batch:rows=5", limit=10, **prompt)
    settings = json.loads((run_result.path / "run.json").read_text())

    def typed(command: str) -> Any:
        monkeypatch.setattr("sys.argv", [*shlex.split(command), "--out", str(tmp_path), "--json"])
        with suppress(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    assert typed(eval_command(settings, ["batch:rows=5"]))["run"] == str(run_result.path)
    collecting = align(run_result.path, "contextual,pmi").command
    assert collecting is not None
    again = align(typed(collecting)["run"])
    assert again.unavailable == () or "contextual" not in {item.name for item in again.unavailable}
    assert {"contextual", "pmi", "batch:rows=5"} <= {*names(again)}


RUNS = [
    "--shots 2 --set batch_tokens=600 --score mean --calibrate batch",
    "--shots 2 --score pmi --calibrate batch",
    "--shots 0 --score channel --calibrate batch",
    "--shots 0 --cot zero-shot --calibrate batch",
    "--shots 0 --split train --calibrate batch",
]


@pytest.mark.parametrize("given", RUNS)
def test_the_command_repeats_the_run_with_options_that_eval_accepts(
    tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def typed(command: str) -> Any:
        monkeypatch.setattr("sys.argv", [*shlex.split(command), "--out", str(tmp_path), "--json"])
        with suppress(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    path = Path(typed(f"promptkit eval sentiment --model fake --limit 10 {given}")["run"])
    settings = json.loads((path / "run.json").read_text())
    had = [spelling(item) for chain in settings["align"] if (item := chain_from_settings(chain).calibration)]
    assert typed(eval_command(settings, had))["run"] == str(path)
    actual = align(path)
    assert f" --out {tmp_path} " in actual.command
    again = align(typed(actual.command)["run"])
    assert {item.name for item in again.unavailable} < {item.name for item in actual.unavailable}
    assert again.command is None
    assert {result.align for result in actual.results} <= {result.align for result in again.results}


def save_learned(folder: Path) -> list[Any]:
    """Two manipulations learned on the fake model and saved as a training run saves them."""
    model = pk.load("fake")
    bind_context = BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS))
    run_result: list[Any] = [pk.SoftPrompt(3), pk.TriggerTokens(2, seed=1)]
    learned = [item.with_parameters(item.initial_parameters(bind_context), base_of(model)) for item in run_result]
    for number, item in enumerate(learned, start=1):
        pk.save_manipulation(item, folder / "train-sentiment-1234" / f"{number}-{item.name}")
    return learned


@pytest.mark.parametrize("shots", [0, 8])
def test_the_command_names_the_folders_of_learned_manipulations(
    tmp_path: Path, shots: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = pk.demos.Balanced(k=shots) if shots else pk.demos.Zero()
    predictor = pk.Predictor(
        pk.load("fake"), [pk.Prompt("sentiment/review", demos=demos), *save_learned(tmp_path)], pk.Verbalizer(WORDS)
    )
    run_result = pk.evaluate(predictor, pk.task("sentiment"), limit=6, out=tmp_path)

    def typed(command: str) -> Any:
        monkeypatch.setattr("sys.argv", [*shlex.split(command), "--out", str(tmp_path), "--json"])
        with suppress(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    settings = json.loads((run_result.path / "run.json").read_text())
    assert typed(eval_command(settings, [], folder=run_result.path))["run"] == str(run_result.path)
    actual = align(run_result.path, "contextual,batch")
    again = align(typed(actual.command)["run"], "contextual,batch")
    assert again.unavailable == ()
    other_model = eval_command(
        {**settings, "model": {**settings["model"], "name": "fake:b", "tokenizer": "b"}}, [], folder=run_result.path
    )
    assert other_model is not None
    assert other_model.count("--prompt FOLDER ") == 2
    shutil.rmtree(tmp_path / "train-sentiment-1234" / "1-soft")
    moved = align(run_result.path, "contextual")
    assert moved.command is not None
    assert "--prompt FOLDER --prompt " in moved.command
    assert [*placeholders(moved.command)] == ["FOLDER"]
    assert explained(moved.command) in str(moved)
    unlearned = {**settings, "manipulate": {**settings["manipulate"], "with": [dict(pk.SoftPrompt(3).settings())]}}
    assert eval_command(unlearned, []) is None


def test_a_chain_of_thought_has_no_premise_for_the_common_token_bias(tmp_path: Path) -> None:
    run_result = run(tmp_path, limit=10, demos=pk.demos.Zero(), cot=pk.cot.ZeroShot(max_tokens=9))
    common = bias(str(run_result.path)).biases[-1]
    problem = Premise().impossible(json.loads((run_result.path / "run.json").read_text())["manipulate"])
    assert problem is not None
    assert common.reason == problem.text


@pytest.mark.parametrize("name", [*ENGINES])
def test_the_settings_in_the_command_exist_in_the_engine(name: str) -> None:
    assert {*ENGINES[name].recorded} <= {*ENGINES[name].model_class().Settings.model_fields}


def test_placeholders_in_the_command_are_explained() -> None:
    command = "promptkit eval TASK --model fake --calibrate pmi"
    assert [*placeholders(command)] == ["TASK"]
    assert explained(command).startswith(f"{command} (replace TASK by ")
    assert explained(command.replace("TASK", "sst2")) == command.replace("TASK", "sst2")


def test_a_task_file_is_a_placeholder_in_the_command() -> None:
    settings = {
        "task": {"name": "mine"},
        "model": {"name": "fake"},
        "split": "test",
        "limit": None,
        "align": [[{"name": "verbalizer", "score": "mean"}]],
        "manipulate": dict(pk.Prompt("sentiment/review", cot=pk.cot.ZeroShot(max_tokens=9)).settings()),
    }
    assert eval_command(settings, ["pmi"]) == (
        "promptkit eval TASK --model fake --template sentiment/review --shots 0 --cot zero-shot:max_tokens=9 --score mean "
        "--split test --calibrate pmi"
    )
    inline = pk.Prompt("{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}")
    assert eval_command(settings | {"manipulate": dict(inline.settings())}, ["pmi"]) is None


def test_the_table_and_the_json_have_the_same_values(full_run: pk.Run, full_alignments: Alignments) -> None:
    as_json = json.loads(json.dumps(full_alignments.to_json()))
    table = str(full_alignments)
    assert as_json["gold"] == Counter(full_run.gold)
    assert [item["align"] for item in as_json["results"]] == names(full_alignments)
    for item in as_json["results"]:
        assert f"{item['metrics']['ece']['value']:.3f}" in table
        assert "/".join(map(str, item["predicted"].values())) in table


def test_the_commands_print_json_or_a_table_and_draw(
    full_run: pk.Run,
    full_alignments: Alignments,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def typed(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["promptkit", *words])
        with suppress(SystemExit):
            main()
        return capsys.readouterr().out

    path = str(full_run.path)
    assert json.loads(typed("align", path, "--json")) == full_alignments.to_json()
    assert json.loads(typed("bias", path, "--json"))["n"] == len(full_run.gold)
    table = typed("align", path, "--calibrate", "pmi", "--plot", str(tmp_path / "drawn.pdf"))
    assert f"{align(path, 'pmi').results[1].metrics['brier']['value']:.3f}" in table
    assert (tmp_path / "drawn.pdf").read_bytes().startswith(b"%PDF")
    assert "recency" in typed("bias", f"{path}:batch")


# ---- reliability diagrams ---------------------------------------------------------------------------


def test_bins_equal_the_bins_of_the_ece_and_the_matrix_counts_every_row(full_run: pk.Run, full_alignments: Alignments) -> None:
    for result in full_alignments.results:
        bins = confidence_bins(result)
        gaps = sum(item.rows * abs(item.accuracy.value - item.confidence) for item in bins) / len(full_run.gold)
        assert gaps == pytest.approx(result.metrics["ece"]["value"], abs=1e-5)
        assert len(bins) <= BINS
        counts = confusion_matrix(result)
        assert counts.sum(1).tolist() == [Counter(full_run.gold)[label] for label in full_alignments.labels]
        assert counts.sum(0).tolist() == [result.predicted[label] for label in full_alignments.labels]
        assert np.trace(counts) == result.correct.sum()


def test_each_alignment_has_a_diagram_and_a_matrix_with_its_values(full_alignments: Alignments) -> None:
    shown = [axes for axes in draw(full_alignments).axes if axes.get_visible()]
    assert len(shown) == 2 * len(full_alignments.results)
    for left, right, result in zip(shown[::2], shown[1::2], full_alignments.results, strict=True):
        assert left.get_title(loc="left").startswith(f"{result.align}\n")
        counts = confusion_matrix(result)
        assert [text.get_text() for text in right.texts] == [f"{count:.0f}" for count in counts.ravel()]
        assert [tick.get_text() for tick in right.get_xticklabels()] == [*WORDS]
