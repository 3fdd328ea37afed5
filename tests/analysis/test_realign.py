"""Calibrations of finished runs: the same numbers as the run, what is missing, and the command that collects it."""

from __future__ import annotations

import json
import shlex
import shutil
from collections import Counter
from contextlib import suppress
from importlib import import_module
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
from promptkit.metrics.classification import BINS
from promptkit.metrics.intervals import paired_difference
from promptkit.models.client import CachedModel
from promptkit.models.fake import FakeModel
from promptkit.models.registry import ENGINES
from promptkit.predictor.compatibility import base_of
from promptkit.runs.command import SETTINGS, eval_command, explained, placeholders, why_no_premise
from tests.support.errors import refused

WORDS = {"negative": "Negative", "positive": "Positive"}
TRANSDUCTIVE = ["batch:estimate_on=test", "prior:estimate_on=test", "proca:estimate_on=test"]


def run(out: Path, *calibrations: str, limit: int = 40, model: str = "fake", **prompt: Any) -> pk.Run:
    words, loaded = pk.Verbalizer(WORDS), pk.load(model)
    prompt = {"demos": pk.demos.balanced(k=2)} | prompt
    chains: list[list[Any]] = [[], *([build("calibration", CALIBRATIONS, each)] for each in calibrations)]
    branches = [pk.Predictor(loaded, pk.Prompt("sentiment/review", **prompt), [words, *chain]) for chain in chains]
    return evaluate(branches, pk.task("sentiment"), limit=limit, out=out)


@pytest.fixture(scope="module")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> pk.Run:
    return run(tmp_path_factory.mktemp("runs"), *CALIBRATIONS)


def test_a_finished_run_is_aligned_to_the_same_numbers_without_a_model(
    full_run: pk.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeModel, "__init__", None)
    found = align(full_run.path)
    again = {result.align: result for result in found.results}
    for result in full_run.results:
        assert again[result.align].to_json() == result.to_json()
        np.testing.assert_array_equal(again[result.align].logprobs, result.logprobs)
    assert [*again] == sorted(again, key=[*again].index)
    assert again.keys() - {result.align for result in full_run.results} == {*TRANSDUCTIVE}
    assert (found.unavailable, found.command) == ((), None)


def test_differences_are_to_the_plain_verbalizer(full_run: pk.Run) -> None:
    found = align(full_run.path)
    plain = found.results[0]
    assert (plain.align, found.differences[0]) == ("verbalizer", None)
    for result, difference in zip(found.results[1:], found.differences[1:], strict=True):
        assert difference == paired_difference(result.correct, plain.correct)


def names(found: Alignments) -> list[str]:
    return [result.align for result in found.results]


def test_an_uncalibrated_run_supports_calibrations_on_its_rows_and_lists_missing_outputs(tmp_path: Path) -> None:
    found = align(run(tmp_path).path)
    assert names(found) == ["verbalizer", *TRANSDUCTIVE]
    assert [each.name for each in found.unavailable] == [*CALIBRATIONS]
    problems = {each.name: (each.code, each.fields) for each in found.unavailable}
    assert problems["contextual"] == ("missing-content-free", {"missing": 3, "needed": 3})
    assert problems["pmi"] == ("missing-premise", {})
    assert problems["batch"] == ("missing-fit-rows", {"labeled": False})
    assert problems["vector"] == ("missing-fit-rows", {"labeled": True})


def test_a_calibration_uses_fewer_rows_if_the_run_has_no_more(tmp_path: Path) -> None:
    found = align(run(tmp_path, "batch:rows=9", "contextual:content_free=nothing").path)
    fitted = [f"{name}:rows=9" for name in ("batch-fitted", "temperature", "vector", "affine")]
    assert {*names(found)} == {
        *("verbalizer", "contextual:content_free=nothing", "batch:rows=9", "prior:rows=9", "proca:rows=9"),
        *(*fitted, *TRANSDUCTIVE),
    }
    assert [each.name for each in found.unavailable] == ["domain", "pmi", *PROBES, *LABEL_MAPPINGS]
    few = align(run(tmp_path, "batch:rows=3").path)
    proca = next(each for each in few.unavailable if each.name == "proca")
    assert (proca.code, proca.fields["given"], proca.fields["needed"]) == ("too-few-rows", 3, 8)
    assert few.command is not None
    assert few.command.endswith(",".join(["--calibrate batch:rows=3,contextual,domain,pmi,proca", *PROBES, *LABEL_MAPPINGS]))


def test_recorded_random_words_need_no_rows_of_the_fit_part(tmp_path: Path) -> None:
    assert names(align(run(tmp_path, "domain").path, "domain")) == ["verbalizer", "domain"]


@pytest.mark.parametrize(
    ("prompt", "template", "never"),
    [
        ({"channel": True}, "sentiment/review_channel", ("pmi", "knn", "hidden", "linear", "blm", "semantic")),
        ({"cot": pk.cot.zero_shot(max_tokens=4)}, "sentiment/review", ("pmi",)),
    ],
)
def test_the_command_collects_only_outputs_that_the_prompt_supports(
    tmp_path: Path, prompt: dict[str, Any], template: str, never: tuple[str, ...]
) -> None:
    plain = pk.Predictor(pk.load("fake"), pk.Prompt(template, **prompt), pk.Verbalizer(WORDS))
    found = align(evaluate(plain, pk.task("sentiment"), limit=4, out=tmp_path).path)
    assert found.command is not None
    collected = found.command.partition("--calibrate ")[2].split(",")
    codes = {each.name: each.code for each in found.unavailable}
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
    {"demos": pk.demos.zero()},
    {"demos": pk.demos.random_each(k=3, seed=5), "order": pk.order.shuffled(seed=2), "instruction": "It's one, or the other."},
    {"demos": pk.demos.bm25(k=2), "order": pk.order.given(), "chat": True, "instruction": ""},
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_command_repeats_the_run_and_collects_missing_outputs(
    tmp_path: Path, prompt: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run(tmp_path, "batch:rows=5", limit=10, **prompt)
    settings = json.loads((made.path / "run.json").read_text())

    def typed(command: str) -> Any:
        monkeypatch.setattr("sys.argv", [*shlex.split(command), "--out", str(tmp_path), "--json"])
        with suppress(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    assert typed(eval_command(settings, ["batch:rows=5"]))["run"] == str(made.path)
    wanted = align(made.path, "contextual,pmi").command
    assert wanted is not None
    again = align(typed(wanted)["run"])
    assert again.unavailable == () or "contextual" not in {each.name for each in again.unavailable}
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
    had = [spelling(each) for chain in settings["align"] if (each := chain_from_settings(chain).calibration)]
    assert typed(eval_command(settings, had))["run"] == str(path)
    found = align(path)
    again = align(typed(found.command)["run"])
    assert {each.name for each in again.unavailable} < {each.name for each in found.unavailable}
    assert again.command is None
    assert {result.align for result in found.results} <= {result.align for result in again.results}


def save_learned(folder: Path) -> list[Any]:
    """Two manipulations learned on the fake model and saved as a training saves them."""
    model = pk.load("fake")
    bind_context = BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS))
    made: list[Any] = [pk.SoftPrompt(3), pk.TriggerTokens(2, seed=1)]
    learned = [each.with_parameters(each.initial_parameters(bind_context), base_of(model)) for each in made]
    for number, each in enumerate(learned, start=1):
        pk.save_manipulation(each, folder / "train-sentiment-1234" / f"{number}-{each.name}")
    return learned


@pytest.mark.parametrize("shots", [0, 8])
def test_the_command_names_the_folders_of_learned_manipulations(
    tmp_path: Path, shots: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = pk.demos.balanced(k=shots) if shots else pk.demos.zero()
    predictor = pk.Predictor(
        pk.load("fake"), [pk.Prompt("sentiment/review", demos=demos), *save_learned(tmp_path)], pk.Verbalizer(WORDS)
    )
    made = pk.evaluate(predictor, pk.task("sentiment"), limit=6, out=tmp_path)

    def typed(command: str) -> Any:
        monkeypatch.setattr("sys.argv", [*shlex.split(command), "--out", str(tmp_path), "--json"])
        with suppress(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    settings = json.loads((made.path / "run.json").read_text())
    assert typed(eval_command(settings, [], trainings=tmp_path))["run"] == str(made.path)
    found = align(made.path, "contextual,batch")
    again = align(typed(found.command)["run"], "contextual,batch")
    assert again.unavailable == ()
    other_model = eval_command(
        {**settings, "model": {**settings["model"], "name": "fake:b", "tokenizer": "b"}}, [], trainings=tmp_path
    )
    assert other_model is not None
    assert other_model.count("--prompt FOLDER ") == 2
    shutil.rmtree(tmp_path / "train-sentiment-1234" / "1-soft")
    lost = align(made.path, "contextual")
    assert lost.command is not None
    assert "--prompt FOLDER --prompt " in lost.command
    assert [*placeholders(lost.command)] == ["FOLDER"]
    assert explained(lost.command) in str(lost)
    unlearned = {**settings, "manipulate": {**settings["manipulate"], "with": [dict(pk.SoftPrompt(3).settings())]}}
    assert eval_command(unlearned, []) is None


def test_a_chain_of_thought_has_no_premise_for_the_common_token_bias(tmp_path: Path) -> None:
    made = run(tmp_path, limit=10, demos=pk.demos.zero(), cot=pk.cot.zero_shot(max_tokens=9))
    common = bias(str(made.path)).biases[-1]
    assert common.reason == why_no_premise(json.loads((made.path / "run.json").read_text()))


@pytest.mark.parametrize("name", [*SETTINGS])
def test_the_settings_in_the_command_exist_in_the_engine(name: str) -> None:
    engine: Any = getattr(import_module(ENGINES[name].module), ENGINES[name].attribute)
    assert {*SETTINGS[name]} <= {*engine.Settings.model_fields}


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
        "manipulate": dict(pk.Prompt("sentiment/review", cot=pk.cot.zero_shot(max_tokens=9)).settings()),
    }
    assert eval_command(settings, ["pmi"]) == (
        "promptkit eval TASK --model fake --template sentiment/review --shots 0 --cot zero-shot:max_tokens=9 --score mean "
        "--split test --calibrate pmi"
    )
    inline = pk.Prompt("{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}")
    assert eval_command(settings | {"manipulate": dict(inline.settings())}, ["pmi"]) is None


def test_the_table_and_the_json_have_the_same_values(full_run: pk.Run) -> None:
    found = align(full_run.path)
    as_json = json.loads(json.dumps(found.to_json()))
    assert as_json["gold"] == Counter(full_run.gold)
    assert [each["align"] for each in as_json["results"]] == names(found)
    for each in as_json["results"]:
        assert f"{each['metrics']['ece']['value']:.3f}" in str(found)
        assert "/".join(map(str, each["predicted"].values())) in str(found)


def test_the_commands_print_json_or_a_table_and_draw(
    full_run: pk.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def typed(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["promptkit", *words])
        with suppress(SystemExit):
            main()
        return capsys.readouterr().out

    path = str(full_run.path)
    assert json.loads(typed("align", path, "--json")) == align(path).to_json()
    assert json.loads(typed("bias", path, "--json"))["n"] == len(full_run.gold)
    table = typed("align", path, "--calibrate", "pmi", "--plot", str(tmp_path / "drawn.pdf"))
    assert f"{align(path, 'pmi').results[1].metrics['brier']['value']:.3f}" in table
    assert (tmp_path / "drawn.pdf").read_bytes().startswith(b"%PDF")
    assert "recency" in typed("bias", f"{path}:batch")


# ---- reliability diagrams ---------------------------------------------------------------------------


def test_bins_equal_the_bins_of_the_ece_and_the_matrix_counts_every_row(full_run: pk.Run) -> None:
    found = align(full_run.path)
    for result in found.results:
        bins = confidence_bins(result)
        gaps = sum(each.rows * abs(each.accuracy.value - each.confidence) for each in bins) / len(full_run.gold)
        assert gaps == pytest.approx(result.metrics["ece"]["value"], abs=1e-5)
        assert len(bins) <= BINS
        counts = confusion_matrix(result, found.gold, found.labels)
        assert counts.sum(1).tolist() == [Counter(full_run.gold)[label] for label in found.labels]
        assert counts.sum(0).tolist() == [result.predicted[label] for label in found.labels]
        assert np.trace(counts) == result.correct.sum()


def test_each_alignment_has_a_diagram_and_a_matrix_with_its_values(full_run: pk.Run) -> None:
    found = align(full_run.path)
    shown = [axes for axes in draw(found).axes if axes.get_visible()]
    assert len(shown) == 2 * len(found.results)
    for left, right, result in zip(shown[::2], shown[1::2], found.results, strict=True):
        assert left.get_title(loc="left").startswith(f"{result.align}\n")
        counts = confusion_matrix(result, found.gold, found.labels)
        assert [text.get_text() for text in right.texts] == [f"{count:.0f}" for count in counts.ravel()]
        assert [tick.get_text() for tick in right.get_xticklabels()] == [*WORDS]
