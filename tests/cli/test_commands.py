"""The commands, run in subprocesses with the fake engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import promptkit as pk
from promptkit.core.manipulation import BindContext, Learnable
from promptkit.manipulate.learned.base_model import base_of
from promptkit.models.client import CachedModel
from promptkit.models.registry import ENGINES
from promptkit.models.vision.operations import OPERATIONS
from tests.extensions.conftest import TABLES
from tests.support.paths import ROOT

COMMAND = [sys.executable, "-m", "promptkit"]
KEYS = [
    "task",
    "split",
    "n",
    "model",
    "seconds",
    "examples_per_second",
    "resumed",
    "run",
    "too_long",
    "no_answer",
    "seen_rows",
    "notes",
    "main_metric",
    "results",
    "baselines",
    "label_maps",
]


def promptkit(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PROMPTKIT_DATA"}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=environment, check=False, timeout=120
    )


def test_json_is_one_object_on_standard_output(tmp_path: Path) -> None:
    done = promptkit(
        *("eval", "sentiment", "--model", "fake", "--limit", 12, "--calibrate", "contextual,batch:rows=4", "--json"),
        *("--out", tmp_path),
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert list(printed) == KEYS
    assert [result["align"] for result in printed["results"]] == ["verbalizer", "contextual", "batch:rows=4"]
    for result in printed["results"]:
        assert set(result["metrics"]) == {"accuracy", "macro_f1", "ece", "brier"}
        assert all(m["low"] <= m["value"] <= m["high"] for m in result["metrics"].values())
        assert sum(result["predicted"].values()) == printed["n"] == 12
    assert printed["seen_rows"] == 0
    assert (Path(printed["run"]) / "summary.json").is_file()


def test_score_pmi_equals_the_pmi_calibration(tmp_path: Path) -> None:
    arguments = ("eval", "sentiment", "--model", "fake", "--limit", 12, "--json", "--out", tmp_path)
    scored = json.loads(promptkit(*arguments, "--score", "pmi", "--calibrate", "batch").stdout)["results"]
    calibrated = json.loads(promptkit(*arguments, "--calibrate", "pmi,batch").stdout)["results"]
    assert [result["align"] for result in scored] == ["pmi", "batch"]
    assert scored == calibrated[1:]


def test_the_table_shows_the_values_of_the_json_output(tmp_path: Path) -> None:
    arguments = ("eval", "sentiment", "--model", "fake", "--limit", 12, "--out", tmp_path)
    printed = json.loads(promptkit(*arguments, "--json").stdout)
    table = promptkit(*arguments).stdout
    assert f"{printed['results'][0]['metrics']['accuracy']['value']:.3f}" in table
    assert "rows answered before" in table


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    arguments = ["eval", "sentiment", "--model", "fake", "--set", "batch_tokens=2000", "--shots", "16", "--no-cache", "--json"]
    complete = json.loads(promptkit(*arguments, "--out", tmp_path / "complete").stdout)
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--out", str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    samples = tmp_path / "killed" / Path(complete["run"]).name / "samples.jsonl"
    while time.monotonic() < deadline and not (samples.is_file() and samples.read_bytes().count(b"\n") >= 5):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (samples.parent / "summary.json").exists(), "the run finished before it was killed"
    resumed = json.loads(promptkit(*arguments, "--out", tmp_path / "killed").stdout)
    assert 0 < resumed["resumed"] < resumed["n"]
    for name in ("run.json", "samples.jsonl", "support.jsonl", "summary.json"):
        assert (samples.parent / name).read_bytes() == (Path(complete["run"]) / name).read_bytes()


def test_render_shows_the_exact_prompt(tmp_path: Path) -> None:
    printed = json.loads(promptkit("render", "sentiment", "--model", "fake", "--shots", 2, "--n", 2, "--json").stdout)
    assert len(printed["rows"]) == 2
    for row in printed["rows"]:
        assert row["prompt"].startswith("<bos>Decide whether each review is Negative or Positive.\n\nReview: ")
        assert row["prompt"].endswith("\nSentiment:")
        assert row["bos"] == 1
        assert row["targets"] == [" Negative", " Positive"]
        assert bytes(i for i in row["ids"] if i < 256).decode() == row["prompt"].removeprefix("<bos>")
    shown = promptkit("render", "sentiment", "--model", "fake", "--shots", 2, "--tokens").stdout
    assert "demonstration 2:" in shown
    assert f"{printed['rows'][0]['tokens']} tokens, 1 BOS, 2 demonstrations" in shown


def test_render_shows_learned_prompts(tmp_path: Path) -> None:
    block = "{{% block {} %}}{}{{% endblock %}}"
    text = block.format("input", "{{ soft('task', 2) }} {{ text }} ->") + block.format("target", " {{ label }}")
    (tmp_path / "t.j2").write_text(text)
    model = pk.load("fake")
    learnables: list[Learnable] = [pk.SoftPrompt(2, slot="task"), pk.TriggerTokens(3)]
    for number, learnable in enumerate(learnables):
        context = BindContext(ask=CachedModel(model), reader=pk.Verbalizer({"negative": "bad", "positive": "good"}))
        learned = learnable.with_parameters(learnable.initial_parameters(context), base_of(model))
        pk.save_manipulation(learned, tmp_path / f"p{number}")
    options = ["--template", tmp_path / "t.j2", "--prompt", tmp_path / "p0", "--prompt", tmp_path / "p1", "--shots", 0]
    shown = promptkit("render", "sentiment", "--model", "fake", *options)
    assert shown.returncode == 0, shown.stderr
    assert "learned: 2 of soft task from token 2 on, 3 of tokens from token 4 on" in shown.stdout
    row = json.loads(promptkit("render", "sentiment", "--model", "fake", *options, "--json").stdout)["rows"][0]
    assert row["ids"][1:3] == [-1, -2]


def test_render_warns_about_a_bos_token_in_the_text(tmp_path: Path) -> None:
    template = tmp_path / "spaced.j2"
    template.write_text("{% block input %}<bos>{{ text }}{% endblock %}{% block target %}{{ label }}{% endblock %}")
    shown = promptkit("render", "sentiment", "--model", "fake", "--template", template).stdout
    assert "warning: The text spells out a BOS token" in shown


def test_tasks_lists_every_task_with_its_sources() -> None:
    printed = json.loads(promptkit("tasks", "--json").stdout)
    names = {task["name"] for task in printed["tasks"]}
    assert names >= {"ag_news", "banking77", "bbh/navigate", "cb", "rte", "sentiment", "sst2", "trec"}
    assert all(name in promptkit("tasks").stdout for name in names)
    table = promptkit("tasks").stdout
    assert all(task["name"] in table for task in printed["tasks"])


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["eval", "sentimant", "--model", "fake"], ("'sentimant'", "'sentiment'?")),
        (["eval", "sentiment", "--model", "fake", "--out", "/dev/null/runs"], ("/dev/null/runs",)),
        (["render", "no.yaml", "--model", "fake"], ("no.yaml",)),
    ],
)
def test_a_user_error_is_one_paragraph_with_exit_code_1(
    arguments: list[str], fragments: tuple[str, ...], tmp_path: Path
) -> None:
    done = promptkit(*arguments, *([] if "--out" in arguments or arguments[0] == "render" else ["--out", tmp_path]))
    assert done.returncode == 1
    assert done.stdout == ""
    assert all(fragment in done.stderr for fragment in fragments)
    assert done.stderr.startswith("promptkit: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_wrong_usage_has_exit_code_2() -> None:
    assert promptkit("eval").returncode == 2
    assert promptkit("eval", "sentiment", "--shots", "many").returncode == 2


def test_models_and_kinds_list_the_attributes_of_the_classes() -> None:
    engines = json.loads(promptkit("models", "--json").stdout)["engines"]
    for engine in engines:
        entry = ENGINES[engine["name"]]
        assert all(feature in entry.capabilities for feature in engine["supports"])
        assert engine["name"] in promptkit("models").stdout
    kinds = json.loads(promptkit("kinds", "--json").stdout)["kinds"]
    soft = next(row for row in kinds if row["name"] == "soft")
    assert (soft["kind"], soft["taxonomy"]) == ("manipulation", "learnable, embedding, concatenative")
    assert all(row["description"] for row in kinds)
    listed = {(row["kind"], row["name"]) for row in kinds}
    assert listed == {(table.kind, name) for table in TABLES if table is not OPERATIONS for name in table}
    assert "concatenative" in promptkit("kinds").stdout


def test_kinds_are_listed_without_importing_torch() -> None:
    code = (
        "import sys; sys.argv = ['promptkit', 'kinds', '--json']\n"
        "from promptkit.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "False"
