"""`--device` and `--batch-size` are settings of engines, in every spelling; help texts list the settings of all engines."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.main import app
from promptkit.config.predict import PredictConfig
from promptkit.core.errors import InputError
from promptkit.models.registry import ENGINES, loaded_settings
from promptkit.models.setting_descriptions import describe_settings
from tests.support import tiny
from tests.support.errors import refused


def test_options_are_settings_of_the_engine(tmp_path: Path) -> None:
    folder = str(tiny.save(tmp_path / "model", "llama"))
    config = pk.EvalConfig(task="sentiment", model=folder, device="cpu", batch_size=64, set={"dtype": "bfloat16"})
    identity = config.load_model().identity()
    assert (identity["device"], identity["batch_tokens"], identity["dtype"]) == ("cpu", 64, "bfloat16")
    assert pk.load(folder, device="cpu", batch_size=64, dtype="bfloat16").identity() == identity
    assert all(words in config.to_command() for words in ("--device cpu", "--batch-size 64"))


def test_a_batch_size_does_not_change_the_run_of_an_engine_that_has_another_name_for_it(tmp_path: Path) -> None:
    options = {"task": "sentiment", "model": "fake", "shots": 0, "limit": 4}
    runs = [
        pk.EvalConfig(**options, batch_size=99).run(out=tmp_path),
        pk.EvalConfig(**options, set={"batch_tokens": 99}).run(out=tmp_path),
    ]
    assert runs[0].path == runs[1].path
    assert pk.EvalConfig(**options).run(out=tmp_path).path != runs[0].path


@pytest.mark.parametrize(("model", "option"), [("http:x", "batch_size"), ("http:x", "device"), ("fake", "device")])
def test_engines_without_the_setting_refuse_it(model: str, option: str) -> None:
    config = pk.EvalConfig(task="sentiment", model=model, **{option: 8 if option == "batch_size" else "cpu"})
    with refused(InputError, "unknown-name"):
        config.load_model()


@pytest.mark.parametrize("given", [{"set": {"batch_size": 3}}, {"set": {"batch_tokens": 3}}], ids=str)
def test_a_setting_is_given_once(given: dict[str, object]) -> None:
    with refused(InputError, "duplicate-setting"):
        pk.EvalConfig(task="sentiment", model="fake", batch_size=3, **given).load_model()


@pytest.mark.parametrize("value", [0, -1, "many"])
def test_a_batch_is_positive(value: object) -> None:
    with pytest.raises(InputError):
        pk.EvalConfig(task="sentiment", batch_size=value)


def test_a_saved_predictor_is_loaded_with_other_settings(tmp_path: Path) -> None:
    pk.EvalConfig(task="sentiment", model="fake:x", shots=0, limit=4, save=tmp_path / "saved").run(out=tmp_path)
    loaded = pk.Predictor.load(tmp_path / "saved", settings={"batch_size": 77})
    assert (loaded.model.name, loaded_settings(loaded.model)) == ("fake:x", {"batch_tokens": 77})
    (tmp_path / "new.csv").write_text("text\nfine\n")
    predict = PredictConfig(predictor=str(tmp_path / "saved"), data=tmp_path / "new.csv", batch_size=77)
    assert predict.run(tmp_path / "out.csv").rows == 1
    with refused(InputError, "unknown-name"):
        pk.Predictor.load(tmp_path / "saved", settings={"device": "cpu"})
    again = pk.EvalConfig(task="sentiment", predictor=str(tmp_path / "saved"), batch_size=77, limit=4, allow_seen=True)
    assert loaded_settings(again.build()[0].model) == {"batch_tokens": 77}


def test_studies_take_the_options(tmp_path: Path) -> None:
    study = pk.StudyConfig(task="sentiment", model="fake", batch_size=50, limit=4, grid={"shots": [0, 2]}).run(out=tmp_path)
    settings = [json.loads((cell.run.path / "run.json").read_text()) for cell in study.cells]
    assert {each["model"]["batch_tokens"] for each in settings} == {50}


@pytest.mark.parametrize("name", [*ENGINES])
def test_the_declared_settings_are_those_of_the_class(name: str) -> None:
    assert ENGINES[name].settings() is ENGINES[name].model_class().Settings


@pytest.mark.parametrize("command", ["eval", "train", "search"])
def test_help_lists_the_settings_of_every_engine(command: str) -> None:
    shown = " ".join(CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout.split())
    for engine in ENGINES.values():
        for setting in describe_settings(engine):
            assert str(setting) in shown
    assert "--device" in shown
    assert "--batch-size" in shown


def test_the_batch_of_a_training_step_is_not_a_setting_of_the_engine() -> None:
    config = pk.TrainConfig(task="sentiment", model="fake", batch_size=3)
    assert config.engine_settings() == {}


def test_an_engine_is_described() -> None:
    shown = " ".join(CliRunner().invoke(app, ["models", "fake"]).stdout.split())
    assert all(each.description.split()[0] in shown for each in describe_settings(ENGINES["fake"]))
    (engine,) = json.loads(CliRunner().invoke(app, ["models", "fake", "--json"]).stdout)["engines"]
    assert [setting["name"] for setting in engine["settings"]] == ["batch_tokens", "context_length"]
