"""Saved predictors: what is refused, what they contain, and that they are evaluated like the predictor that was saved."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml

import promptkit as pk
from promptkit.core.errors import CheckpointError, InputError
from promptkit.core.hashing import sha256_hex
from promptkit.core.needs import FitData, Needs, Outputs
from promptkit.predictor.estimate import Estimate, Figure
from promptkit.predictor.out_of_fold import OutOfFold
from promptkit.predictor.saved_format import SavedPredictor
from tests.models.vision.tiny import save_vit
from tests.support.errors import refused
from tests.support.paths import ROOT
from tests.support.probe_runs import WORDS, write_task
from tests.support.tables import isolate
from tests.support.tiny import save

ROWS = [{"text": "a fine evening"}, {"text": "train0"}, {"text": "never again"}]
ESTIMATE = Estimate(
    task="reviews",
    split="test",
    rows=3,
    folds=5,
    metrics={"accuracy": Figure(value=2 / 3, low=0.21, high=0.94)},
    baselines={"majority": {"accuracy": Figure(value=0.5, low=0.1, high=0.9)}},
    notes=("A note.",),
)
OUT_OF_FOLD = OutOfFold(
    labels=("no", "yes"), gold=np.array([0, 1, 1]), probabilities=np.array([[0.75, 0.25], [0.1, 0.9], [0.0, 0.0]]), folds=5
)


def fitted(task: pk.Task, model: str = "fake", calibration: Any = None, **options: Any) -> pk.Predictor:
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.Balanced(k=4), **options)
    align = [pk.Verbalizer(WORDS), calibration or pk.probes.LinearProbe(per_class=4)]
    return pk.Predictor(pk.load(model), prompt, align).fit(task, cache=False)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> pk.Task:
    return write_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def original(task: pk.Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    predictor = fitted(task).with_estimate(ESTIMATE, OUT_OF_FOLD)
    return predictor.save(tmp_path_factory.mktemp("saved") / "original", command="promptkit eval reviews.csv --save folder")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "predictor"))


def entries(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "predictor.json").read_text())
    return loaded


def sealed(folder: Path, changed: dict[str, Any]) -> None:
    """Writes a changed description with a hash that fits."""
    (folder / "predictor.json").write_bytes(SavedPredictor.model_validate(changed).to_bytes())


# ---- contents ------------------------------------------------------------------------------------------


def test_the_files_of_a_saved_predictor(original: Path) -> None:
    names = {path.relative_to(original).as_posix() for path in original.rglob("*") if path.is_file()}
    assert names == {"predictor.json", "demonstrations.jsonl", "arrays.safetensors", "README.md"}
    recorded = entries(original)["files"]
    assert recorded == {name: sha256_hex((original / name).read_bytes()) for name in sorted(names - {"predictor.json"})}


def test_saving_twice_writes_the_same_bytes(task: pk.Task, original: Path, tmp_path: Path) -> None:
    again = fitted(task).with_estimate(ESTIMATE, OUT_OF_FOLD)
    saved = again.save(tmp_path / "again", command="promptkit eval reviews.csv --save folder")
    for path in original.iterdir():
        assert path.read_bytes() == (saved / path.name).read_bytes()
    reloaded = pk.Predictor.load(saved).save(tmp_path / "reloaded", command="promptkit eval reviews.csv --save folder")
    for path in original.iterdir():
        assert path.read_bytes() == (reloaded / path.name).read_bytes()


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_processes_with_another_order_of_sets_load_it_and_save_the_same_bytes(seed: str, tmp_path: Path) -> None:
    """The variables that identify a row are a set, which each process of Python orders differently."""
    columns = [f"column{number}" for number in range(8)]
    template = "{% block input %}" + " ".join(f"{{{{ {name} }}}}" for name in columns)
    template += " =>{% endblock %}{% block target %} {{ label }}{% endblock %}"
    rows = [{**{name: f"{name} {row}" for name in columns}, "label": ("no", "yes")[row % 2]} for row in range(12)]
    task = pk.task(rows, label="label", template=template)
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt(task.spec.template), pk.Verbalizer({"no": "no", "yes": "yes"}))
    saved = predictor.fit(task, cache=False).save(tmp_path / "saved")
    script = "import sys, promptkit; promptkit.Predictor.load(sys.argv[1]).save(sys.argv[2])"
    command = [sys.executable, "-c", script, str(saved), str(tmp_path / "again")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for path in saved.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_loaded_predictor_has_the_same_settings_and_estimate(task: pk.Task, original: Path) -> None:
    before, after = fitted(task), pk.Predictor.load(original)
    assert after.is_fitted
    assert after.manipulate.settings() == before.manipulate.settings()
    assert after.chain.settings() == before.chain.settings()
    assert after.fitted_on == before.fitted_on
    assert after.columns == before.columns
    assert after.estimate == ESTIMATE
    assert after.out_of_fold is not None
    assert after.out_of_fold.probabilities.tobytes() == OUT_OF_FOLD.probabilities.tobytes()
    assert (after.out_of_fold.gold.tolist(), after.out_of_fold.folds) == ([0, 1, 1], 5)


def test_a_loaded_predictor_is_evaluated_in_the_same_run(task: pk.Task, original: Path, tmp_path: Path) -> None:
    before = pk.evaluate(fitted(task), task, limit=6, out=tmp_path, cache=False)
    after = pk.evaluate(pk.Predictor.load(original), task, limit=6, out=tmp_path, cache=False)
    assert after.path == before.path
    assert after.resumed == 6


def test_the_model_card_states_the_estimate_and_how_it_was_made(original: Path) -> None:
    card = (original / "README.md").read_text()
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["library_name"] == "promptkit"
    assert metadata["pipeline_tag"] == "text-classification"
    (result,) = metadata["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == 2 / 3
    for text in ("0.667 (0.210 to 0.940)", "majority", "5 folds", "promptkit eval reviews.csv --save folder", "A note."):
        assert text in card


def test_settings_of_the_model_are_saved(task: pk.Task, tmp_path: Path) -> None:
    predictor = pk.Predictor(pk.load("fake:other", batch_tokens=700), pk.Prompt("sentiment/review"), pk.Verbalizer(WORDS))
    loaded = pk.Predictor.load(predictor.fit(task).save(tmp_path / "p"))
    assert loaded.model.identity() == predictor.model.identity()


def test_a_zero_shot_predictor_is_saved_without_fitting(tmp_path: Path) -> None:
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), pk.Verbalizer(WORDS))
    loaded = pk.Predictor.load(predictor.save(tmp_path / "p"))
    assert loaded.predict(ROWS).probabilities.tobytes() == predictor.predict(ROWS).probabilities.tobytes()


# ---- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.md", "demonstrations.jsonl", "arrays.safetensors", "predictor.json"])
@pytest.mark.parametrize("change", [lambda content: content + b" ", lambda content: content.replace(b"t", b"T", 1)])
def test_every_edited_file_is_refused(name: str, change: Callable[[bytes], bytes], folder: Path) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(change(content))
    if name == "predictor.json" and json.loads(change(content) or b"{}") == json.loads(content):
        assert pk.Predictor.load(folder).is_fitted  # white space alone
        return
    with pytest.raises(CheckpointError) as caught:
        pk.Predictor.load(folder)
    assert caught.value.code in ("changed-since-saved", "invalid-manifest")


def test_every_entry_of_the_description_counts(folder: Path) -> None:
    for key, value in entries(folder).items():
        if key in ("sha256", "files") or not isinstance(value, str | dict | list | int):
            continue
        changed = entries(folder) | {key: type(value)() if value else ["x"]}
        if changed[key] != value:
            (folder / "predictor.json").write_text(json.dumps(changed))
            with pytest.raises(CheckpointError):
                pk.Predictor.load(folder)


def test_the_order_of_labels_counts(folder: Path) -> None:
    changed = entries(folder)
    changed["aligners"][0]["words"] = dict(reversed(changed["aligners"][0]["words"].items()))
    (folder / "predictor.json").write_text(json.dumps(changed))
    with refused(CheckpointError, "changed-since-saved", file="predictor.json"):
        pk.Predictor.load(folder)


@pytest.mark.parametrize("name", ["README.md", "demonstrations.jsonl", "arrays.safetensors"])
def test_a_missing_file_is_refused(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with refused(CheckpointError, "missing-file", file=name):
        pk.Predictor.load(folder)


@pytest.mark.parametrize("name", ["model.py", "weights.pkl", "data/more.jsonl", "manipulations/1-soft/manifest.json"])
def test_an_additional_file_is_refused(name: str, folder: Path) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(pickle.dumps([]))
    with refused(CheckpointError, "unexpected-file", file=name):
        pk.Predictor.load(folder)


def test_files_of_version_control_are_ignored(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("[core]")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs")
    assert pk.Predictor.load(folder).is_fitted


@pytest.mark.parametrize("name", ["../outside.json", "/etc/hostname", "a/../../b", "."])
def test_files_outside_of_the_folder_are_refused(name: str, folder: Path) -> None:
    changed = entries(folder)
    changed["files"][name] = "0" * 64
    (folder / "predictor.json").write_text(json.dumps(changed))
    with refused(CheckpointError, "invalid-manifest"):
        pk.Predictor.load(folder)


def test_no_predictor_and_other_formats_are_refused(tmp_path: Path, folder: Path) -> None:
    with refused(CheckpointError, "no-predictor", folder=str(tmp_path / "none")):
        pk.Predictor.load(tmp_path / "none")
    (folder / "predictor.json").write_text(json.dumps(entries(folder) | {"format": 99}))
    with refused(CheckpointError, "other-version", format=99):
        pk.Predictor.load(folder)
    (folder / "predictor.json").write_text("{")
    with refused(CheckpointError, "not-json", file="predictor.json"):
        pk.Predictor.load(folder)


def test_unknown_classes_are_refused_and_never_imported(folder: Path) -> None:
    changed = entries(folder)
    changed["calibration"]["state"]["type"] = "os.system"
    sealed(folder, changed)
    with refused(CheckpointError, "unknown-state", name="os.system"):
        pk.Predictor.load(folder)


def test_the_state_of_another_calibration_is_refused(folder: Path, task: pk.Task, tmp_path: Path) -> None:
    other = entries(fitted(task, calibration=pk.probes.LinearProbe(per_class=5)).save(tmp_path / "other"))
    sealed(folder, entries(folder) | {"aligners": other["aligners"]})
    with refused(CheckpointError, "other-calibration"):
        pk.Predictor.load(folder)


def test_another_model_is_refused(original: Path, task: pk.Task, tmp_path: Path) -> None:
    with refused(CheckpointError, "other-model", model="fake:other", differs="tokenizer"):
        pk.Predictor.load(original, model="fake:other")
    first = str(save(tmp_path / "gemma3", "gemma3"))
    second = str(shutil.copytree(first, tmp_path / "tuned"))
    weights = Path(second) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    saved = fitted(task, first).save(tmp_path / "p")
    assert pk.Predictor.load(saved, model=first).is_fitted
    with refused(CheckpointError, "other-model", model=second):
        pk.Predictor.load(saved, model=second)
    shutil.rmtree(first)
    with refused(CheckpointError, "cannot-load-model", model=first):
        pk.Predictor.load(saved)


def test_another_tokenizer_is_refused(task: pk.Task, tmp_path: Path) -> None:
    plain, chat = save(tmp_path / "plain", "gemma3"), save(tmp_path / "chat", "gemma3", bos=False)
    saved = fitted(task, str(plain)).save(tmp_path / "p")
    with refused(CheckpointError, "other-model", differs="tokenizer"):
        pk.Predictor.load(saved, model=str(chat))


def test_another_image_classifier_is_refused(tmp_path: Path) -> None:
    labels = {"left": ["cat"], "right": ["dog"]}
    model = pk.load(f"vision:{save_vit(tmp_path / 'vit')}")
    saved = pk.Predictor(model, pk.ImageProcessor(), pk.Classes(("left", "right"), classes=labels)).save(tmp_path / "p")
    assert pk.Predictor.load(saved).is_fitted
    other = save_vit(tmp_path / "other", image_mean=[0.1, 0.2, 0.3])
    with refused(CheckpointError, "other-model"):
        pk.Predictor.load(saved, model=f"vision:{other}")


def test_an_unfitted_predictor_is_not_saved(tmp_path: Path) -> None:
    predictor = pk.Predictor(
        pk.load("fake"), pk.Prompt("sentiment/review", demos=pk.demos.First(k=2)), [pk.Verbalizer(WORDS), pk.calibrate.Batch()]
    )
    with refused(InputError, "not-fitted", stages=("the demonstrations", "the calibration batch")):
        predictor.save(tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_a_folder_that_is_not_empty_is_not_changed(original: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    predictor = pk.Predictor.load(original)
    assert pk.Predictor.load(predictor.save(tmp_path / "p")).is_fitted
    before = (tmp_path / "p" / "predictor.json").read_bytes()
    with refused(CheckpointError, "path-exists", folder=str(tmp_path / "p")):
        predictor.save(tmp_path / "p")
    assert (tmp_path / "p" / "predictor.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_calibration_that_cannot_be_saved_is_refused(task: pk.Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, pk.calibrate.CALIBRATIONS)

    class Doubled:
        def apply(self, outputs: Outputs) -> Any:
            return 2 * outputs.logprobs

    @pk.calibrate.register
    @dataclass(frozen=True, kw_only=True)
    class Double:
        name: ClassVar[str] = "double"
        needs: ClassVar[Needs] = ()

        def fit(self, data: FitData) -> Doubled:
            return Doubled()

    predictor = fitted(task, calibration=Double())
    assert len(predictor.predict(ROWS)) == 3
    with refused(InputError, "not-saveable"):
        predictor.save(tmp_path / "p")
    assert not (tmp_path / "p").exists()
