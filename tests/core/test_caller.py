"""Messages name settings as their caller writes them: options on the command line, keywords in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

import promptkit
import promptkit as pk
from promptkit.cli.main import app
from promptkit.config.evaluation import EvalConfig
from promptkit.config.predict import PredictConfig
from promptkit.config.study import StudyConfig
from promptkit.config.train import TrainConfig
from promptkit.core.caller import by_caller, command_line, engine_setting, is_command_line, setting, spelled, switch, yaml_file
from promptkit.core.errors import PromptkitError
from promptkit.models.registry import ENGINES
from promptkit.tasks.field_descriptions import description_of
from promptkit.tasks.source import Source
from promptkit.tasks.spec import TaskSpec
from tests.refusals.hints import python_words, unusable_options

ROOT = Path(promptkit.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z]")
COMMANDS = {  # modules that write commands and files with commands, and the functions of this kind
    *("core/caller.py", "runs/words.py", "runs/command.py", "tasks/starter.py", "predictor/model_card.py"),
    "models/vision/demo.py",  # an option of pip
    *("config/tune.py", "tuning/hidden_texts.py"),  # write and read the command of a tuning
}
CONFIGS: tuple[type[BaseModel], ...] = (EvalConfig, TrainConfig, StudyConfig, PredictConfig)


# ---- the functions ----------------------------------------------------------------------------------


def both(function: Any, *values: Any, **keywords: Any) -> tuple[str, str]:
    with command_line():
        command = function(*values, **keywords)
    return command, function(*values, **keywords)


@pytest.mark.parametrize(
    ("actual", "command", "python"),
    [
        (both(setting, "per_class"), "--per-class", "per_class"),
        (both(setting, "shots", 0), "--shots 0", "shots=0"),
        (both(setting, "demos", "auto-cot"), "--demos auto-cot", 'demos="auto-cot"'),
        (both(setting, "instruction", "a b"), "--instruction 'a b'", 'instruction="a b"'),
        (both(setting, "data", "DIR"), "--data DIR", "data=DIR"),
        (both(setting, "chat", True), "--chat", "chat=True"),
        (both(setting, "baselines", False), "--no-baselines", "baselines=False"),
        (both(setting, "labels", ["a", "b"]), "--labels a,b", 'labels=["a", "b"]'),
        (both(setting, "label_column", python="label"), "--label-column", "label"),
        (both(switch, "thinking", False), "--thinking off", "thinking=False"),
        (both(engine_setting, "dtype", "float32"), "--set dtype=float32", 'dtype="float32"'),
        (both(by_caller, command="a", python="b"), "a", "b"),
        (
            both(spelled, "`x` with {chat}, {folds=1}, {names} or {max_tokens}"),
            "`x` with --chat, --folds 1, {names} or --max-tokens",
            "`x` with chat, folds=1, {names} or max_tokens",
        ),
    ],
)
def test_a_setting_is_named_as_the_caller_writes_it(actual: tuple[str, str], command: str, python: str) -> None:
    assert actual == (command, python)


def test_a_file_has_keys() -> None:
    with yaml_file():
        actual = (setting("shots", 0), setting("labels", ["a", "b"]), setting("chat", True), setting("per_class"))
        assert actual == ("shots: 0", "labels: [a, b]", "chat: true", "per_class")
        assert (switch("thinking", False), engine_setting("dtype", "float32")) == ("thinking: off", "set: {dtype: float32}")
        assert (setting("out"), spelled("{folds=1}"), by_caller(command="a", python="b")) == ("--out", "folds: 1", "a")


def test_the_caller_is_python_again_after_an_error() -> None:
    def fail() -> None:
        with command_line():
            assert is_command_line()
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert not is_command_line()


# ---- no message is written for one caller only -------------------------------------------------------


def texts(tree: ast.AST) -> Iterator[ast.Constant]:
    """The texts of a module, without docstrings and without the arguments of `by_caller`."""
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "by_caller":
            skipped |= {inner for keyword in node.keywords for inner in ast.walk(keyword.value)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            yield node


@pytest.mark.parametrize(
    "module", sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if path.parent.name != "cli")
)
def test_no_message_writes_an_option_or_a_keyword_itself(module: str) -> None:
    if module in COMMANDS:
        return
    tree = ast.parse((ROOT / module).read_text("utf-8"))
    assert not [text.value for text in texts(tree) if OPTION.search(text.value) or " in Python" in text.value]


MODELS = [*CONFIGS, TaskSpec, Source, *(engine.settings() for name, engine in ENGINES.items() if name != "vllm")]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__module__)
def test_a_description_names_settings_as_the_caller_writes_them(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert not OPTION.search(description_of(field)), name
        with command_line():
            assert not re.search(r"(?<!\{)\{[a-z_]+(=.*)?\}", description_of(field)), name
            assert not re.search(r"\b[a-z]+=(True|False)\b", description_of(field)), name


# ---- the registry of settings ------------------------------------------------------------------------

WRONG: tuple[object, ...] = (object(), {"a": object()}, [[]], -7, "no such value", "", b"x", 3.5, float("nan"))
SETTINGS = [(config, name) for config in CONFIGS for name in config.model_fields]
BASE: dict[type[BaseModel], dict[str, object]] = {
    EvalConfig: {"task": "sentiment", "model": "fake"},
    TrainConfig: {"task": "sentiment", "model": "fake", "manipulation": "soft"},
    StudyConfig: {"task": "sentiment", "model": "fake", "grid": {"shots": [0]}},
    PredictConfig: {"predictor": "nowhere", "data": "nowhere.csv"},
}


def message_of(config: Any, name: str, value: object) -> str:
    """The message of the error for a value of a setting; empty if there is none."""
    try:
        built = config(**{**BASE[config], name: value})
        if isinstance(built, EvalConfig) and not built.data:
            built.build(built.load_task())
    except PromptkitError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("config", "name"), SETTINGS, ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_no_error_in_python_names_an_option_of_the_command_line(config: Any, name: str) -> None:
    for value in WRONG:
        assert not OPTION.search(message_of(config, name, value)), name


@pytest.mark.parametrize("name", [name for name in EvalConfig.model_fields if name != "task"])
def test_no_error_of_the_command_line_names_a_keyword_of_python(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    option = f"--{name.replace('_', '-')}"
    for value in ("no such value", "-7", "a=b", "0", ""):
        words = ["eval", "sentiment", "--model", "fake", "--out", str(tmp_path), "--limit", "2", option, value]
        result = CliRunner().invoke(app, words)
        if isinstance(result.exception, PromptkitError):
            message = str(result.exception)
            assert not python_words(message), message
            assert not unusable_options("eval sentiment", message), message


def test_an_engine_without_batches_refuses_the_option() -> None:
    result = CliRunner().invoke(
        app, ["eval", "sentiment", "--model", "http:x", "--batch-size", "8", "--set", "base_url=http://127.0.0.1:9/v1"]
    )
    assert isinstance(result.exception, PromptkitError)
    assert (result.exception.code, result.exception.fields["name"]) == ("unknown-name", "batch_size")
    assert "--batch-size" in str(result.exception)
    with pytest.raises(PromptkitError) as raised:
        pk.load("http:x", batch_size=8, base_url="http://127.0.0.1:9/v1")
    assert "--" not in str(raised.value)
