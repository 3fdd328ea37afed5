"""Valid arguments of all public functions, and the wrong values that each of their parameters accepts."""

# ruff: noqa: C408 - the arguments of a call are written as in the call

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import promptkit as pk

WRONG: list[Any] = [5, True, "x", "", object(), [], None, -1, math.nan, {}]
PROMPT = "sentiment/review"
WORDS = {"no": "bad", "yes": "good"}
INLINE = "{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}"
ROWS = [{"text": f"text {number}", "kind": "ab"[number % 2]} for number in range(8)]
ON_ROWS: dict[str, Any] = dict(source=ROWS, label="kind", inputs=["text"], labels=["a", "b"])


def task() -> pk.Task:
    return pk.task("task.yaml")


def predictor(*modifiers: Any) -> pk.Predictor:
    return pk.Predictor(pk.load("fake"), [pk.Prompt(PROMPT, demos=pk.demos.First(k=2)), *modifiers], WORDS)


def mapped() -> Path:
    """The folder of a run with a label map."""
    return next(Path("mapped").iterdir())


def image_task() -> pk.Task:
    return pk.image_task(np.arange(64, dtype=np.uint8).reshape(16, 2, 2), labels=[0, 1] * 8, label_names=["a", "b"])


def image_predictor() -> pk.Predictor:
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    model = pk.load_module(module, size=8, normalization=([0.5], [0.25]), class_names=["cat", "dog"])
    return pk.Predictor(model, pk.ImageProcessor(), pk.Classes(["a", "b"], classes={"a": "cat", "b": "dog"}))


def build(k: object = 0, seed: int = 0) -> pk.Predictor:
    return predictor()


def study() -> pk.Study:
    return pk.study(build, task(), limit=4, out="study", k=[0, 1], seed=[0, 1])


def trained() -> pk.SoftPrompt:
    model: Any = pk.load("fake")
    return pk.SoftPrompt(2).with_parameters({"vectors": model.embed([1, 2])}, {"name": "fake"})


def heads() -> pk.HeadEffects:
    return pk.HeadEffects(effects=np.ones((2, 3)), added=np.ones((2, 3, 4)), base={"name": "fake"})


def out_of_fold() -> pk.OutOfFold:
    return pk.OutOfFold(labels=("a", "b"), gold=np.array([0, 1]), probabilities=np.ones((2, 2)) / 2)


def on_task(**values: Any) -> dict[str, Any]:
    return {
        "task": task(),
        "split": "test",
        "limit": 2,
        "out": "runs",
        "cache": False,
        "progress": lambda done, total: None,
        **values,
    }


OPTIONS: dict[str, Any] = dict(
    **dict(task="sentiment", model="fake", set={"batch_tokens": 64}, shots=2, demos="random", order="shuffled", seed=0),
    **dict(chat=False, thinking="off", manipulation=["soft"], split="test", per_class=4, template=PROMPT, instruction="Go."),
)
"""Options of evaluations and of training."""

CALLS: dict[str, Callable[[], dict[str, Any]]] = {
    "baselines": lambda: dict(
        task=task(), selectors=pk.demos.First(k=1), model=pk.load("fake"), split="test", limit=2, metrics="macro_f1"
    ),
    "compare": lambda: {{"task": "first"}.get(key, key): each for key, each in on_task(plain=predictor()).items()},
    "convert": lambda: dict(folder="saved", out="converted", model=pk.load("fake")),
    "EvalConfig": lambda: dict(OPTIONS, calibrate=["batch"], labelmap=[], limit=2, samples=None, max_tokens=5, prompt=None),
    "evaluate": lambda: on_task(predictors=predictor()),
    "evaluate_shard": lambda: on_task(predictors=predictor(), shard=pk.Shard(1, 1)),
    "extract_steering_vector": lambda: dict(
        predictor=predictor(), task=task(), layer=1, how="mean", at="all", strength=2.0, rows=2, split="test", cache=False
    ),
    "head_effects": lambda: dict(predictor=predictor(), task=task(), rows=2, patched=1, seed=0, split="test", cache=False),
    "image_task": lambda: dict(
        **dict(images=np.arange(16, dtype=np.uint8).reshape(4, 2, 2), labels=[0, 1, 0, 1], label_names=["a", "b"], name="mine"),
        **dict(test_images=np.ones((2, 2, 2), np.uint8), test_labels=[0, 1], classes={"a": "cat", "b": ["dog"]}),
    ),
    "label_maps": lambda: dict(run=mapped()),
    "learning_curve": lambda: dict(run=mapped(), calibrate="frequency", per_class=[1], draws=1, task=task()),
    "load": lambda: dict(name="fake", batch_tokens=64),
    "load_manipulation": lambda: dict(folder="saved"),
    "load_module": lambda: dict(
        **dict(module=torch.nn.Linear(1, 2), size=8, normalization=([0.5], [0.25]), class_names=["a", "b"]),
        **dict(name="mine", batch_size=4),
    ),
    "merge": lambda: dict(shards=[*Path().glob("shard?/*.shard-*-of-2")], out="merged"),
    "Choices": lambda: dict(score="sum"),
    "Predictor": lambda: dict(model=pk.load("fake"), manipulate=pk.Prompt(PROMPT), align=WORDS),
    "Prompt": lambda: dict(
        **dict(template=PROMPT, demos=pk.demos.First(k=2), order=pk.order.Shuffled(), instruction="Go."),
        **dict(chat=False, cot=None, channel=False),
    ),
    "save_manipulation": lambda: dict(learned=trained(), folder="saved", metadata={"note": "x"}),
    "search": lambda: dict(
        **dict(predictor=predictor(), task=task(), method="list", instructions=["Go."], candidates=1, by="metric", dev=2),
        **dict(test=2, split="test", seed=0, out="runs", cache=False, progress=lambda done, total: None),
    ),
    "PredictConfig": lambda: dict(
        predictor="x", data=Path("new.csv"), threshold=0.5, risk=0.5, sets=0.5, prefix="", model="fake"
    ),
    "OutOfFold": lambda: dict(labels=("a", "b"), gold=np.array([0, 1]), probabilities=np.ones((2, 2)) / 2, folds=0),
    "Drift": lambda: dict(rows=out_of_fold(), counts=None),
    "report": lambda: dict(folders=mapped(), path="report.html", text=True),
    "rerun": lambda: dict(run=mapped(), out="again", cache=False),
    "Shard": lambda: dict(number=1, of=2),
    "study": lambda: on_task(build=build, k=[0]),
    "StudyConfig": lambda: dict(task="sentiment", grid={"shots": [0, 2]}, baselines=["random"], seed=1, limit=2),
    "task": lambda: dict(ON_ROWS, template=INLINE, train=ROWS, name="mine", answer=None, schema=None, id=None, data=None),
    "Template": lambda: dict(source=pk.Template.load(PROMPT).source, name="mine"),
    "train": lambda: dict(
        **dict(predictor=predictor(pk.SoftPrompt(2)), task=task(), split="test", out="runs", cache=False),
        **dict(progress=lambda done, total: None, metrics="macro_f1", steps=1, batch_size=2, dev=2, optimizer=pk.Spsa()),
    ),
    "TrainConfig": lambda: dict(
        OPTIONS, metric=["macro_f1"], labelmap=None, steps=5, batch_size=2, dev=2, learning_rate=0.1, warmup=0.1
    ),
    "tune": lambda: dict(
        **dict(source=task(), model="fake", budget="1000 requests", metric="accuracy", space="default", max_requests=None),
        **dict(limit=8, seed=0, out="tuned", cache=False, progress=False),
    ),
    "TuneConfig": lambda: dict(task="sentiment", model=["fake"], budget="30 requests", limit=8, seed=1, space="default"),
    "view_images": lambda: dict(predictor=image_predictor(), task=image_task(), n=1, split="test"),
    "Classes": lambda: dict(labels=["no", "yes"], classes={"no": "cat", "yes": ["dog"]}),
    "MultiLabel": lambda: dict(words=WORDS, score="sum"),
    "Verbalizer": lambda: dict(words=WORDS, score="sum", pool="max"),
    # methods
    "HeadEffects.best": lambda: dict(heads=1, up_to=1),
    "HeadEffects.vector": lambda: dict(heads=1, up_to=1),
    "HeadEffects.steering_vector": lambda: dict(layer=1, heads=1, up_to=1, strength=2.0),
    "Shard.read": lambda: dict(spelling="1/2"),
    "Study.baselines": lambda: dict(selectors=pk.demos.First(k=1), model=None),
    "Study.best": lambda: dict(over="k"),
    "Study.compare": lambda: dict(on="k", to=0, by=(), metric="accuracy"),
    "Study.table": lambda: dict(rows="k", columns="seed", metric="accuracy", baselines=None),
    "Study.to_pandas": lambda: dict(items=False),
    "Study.where": lambda: dict(k=0),
    "Task.part": lambda: dict(part="pool"),
    "Task.rows": lambda: dict(split="test"),
    "Template.load": lambda: dict(name=PROMPT),
    "Template.render": lambda: dict(block="input", values={"text": "a"}),
    "Template.slots": lambda: dict(without="instruction"),
    "TrainingConfig.from_keywords": lambda: dict(keywords={"steps": 2}),
    # functions of public modules
    "instructions.answer_format": lambda: dict(words=["a", "b"]),
    "instructions.joined": lambda: dict(statements="a"),
    "instructions.label_space": lambda: dict(words=["a", "b"]),
    "instructions.statements": lambda: dict(reader=pk.Choices()),
    "order.default_order": lambda: dict(demos=pk.demos.First()),
    "vote.majority": lambda: dict(answers=["a"]),
    "vote.vote_accuracy": lambda: dict(answers=["a"], accepted=["a"]),
}
"""Function -> valid arguments."""
OWNERS: dict[str, Callable[[], Any]] = {"HeadEffects": heads, "Study": study, "Task": task}
"""Class -> an instance to call methods of; other methods are called on the class or on a template."""
CREATED_BY_FUNCTIONS = {
    *("HeadEffects", "Prediction", "Predictions", "Run", "SearchResult", "Study", "Task", "TrainingResult", "Tuned"),
    "PromptClassifier",  # its errors are those of scikit-learn
}
"""The results of public functions, which users do not create themselves."""
