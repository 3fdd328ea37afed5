"""Every manipulation and every aligner in the tables: fitted and saved here, loaded in a fresh process, with the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS
from promptkit.align.extract import EXTRACTIONS
from promptkit.core.arrays import as_array
from promptkit.core.calibration import DeclaresLogOdds
from promptkit.core.manipulation import BindContext, Learnable
from promptkit.core.registry import build
from promptkit.manipulate.cot import COT
from promptkit.manipulate.demos import SELECTORS
from promptkit.manipulate.learned.base_model import base_of
from promptkit.manipulate.modifiers import LEARNABLE, MODIFIERS
from promptkit.manipulate.order.fixed import ORDERS
from promptkit.models.client import CachedModel
from tests.align.test_fitted import CASES, THIRD_PARTY
from tests.models.vision.tiny import save_vit
from tests.support.image_files import squares, write_folder
from tests.support.image_files import write_task as write_image_task
from tests.support.paths import ROOT
from tests.support.probe_runs import WORDS, write_task
from tests.support.tiny import save

TEMPLATE = "sentiment/review"
ROWS = [{"text": text} for text in ("a fine evening", "train0", "test3", "never again", "it was so so", "?")]
SPELLED = {
    "mdl": "mdl:k=2:candidates=4:organizations=3",
    "influence": "influence:k=2:candidates=6:contexts=6:rows=4",
    "rerank": "rerank:k=2:candidates=4:rows=2",
    "similar": "similar:k=2:encoder=fake",
    **{name: f"{name}:k=2:encoder=fake" for name in ("mmr", "dpp", "votek", "diverse", "auto-cot")},
    "random-each": "random-each:k=2",
    "zero": "zero",
    "least-entropy": "least-entropy:permutations=4",
    **{name: f"{name}:permutations=2:probes=4:max_tokens=4" for name in ("globale", "locale")},
    "pattern": "pattern:regex=[a-z]+",
}
GENERATED = {"globale", "locale"}
"""Orders that need a model whose generated texts are rows."""
TEXT_ONLY = "{% block input %}{{ text }}{% endblock %}{% block target %} = {{ label }}{% endblock %}"
"""A template with which every text is a row."""
CHOICES = "{% block input %}{{ question }}{% endblock %}{% block target %} {{ label }}{% endblock %}"
SCRIPT = """
import json, sys
import promptkit as pk

for line in sys.stdin:
    case = json.loads(line)
    predictions = pk.Predictor.load(case["folder"]).predict(case["rows"])
    columns = {name: list(values) for name, values in predictions.to_columns().items()}
    print(json.dumps([case["name"], columns, predictions.probabilities.tobytes().hex()]), flush=True)
"""


@dataclass
class Folder:
    """Models and tasks on disk."""

    path: Path

    def __post_init__(self) -> None:
        self.task = write_task(self.path / "task")
        self.model = pk.load("fake", batch_tokens=600)
        self.tiny = pk.load(str(save(self.path / "tiny", "gemma3", chat=True)), device="cpu")
        self.vit = pk.load(f"vision:{save_vit(self.path / 'vit')}", device="cpu")
        self.images = write_folder(self.path / "images", *squares(60, size=16))
        self.image_task = pk.task(write_image_task(self.path / "images.yaml", folder="images"))

    def predictor(self, prompt: Any, align: Any = None, model: Any = None) -> pk.Predictor:
        return pk.Predictor(model or self.model, prompt, align or pk.Verbalizer(WORDS))

    def prompts(self) -> Iterator[tuple[str, Any]]:
        for name in (name for name in SELECTORS if name != "complex"):  # needs rows with a reasoning
            demos = build("selector", SELECTORS, SPELLED.get(name, f"{name}:k=2"))
            yield f"demos {name}", pk.Prompt(TEMPLATE, demos=demos, cot=pk.cot.ZeroShot() if name == "auto-cot" else None)
        for name in ORDERS:
            order = build("order", ORDERS, SPELLED.get(name, name))
            demos = pk.demos.BM25(k=3) if order.needs_ranking else pk.demos.Balanced(k=3)
            yield f"order {name}", pk.Prompt(TEXT_ONLY if name in GENERATED else TEMPLATE, demos=demos, order=order)
        for name in COT:
            yield f"cot {name}", pk.Prompt(TEMPLATE, cot=build("chain of thought", COT, f"{name}:max_tokens=6"))
        yield "instruction", pk.Prompt(TEMPLATE, demos=pk.demos.First(k=2), instruction="Say it.", on_too_long="skip")
        yield "chat", pk.Prompt(TEMPLATE, demos=pk.demos.First(k=1), chat=True)
        picked = [{"text": "lovely", "label": "yes"}, {"text": "awful", "label": "no"}]
        yield "hand-picked", pk.Prompt(TEMPLATE, demos=picked)
        yield "channel", pk.Prompt("sentiment/review_channel", demos=pk.demos.First(k=2), channel=True)
        yield (
            "inline template",
            pk.Prompt("{% block input %}{{ text }} ->{% endblock %}{% block target %} {{ label }}{% endblock %}"),
        )

    def modifier(self, name: str, model: Any, reader: Any) -> Any:
        """A manipulation by its name; a learned one with parameters unlike the initial ones."""
        made: Any = MODIFIERS[name]()
        if name not in LEARNABLE:
            return made
        assert isinstance(made, Learnable)
        context = BindContext(ask=CachedModel(model), reader=reader, rows={"pool": self.task.part("pool")})
        initial = made.initial_parameters(context)
        rng = np.random.default_rng(0)
        noisy = {
            key: value if made.is_discrete else as_array(value.numpy() + 0.1 * rng.normal(size=value.shape))
            for key, value in initial.items()
        }
        return made.with_parameters(noisy, base_of(model))

    def predictors(self) -> Iterator[tuple[str, pk.Predictor, pk.Task, Any]]:
        for name, prompt in self.prompts():
            yield name, self.predictor(prompt), self.task, ROWS
        for spelling in CASES:
            if spelling.partition(":")[0] not in THIRD_PARTY:
                align = [pk.Verbalizer(WORDS), build("calibration", CALIBRATIONS, spelling)]
                yield f"align {spelling}", self.predictor(pk.Prompt(TEMPLATE), align), self.task, ROWS
        yield from self.label_sets()
        yield from self.generations()
        for spelling in ("contextual", "domain:bags=3"):
            align = [pk.Verbalizer(WORDS), build("calibration", CALIBRATIONS, spelling)]
            yield f"per row {spelling}", self.predictor(pk.Prompt(TEMPLATE, demos=pk.demos.BM25(k=2)), align), self.task, ROWS
        for name in MODIFIERS:
            if "text" in MODIFIERS[name].requires or name in ("soft", "trigger-tokens", "prefix", "steering", "loreft"):
                stages = [pk.Prompt(TEMPLATE), self.modifier(name, self.tiny, pk.Verbalizer(WORDS))]
                yield f"modifier {name}", self.predictor(stages, model=self.tiny), self.task, ROWS
            else:
                align = [pk.Classes(("left", "right")), pk.labelmap.BayesianPlus(per_class=5)]
                stages = [pk.ImageProcessor(), self.modifier(name, self.vit, align[0])]
                yield f"modifier {name}", self.predictor(stages, align, self.vit), self.image_task, self.pictures()
        for name in (*GENERATED, "least-entropy"):
            prompt = pk.Prompt(TEXT_ONLY, demos=pk.demos.Balanced(k=3), order=build("order", ORDERS, SPELLED[name]))
            yield f"hf {name}", self.predictor(prompt, model=self.tiny), self.task, ROWS
        for spelling in ("linear:per_class=4", "knn:per_class=4", "soft-verbalizer:per_class=4", "blm:tokens=40", "contextual"):
            align = [pk.Verbalizer(WORDS), build("calibration", CALIBRATIONS, spelling)]
            prompt = pk.Prompt(TEMPLATE, demos=pk.demos.First(k=1))
            yield f"hf {spelling}", self.predictor(prompt, align, self.tiny), self.task, ROWS
        for spelling in ("linear:per_class=4", "full:per_class=4", "hidden:scale=normalize", "random-map"):
            align = [pk.Classes(("left", "right")), build("calibration", CALIBRATIONS, spelling)]
            yield f"image {spelling}", self.predictor(pk.ImageProcessor(), align, self.vit), self.image_task, self.pictures()

    def label_sets(self) -> Iterator[tuple[str, pk.Predictor, pk.Task, Any]]:
        """Predictors of any number of labels for each row."""
        texts = [(f"text {i}", [label for bit, label in enumerate(WORDS) if i >> bit & 1]) for i in range(40)]
        rows = [{"text": text, "labels": labels} for text, labels in texts]
        task = pk.task({"train": rows[:20], "test": rows[20:]}, name="sets", multi_label=True, labels=[*WORDS])
        for name, kind in CALIBRATIONS.items():
            if isinstance(kind(), DeclaresLogOdds):
                align = [pk.MultiLabel(WORDS), build("calibration", CALIBRATIONS, name)]
                yield f"align {name}", self.predictor(pk.Prompt(task.spec.template), align), task, ROWS

    def generations(self) -> Iterator[tuple[str, pk.Predictor, pk.Task, Any]]:
        """Predictors of generated texts, and of answer choices of each row."""
        arithmetic, rows = pk.task("arithmetic"), [{"question": f"How much is {i} and {i}?"} for i in range(4)]
        prompt = pk.Prompt("arithmetic/cot", demos=pk.demos.Complex(k=2))
        yield "demos complex", self.predictor(prompt, pk.extract.FinalNumber(max_tokens=8)), arithmetic, rows
        for name in EXTRACTIONS:
            options = {"max_tokens": 6, "samples": 2, "temperature": 0.7} if name == "first_line" else {"max_tokens": 6}
            aligner = build("extraction", EXTRACTIONS, SPELLED.get(name, name), **options)
            yield f"extract {name}", self.predictor(pk.Prompt("arithmetic/cot"), aligner), arithmetic, rows
        file = self.path / "choices.jsonl"
        rows = [{"q": f"Which one, {i}?", "a": f"one {i}", "b": f"two {i}", "answer": f"one {i}"} for i in range(30)]
        file.write_text("".join(json.dumps(line) + "\n" for line in rows))
        source = {"files": {"test": file.name}, "hold_out": 0.5, "inputs": {"question": "q"}, "label": "answer"}
        source["choices"] = {"columns": ["a", "b"]}
        spec = {"description": "d", "template": CHOICES, "sources": [source]}
        (self.path / "choices.yaml").write_text(json.dumps(spec))
        choices = pk.task(self.path / "choices.yaml")
        for name, align in (("alone", [pk.Choices()]), ("pmi", [pk.Choices(score="mean"), pk.calibrate.PMI()])):
            prompt = pk.Prompt(CHOICES, demos=pk.demos.First(k=2))
            yield f"choices {name}", self.predictor(prompt, align), choices, rows[:5]

    def pictures(self) -> list[dict[str, str]]:
        return [{"image": str(path)} for path in sorted(self.images.rglob("*.png"))[::9]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """Name -> the predictions of a fitted predictor, and those after loading in a fresh process."""
    folder = Folder(tmp_path_factory.mktemp("saved"))
    before, cases = {}, []
    for number, (name, predictor, task, rows) in enumerate(folder.predictors()):
        fitted = predictor.fit(task, cache=False)
        predictions = fitted.predict(rows)
        columns = {key: list(values) for key, values in predictions.to_columns().items()}
        before[name] = json.loads(json.dumps([columns, predictions.probabilities.tobytes().hex()]))
        saved = fitted.save(folder.path / f"predictor {number}")
        cases.append(json.dumps({"name": name, "folder": str(saved), "rows": rows}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, input="\n".join(cases), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    after = {name: rest for name, *rest in map(json.loads, done.stdout.splitlines())}
    return {name: (value, after[name]) for name, value in before.items()}


def test_a_fresh_process_predicts_the_same_bytes(results: dict[str, tuple[Any, Any]]) -> None:
    different = [name for name, (before, after) in results.items() if before != after]
    assert not different
    failed = {name: before[0]["error"] for name, (before, _) in results.items() if any(before[0]["error"])}
    assert not failed


def test_every_name_in_the_tables_is_covered(results: dict[str, tuple[Any, Any]]) -> None:
    covered = {name.partition(" ")[2].partition(":")[0] for name in results}
    missing = {*SELECTORS, *ORDERS, *COT, *MODIFIERS, *CALIBRATIONS, *EXTRACTIONS} - covered
    assert not missing
