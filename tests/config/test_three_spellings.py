"""A configuration is the same from the command line, a YAML file and Python keywords, and a new option is one field."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.options import expand_options
from promptkit.config.evaluation import EvalConfig
from promptkit.config.options import Options
from promptkit.config.study import StudyConfig
from promptkit.config.train import TrainConfig
from promptkit.core.errors import InputError, TaskError
from promptkit.runs.recorded import read_options
from promptkit.runs.words import command_words
from promptkit.tasks.division import division_text
from tests.support.errors import refused

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)
NAME = st.from_regex(r"[a-z][a-z0-9_.+-]{0,9}", fullmatch=True)
SPELLED = st.builds(lambda name, key, value: f"{name}:{key}={value}", NAME, NAME, st.integers(0, 99)) | NAME
PATH = st.builds(lambda parts: Path("/data", *parts), st.lists(NAME, min_size=1, max_size=3))
POSITIVE = st.integers(1, 10**6)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "task": NAME,
    "model": NAME,
    "device": NAME,
    "set": st.dictionaries(NAME, st.text("abc=,:1 ", min_size=1, max_size=8), max_size=3),
    "template": NAME,
    "instruction": TEXT,
    "chat": st.booleans(),
    "thinking": st.sampled_from(["on", "off"]),
    "chat_template": NAME,
    "shots": st.integers(0, 99),
    "demos": SPELLED,
    "order": SPELLED,
    "cot": SPELLED,
    "seed": st.integers(-99, 10**9),
    "seeds": st.sampled_from(["0:5", "0,3,7"]),
    "on_too_long": st.sampled_from(["truncate-demos", "error", "skip"]),
    "manipulation": st.lists(SPELLED, min_size=1, max_size=3),
    "prompt": st.lists(PATH.map(str), min_size=1, max_size=3),
    "score": st.sampled_from(["sum", "mean", "pmi", "channel"]),
    "extract": SPELLED,
    "max_tokens": POSITIVE,
    "samples": POSITIVE,
    "temperature": st.floats(0, 10),
    "constrain": st.sampled_from(["on", "off"]),
    "calibrate": st.lists(SPELLED, max_size=3),
    "metric": st.lists(NAME, max_size=3),
    "labelmap": st.lists(SPELLED, max_size=3),
    "per_class": st.integers(0, 99),
    "split": NAME,
    "data": PATH,
    "label_column": TEXT,
    "inputs": st.lists(TEXT, max_size=3).filter(lambda names: names[1:] or not "".join(names).lstrip().startswith("[")),
    "labels": st.lists(TEXT, min_size=2, max_size=3) | st.lists(NAME, max_size=3).map(",".join),
    "answer_column": TEXT,
    "answer_fields": st.dictionaries(TEXT, TEXT, max_size=3),
    "answer_schema": st.sampled_from([{"city": "string", "guests": [1, 2]}, "/schemas/booking.json", '{"a": "integer"}']),
    "id_column": TEXT,
    "train": PATH,
    "limit": POSITIVE,
    "baselines": st.booleans(),
    "allow_seen": st.booleans(),
    **dict.fromkeys(("multi_label", "ordinal", "numeric"), st.booleans()),
    "values": st.dictionaries(TEXT, st.floats(-9, 9), max_size=3),
    "split_train": st.dictionaries(st.sampled_from(["pool", "fit", "dev"]), st.floats(0.1, 0.3), min_size=1).map(division_text),
    "folds": POSITIVE,
    "save": PATH,
    "predictor": PATH.map(str),
    "optimizer": SPELLED,
    "steps": POSITIVE,
    "batch_size": POSITIVE,
    "learning_rate": st.floats(1e-9, 10),
    "schedule": st.sampled_from(["linear", "constant"]),
    "warmup": st.floats(0, 1),
    "dev": POSITIVE,
    "eval_every": POSITIVE,
    "patience": POSITIVE,
    "gradient_checkpointing": st.booleans(),
    "mixed_precision": st.sampled_from(["no", "bf16", "fp16"]),
}
"""Option -> its values. A new option needs a line here."""
TRAIN_VALUES = VALUES | {"labelmap": SPELLED, "per_class": POSITIVE}


def parse(cls: type[Options], words: list[str]) -> Options:
    """Returns the configuration that a command receives."""
    received: list[Options] = []

    def command(config: Options) -> None:
        received.append(config)

    command.__annotations__["config"] = cls
    application = typer.Typer()
    application.command()(expand_options(command))
    result = CliRunner().invoke(application, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return received[0]


def from_file(cls: type[Options], folder: Path, values: dict[str, Any]) -> Options:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(values, allow_unicode=True), "utf-8")
    return cls.from_yaml(file)


def test_the_strategies_cover_every_option() -> None:
    assert VALUES.keys() == EvalConfig.model_fields.keys() | TrainConfig.model_fields.keys()


@pytest.mark.parametrize(
    ("cls", "values", "option"),
    [
        *((EvalConfig, VALUES, option) for option in EvalConfig.model_fields),
        *((TrainConfig, TRAIN_VALUES, option) for option in TrainConfig.model_fields),
    ],
)
def test_each_option_is_the_same_in_every_spelling(
    cls: type[Options], values: dict[str, Any], option: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("config")

    @settings(max_examples=8, deadline=None)
    @given(value=values[option])
    def check(value: Any) -> None:
        config = cls(**{"task": "sentiment", option: value})
        changed = config.changed()
        assert changed.keys() <= {"task", option}
        command, _, *words = command_words("eval", changed)
        assert command == "promptkit"
        again = parse(cls, words)
        assert again == config
        assert again.changed() == changed
        assert cls.from_keywords(**changed) == config
        assert from_file(cls, folder, changed) == config
        assert json.loads(json.dumps(changed)) == changed

    check()


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_all_options_together_are_the_same_in_every_spelling(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    config = EvalConfig(**{option: data.draw(VALUES[option], option) for option in EvalConfig.model_fields})
    assert parse(EvalConfig, shlex.split(config.to_command())[2:]) == config
    assert from_file(EvalConfig, tmp_path_factory.mktemp("config"), config.changed()) == config


EQUAL: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("--demos bm25:k=4", {"demos": {"bm25": {"k": 4}}}, {"demos": pk.demos.BM25(k=4)}),
    ("--order shuffled", {"order": {"shuffled": None}}, {"order": pk.order.Shuffled()}),
    ("--calibrate batch:rows=9,blm", {"calibrate": [{"batch": {"rows": 9}}, "blm"]}, {"calibrate": "batch:rows=9, blm"}),
    ("--calibrate batch --calibrate blm", {"calibrate": ["batch", "blm"]}, {"calibrate": [pk.calibrate.Batch(), "blm"]}),
    ("--labelmap blm+", {"labelmap": "blm+"}, {"labelmap": pk.labelmap.BayesianPlus()}),
    ("--set batch_tokens=900", {"set": {"batch_tokens": 900}}, {"set": ["batch_tokens=900"]}),
    ("--thinking off", {"thinking": False}, {"thinking": "off"}),
    ("--prompt /a --prompt /b", {"prompt": ["/a", "/b"]}, {"prompt": ("/a", "/b")}),
    ("--manipulation invert", {"manipulation": "invert"}, {"manipulation": ["invert"]}),
]


@pytest.mark.parametrize(("words", "in_yaml", "keywords"), EQUAL, ids=[words for words, _, _ in EQUAL])
def test_shorter_forms_are_equal(words: str, in_yaml: dict[str, Any], keywords: dict[str, Any], tmp_path: Path) -> None:
    config = parse(EvalConfig, ["sentiment", *words.split()])
    assert config != EvalConfig(task="sentiment")
    assert from_file(EvalConfig, tmp_path, {"task": "sentiment", **in_yaml}) == config
    assert EvalConfig(**{"task": "sentiment", **keywords}) == config


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    given_values = {"task": "t.yaml", "template": "t.j2", "data": "d", "prompt": ["p", "/q"], "train": "~/x.csv"}
    config = from_file(EvalConfig, tmp_path, given_values)
    assert dict(config).items() >= {"task": str(tmp_path / "t.yaml"), "template": str(tmp_path / "t.j2")}.items()
    assert (dict(config)["data"], dict(config)["prompt"]) == (tmp_path / "d", [str(tmp_path / "p"), "/q"])
    assert dict(config)["train"] == Path("~/x.csv").expanduser()


# ---- a new option is one field ---------------------------------------------------------------------


class Louder(EvalConfig):
    """A configuration with further options of every kind."""

    tone: str | None = None
    """Tone of the instruction."""
    weights: tuple[float, ...] = ()
    """Weights, several times."""
    strict: bool = True
    """Whether to be strict."""
    notes: Path | None = None
    """File with notes."""


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("--tone loud", {"tone": "loud"}),
        ("--weights 0.5 --weights 2.0", {"weights": [0.5, 2.0]}),
        ("--no-strict", {"strict": False}),
        ("--notes /n.txt", {"notes": "/n.txt"}),
    ],
)
def test_a_new_field_is_an_option_in_every_spelling(words: str, values: dict[str, Any], tmp_path: Path) -> None:
    config = Louder(**{"task": "sentiment", **values})
    assert config != Louder(task="sentiment")
    assert parse(Louder, ["sentiment", *words.split()]) == config
    assert from_file(Louder, tmp_path, {"task": "sentiment", **values}) == config
    assert config.to_command() == f"promptkit eval sentiment {words}"


def test_a_new_option_is_in_the_command_that_repeats_a_run(tmp_path: Path) -> None:
    from promptkit.analysis.realign import align

    config = Louder(task="sentiment", model="fake", limit=4, shots=0, tone="loud", strict=False)
    command = align(config.run(out=tmp_path, cache=False).path).command
    assert command is not None
    assert {"--tone loud", "--no-strict", "--shots 0"} <= set(options_in(command))


def options_in(command: str) -> list[str]:
    """Returns the options of a command, each with its value."""
    return [f"--{part}".strip() for part in command.split(" --")[1:]]


# ---- runs ------------------------------------------------------------------------------------------


def test_python_and_the_command_are_one_run(tmp_path: Path) -> None:
    from promptkit.cli.main import app

    config = pk.EvalConfig(task="sentiment", model="fake", shots=2, limit=6, calibrate=["batch"], labelmap="blm", per_class=3)
    run = config.run(out=tmp_path, cache=False)
    words = shlex.split(config.to_command(out=tmp_path))[1:]
    printed = json.loads(CliRunner().invoke(app, [*words, "--json", "--no-cache"], catch_exceptions=False).stdout)
    assert (printed["run"], printed["resumed"]) == (str(run.path), 6)
    assert [result["align"] for result in printed["results"]] == ["verbalizer", "batch", "blm:per_class=3"]
    assert read_options(run.path) == config.changed()


def test_the_cells_of_a_study_record_their_options(tmp_path: Path) -> None:
    study = StudyConfig(task="sentiment", model="fake", limit=4, grid={"shots": [0, 2]}).run(out=tmp_path, cache=False)
    recorded = [read_options(cell.run.path) for cell in study.cells]
    assert recorded == [{"task": "sentiment", "model": "fake", "shots": shots, "limit": 4} for shots in (0, 2)]


def test_the_evaluation_of_a_training_has_its_options() -> None:
    config = TrainConfig(task="sentiment", seed=3, per_class=4, labelmap="blm", steps=7, chat=True, manipulation="prefix")
    assert config.evaluation(["f"]).to_command() == ("promptkit eval sentiment --chat --prompt f --labelmap blm --per-class 4")
    shown = TrainConfig(task="sentiment", seed=3, shots=2).evaluation(["f"]).to_command()
    assert shown == "promptkit eval sentiment --shots 2 --seed 3 --prompt f"


# ---- errors ----------------------------------------------------------------------------------------

BAD: list[tuple[Callable[[], object], str, dict[str, Any]]] = [
    (lambda: EvalConfig(task="sentiment", shts=4), "unknown-name", {"name": "shts", "kind": "option of EvalConfig"}),
    (lambda: EvalConfig(task="sentiment", shots=-1), "invalid-value", {"option": "shots"}),
    (lambda: EvalConfig(model="fake"), "missing-option", {"option": "task"}),
    (lambda: EvalConfig(task="sentiment", set=["a"]), "malformed-setting", {"setting": "a"}),
    (lambda: EvalConfig.from_yaml("nowhere.yaml"), "no-such-file", {"file": "nowhere.yaml"}),
    (lambda: EvalConfig(task="sentiment", labelmap="batch").build(), "not-a-label-map", {"name": "batch"}),
    (lambda: EvalConfig(task="sentiment", labelmap="blmm").build(), "unknown-name", {"kind": "label map", "name": "blmm"}),
    (lambda: EvalConfig(task="sentiment", per_class=4).build(), "option-not-applicable", {"option": "per_class"}),
    *(
        (lambda given=given: EvalConfig(task="sentiment", model="fake", **given).build(), "duplicate-branch", {})
        for given in (
            {"labelmap": "blm+,blm+"},
            {"calibrate": "blm+", "labelmap": "blm+"},
            {"calibrate": "blm+,blm+"},
            {"calibrate": "blm:per_class=3", "labelmap": "blm", "per_class": 3},
        )
    ),
    (lambda: EvalConfig(task="sentiment", manipulation="soft").build(), "needs-training", {"manipulation": "soft"}),
    (lambda: EvalConfig(task="sentiment", manipulation="sof").build(), "unknown-name", {"kind": "fixed manipulation"}),
]


@pytest.mark.parametrize(("action", "code", "fields"), BAD)
def test_invalid_options_are_refused(action: Callable[[], object], code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        action()


@pytest.mark.parametrize(
    ("option", "values"), [("calibrate", ["batch", "contextual"]), ("labelmap", ["blm", "blm+"]), ("per_class", [1, 2])]
)
def test_options_of_calibrations_are_refused_in_a_grid(tmp_path: Path, option: str, values: list[object]) -> None:
    given: dict[str, Any] = {"task": "sentiment", "model": "fake", "grid": {"shots": [0], option: values}}
    with refused(InputError, "calibrate-in-grid", option=option) as in_python:
        StudyConfig(**given)
    with refused(TaskError, "calibrate-in-grid", option=option, place=f"grid.{option}") as in_yaml:
        from_file(StudyConfig, tmp_path, given)
    assert all("pk.learning_curve" in str(caught.value) for caught in (in_python, in_yaml))


def test_an_invalid_value_in_a_file_names_its_key(tmp_path: Path) -> None:
    with refused(TaskError, "invalid-value", place="shots", file=str(tmp_path / "config.yaml")):
        from_file(EvalConfig, tmp_path, {"task": "sentiment", "shots": "many"})


@pytest.mark.parametrize(("per_class", "expected"), [(None, 16), (3, 3)])
def test_rows_per_class_are_a_default_of_each_aligner(per_class: int | None, expected: int) -> None:
    config = EvalConfig(task="sentiment", calibrate="batch,linear,knn:per_class=5", labelmap="blm", per_class=per_class)
    rows = [getattr(each, "per_class", None) for each in config.build_calibrations()]
    assert rows == [None, expected, 5, expected]


def test_a_boolean_is_not_a_number(tmp_path: Path) -> None:
    with refused(InputError, "invalid-value", option="shots", value="True"):
        EvalConfig(task="sentiment", shots=True)
    file = tmp_path / "eval.yaml"
    file.write_text("task: sentiment\nchat: true\nlimit: true\n")
    with refused(TaskError, "invalid-value", place="limit"):
        EvalConfig.from_yaml(file)


def test_the_place_of_a_wrong_value_names_keys_and_no_types(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("task: sentiment\nmodel: fake\ngrid: {shots: [0, 2]}\ncompare: {by: shots, to: 0}\n")
    with refused(TaskError, "invalid-value", place="compare.to", file=str(file)):
        pk.StudyConfig.from_yaml(file)
