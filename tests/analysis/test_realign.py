"""Finished runs aligned anew: what the run said, what more it allows, what it lacks and how that is collected."""

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
from promptkit.analysis.reliability import bins, confusion, picture
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
from promptkit.runs.command import SETTINGS, eval_command, explained
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
def whole(tmp_path_factory: pytest.TempPathFactory) -> pk.Run:
    return run(tmp_path_factory.mktemp("runs"), *CALIBRATIONS)


def test_what_a_run_has_said_is_said_again_without_a_model(whole: pk.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeModel, "__init__", None)
    found = align(whole.path)
    again = {result.align: result for result in found.results}
    for result in whole.results:
        assert again[result.align].to_json() == result.to_json()
        np.testing.assert_array_equal(again[result.align].logprobs, result.logprobs)
    assert [*again] == sorted(again, key=[*again].index)
    assert again.keys() - {result.align for result in whole.results} == {*TRANSDUCTIVE}
    assert (found.lacking, found.command) == ((), None)


def test_differences_are_to_the_plain_verbalizer(whole: pk.Run) -> None:
    found = align(whole.path)
    plain = found.results[0]
    assert (plain.align, found.differences[0]) == ("verbalizer", None)
    for result, difference in zip(found.results[1:], found.differences[1:], strict=True):
        assert difference == paired_difference(result.correct, plain.correct)


def names(found: Alignments) -> list[str]:
    return [result.align for result in found.results]


def test_a_plain_run_allows_what_is_estimated_on_its_rows_and_says_what_else_would_take(tmp_path: Path) -> None:
    found = align(run(tmp_path).path)
    assert names(found) == ["verbalizer", *TRANSDUCTIVE]
    assert [each.name for each in found.lacking] == [*CALIBRATIONS]
    reasons = {each.name: each.reason for each in found.lacking}
    assert reasons["contextual"] == "the run has not read 3 of the 3 inputs without content that it reads"
    assert reasons["pmi"] == "the run has not read the labels after the prompt's end alone, its premise"
    assert reasons["batch"] == "the run has not read rows of the fit part"
    assert reasons["vector"] == "the run has not read rows of the fit part, with their labels"


def test_fewer_rows_than_a_calibration_would_take_are_taken_and_told(tmp_path: Path) -> None:
    found = align(run(tmp_path, "batch:rows=9", "contextual:content_free=nothing").path)
    fitted = [f"{name}:rows=9" for name in ("batch-fitted", "temperature", "vector", "affine")]
    assert {*names(found)} == {
        *("verbalizer", "contextual:content_free=nothing", "batch:rows=9", "prior:rows=9", "proca:rows=9"),
        *(*fitted, *TRANSDUCTIVE),
    }
    assert [each.name for each in found.lacking] == ["domain", "pmi", *PROBES, *LABEL_MAPPINGS]
    few = align(run(tmp_path, "batch:rows=3").path)
    refused = next(each for each in few.lacking if each.name == "proca")
    assert "at least 4 rows for each label" in refused.reason
    assert few.command is not None
    assert few.command.endswith(",".join(["--calibrate batch:rows=3,contextual,domain,pmi,proca", *PROBES, *LABEL_MAPPINGS]))


def test_words_that_a_run_has_read_need_no_rows_of_the_fit_part_again(tmp_path: Path) -> None:
    assert names(align(run(tmp_path, "domain").path, "domain")) == ["verbalizer", "domain"]


@pytest.mark.parametrize(
    ("prompt", "template", "never"),
    [
        ({"channel": True}, "sentiment/review_channel", ("pmi", "knn", "hidden", "linear", "blm", "semantic")),
        ({"cot": pk.cot.zero_shot(max_tokens=4)}, "sentiment/review", ("pmi",)),
    ],
)
def test_the_command_collects_nothing_that_the_prompt_has_none_of(
    tmp_path: Path, prompt: dict[str, Any], template: str, never: tuple[str, ...]
) -> None:
    plain = pk.Predictor(pk.load("fake"), pk.Prompt(template, **prompt), pk.Verbalizer(WORDS))
    found = align(evaluate(plain, pk.task("sentiment"), limit=4, out=tmp_path).path)
    assert found.command is not None
    collected = found.command.partition("--calibrate ")[2].split(",")
    reasons = {each.name: each.reason for each in found.lacking}
    for name in never:
        assert name not in collected
        assert reasons[name].startswith(("by the channel there is no", "behind a chain of thought there is no"))
    assert {"contextual", "domain", "vector"} <= {*collected}


def test_alignments_are_chosen_by_name(whole: pk.Run) -> None:
    assert names(align(whole.path, "prior:target=0.2|0.8, pmi")) == ["verbalizer", "prior:target=0.2|0.8", "pmi"]
    with refused(InputError, "unknown-name", kind="calibration", name="contextul") as error:
        align(whole.path, "contextul")
    assert error.value.fields["close"][0] == "contextual"


PROMPTS: list[dict[str, Any]] = [
    {},
    {"demos": pk.demos.zero()},
    {"demos": pk.demos.random_each(k=3, seed=5), "order": pk.order.shuffled(seed=2), "instruction": "It's one, or the other."},
    {"demos": pk.demos.bm25(k=2), "order": pk.order.given(), "chat": True, "instruction": ""},
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_command_makes_the_run_again_with_what_is_missing(
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
    assert again.lacking == () or "contextual" not in {each.name for each in again.lacking}
    assert {"contextual", "pmi", "batch:rows=5"} <= {*names(again)}


RUNS = [
    "--shots 2 --set batch_tokens=600 --score mean --calibrate batch",
    "--shots 2 --score pmi --calibrate batch",
    "--shots 0 --score channel --calibrate batch",
    "--shots 0 --cot zero-shot --calibrate batch",
    "--shots 0 --split train --calibrate batch",
]


@pytest.mark.parametrize("given", RUNS)
def test_the_command_is_of_this_run_and_offers_nothing_that_eval_refuses(
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
    assert {each.name for each in again.lacking} < {each.name for each in found.lacking}
    assert again.command is None
    assert {result.align for result in found.results} <= {result.align for result in again.results}


def of_learned(folder: Path) -> list[Any]:
    """Two that were learned on the fake model, saved as a training saves them, and one that is not there any more."""
    model = pk.load("fake")
    around = BindContext(ask=CachedModel(model), reading=pk.Verbalizer(WORDS))
    made: list[Any] = [pk.SoftPrompt(3), pk.TriggerTokens(2, seed=1)]
    learned = [each.with_parameters(each.initial_parameters(around), base_of(model)) for each in made]
    for number, each in enumerate(learned, start=1):
        pk.save_manipulation(each, folder / "train-sentiment-1234" / f"{number}-{each.name}")
    return learned


@pytest.mark.parametrize("shots", [0, 8])
def test_the_command_names_the_folders_of_what_was_learned(
    tmp_path: Path, shots: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = pk.demos.balanced(k=shots) if shots else pk.demos.zero()
    predictor = pk.Predictor(
        pk.load("fake"), [pk.Prompt("sentiment/review", demos=demos), *of_learned(tmp_path)], pk.Verbalizer(WORDS)
    )
    made = pk.evaluate(predictor, pk.task("sentiment"), limit=6, out=tmp_path)

    def typed(command: str) -> Any:
        monkeypatch.setattr("sys.argv", [*shlex.split(command), "--out", str(tmp_path), "--json"])
        with suppress(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    settings = json.loads((made.path / "run.json").read_text())
    assert typed(eval_command(settings, [], beside=tmp_path))["run"] == str(made.path)
    found = align(made.path, "contextual,batch")
    again = align(typed(found.command)["run"], "contextual,batch")
    assert again.lacking == ()
    foreign = eval_command(
        {**settings, "model": {**settings["model"], "name": "fake:b", "tokenizer": "b"}}, [], beside=tmp_path
    )
    assert foreign is not None
    assert foreign.count("--prompt FOLDER ") == 2
    shutil.rmtree(tmp_path / "train-sentiment-1234" / "1-soft")
    lost = align(made.path, "contextual")
    assert lost.command is not None
    assert "--prompt FOLDER --prompt " in lost.command
    assert "(FOLDER stands for the folder of what was learned)" in str(lost)
    unlearned = {**settings, "manipulate": {**settings["manipulate"], "with": [dict(pk.SoftPrompt(3).settings())]}}
    assert eval_command(unlearned, []) is None


def test_a_bias_asks_for_no_premise_where_there_is_none(tmp_path: Path) -> None:
    made = run(tmp_path, limit=10, demos=pk.demos.zero(), cot=pk.cot.zero_shot(max_tokens=9))
    common = bias(str(made.path)).biases[-1]
    assert common.reason == "behind a chain of thought there is no premise without inputs"


@pytest.mark.parametrize("name", [*SETTINGS])
def test_the_settings_of_the_command_are_the_engines(name: str) -> None:
    engine: Any = getattr(import_module(ENGINES[name].module), ENGINES[name].attribute)
    assert {*SETTINGS[name]} <= {*engine.Settings.model_fields}


def test_what_a_reader_has_to_put_in_the_command_is_said() -> None:
    own = "promptkit eval TASK --model fake --calibrate pmi"
    assert explained(own) == f"{own} (TASK stands for the file of your own, with the options that it was given)"
    assert explained(own.replace("TASK", "sst2")) == own.replace("TASK", "sst2")


def test_a_task_of_ones_own_has_no_name_in_the_command() -> None:
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


def test_the_table_and_json_say_the_same(whole: pk.Run) -> None:
    found = align(whole.path)
    told = json.loads(json.dumps(found.to_json()))
    assert told["gold"] == Counter(whole.gold)
    assert [each["align"] for each in told["results"]] == names(found)
    for each in told["results"]:
        assert f"{each['metrics']['ece']['value']:.3f}" in str(found)
        assert "/".join(map(str, each["predicted"].values())) in str(found)


def test_the_commands_print_one_object_or_a_table_and_draw(
    whole: pk.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def typed(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["promptkit", *words])
        with suppress(SystemExit):
            main()
        return capsys.readouterr().out

    path = str(whole.path)
    assert json.loads(typed("align", path, "--json")) == align(path).to_json()
    assert json.loads(typed("bias", path, "--json"))["n"] == len(whole.gold)
    table = typed("align", path, "--calibrate", "pmi", "--plot", str(tmp_path / "drawn.pdf"))
    assert f"{align(path, 'pmi').results[1].metrics['brier']['value']:.3f}" in table
    assert (tmp_path / "drawn.pdf").read_bytes().startswith(b"%PDF")
    assert "recency" in typed("bias", f"{path}:batch")


# ---- the picture -----------------------------------------------------------------------------------


def test_the_bins_are_those_of_the_ece_and_the_matrix_counts_every_row(whole: pk.Run) -> None:
    found = align(whole.path)
    for result in found.results:
        held = bins(result)
        gaps = sum(each.rows * abs(each.right.value - each.confidence) for each in held) / len(whole.gold)
        assert gaps == pytest.approx(result.metrics["ece"]["value"], abs=1e-5)
        assert len(held) <= BINS
        counts = confusion(result, found.gold, found.labels)
        assert counts.sum(1).tolist() == [Counter(whole.gold)[label] for label in found.labels]
        assert counts.sum(0).tolist() == [result.predicted[label] for label in found.labels]
        assert np.trace(counts) == result.correct.sum()


def test_each_alignment_is_drawn_twice_and_says_its_figures(whole: pk.Run) -> None:
    found = align(whole.path)
    shown = [axes for axes in picture(found).axes if axes.get_visible()]
    assert len(shown) == 2 * len(found.results)
    for left, right, result in zip(shown[::2], shown[1::2], found.results, strict=True):
        assert left.get_title(loc="left").startswith(f"{result.align}\n")
        counts = confusion(result, found.gold, found.labels)
        assert [text.get_text() for text in right.texts] == [f"{count:.0f}" for count in counts.ravel()]
        assert [tick.get_text() for tick in right.get_xticklabels()] == [*WORDS]
