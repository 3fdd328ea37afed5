"""Mistakes that users make in Python. Each is an error of promptkit, in one paragraph, and never one of Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import promptkit as pk
from promptkit.core.errors import PromptkitError
from tests.mistakes.calls import INLINE, PROMPT, ROWS, WORDS, build, heads, image_predictor, image_task, predictor, study, task

ANY: Any = pk
IMAGES = np.zeros((2, 2, 2), np.uint8)


def fitted() -> Any:
    return predictor().fit(task())


def load_module(module: Any, **keywords: Any) -> object:
    return pk.load_module(module, **{"size": 8, "normalization": ([0.5], [0.25]), "class_names": ["a", "b"], **keywords})


def cyclic() -> list[Any]:
    values: list[Any] = []
    values.append(values)
    return values


MISTAKES: dict[str, Callable[[], object]] = {
    # a class or a function in place of an object
    "a class of selectors": lambda: ANY.Prompt(PROMPT, demos=pk.demos.Balanced),
    "a class of orders": lambda: ANY.Prompt(PROMPT, demos=pk.demos.First(k=2), order=pk.order.Shuffled),
    "a class of chains of thought": lambda: ANY.Prompt(PROMPT, cot=pk.cot.ZeroShot),
    "a class of prompts": lambda: ANY.Predictor(pk.load("fake"), pk.Prompt, WORDS),
    "a class of manipulations": lambda: ANY.Predictor(pk.load("fake"), [pk.Prompt(PROMPT), pk.SoftPrompt], WORDS),
    "a class of calibrations": lambda: ANY.Predictor(pk.load("fake"), pk.Prompt(PROMPT), [WORDS, pk.calibrate.Batch]),
    "a class of optimizers": lambda: ANY.train(predictor(pk.SoftPrompt(2)), task(), optimizer=pk.AdamW),
    "the class of tasks": lambda: ANY.evaluate(predictor(), pk.Task),
    "the class of predictors": lambda: ANY.evaluate(pk.Predictor, task()),
    "the function task": lambda: ANY.evaluate(predictor(), pk.task),
    "the function load": lambda: ANY.Predictor(pk.load, pk.Prompt(PROMPT), WORDS),
    "a function as a prompt": lambda: ANY.Predictor(pk.load("fake"), lambda text: text, WORDS),
    "a function as an aligner": lambda: ANY.Predictor(pk.load("fake"), pk.Prompt(PROMPT), lambda text: text),
    "a function as a selector": lambda: ANY.Prompt(PROMPT, demos=lambda rows: rows[:2]),
    "a function as a template": lambda: ANY.Prompt(lambda text: text),
    "a function as a task": lambda: ANY.task(lambda: ROWS, label="kind"),
    "a function as rows to predict": lambda: fitted().predict(lambda: ["a"]),
    "a function as a folder": lambda: pk.Predictor.load(ANY.load),
    "a function as an instruction": lambda: ANY.Prompt(PROMPT, instruction=str.upper),
    "a module that is a function": lambda: load_module(torch.relu),
    "a module that is a class": lambda: load_module(torch.nn.Linear),
    "a task that is a name": lambda: ANY.evaluate(predictor(), "sentiment"),
    "a model that is a name": lambda: ANY.Predictor("fake", pk.Prompt(PROMPT), WORDS),
    "a prompt that is a name": lambda: ANY.Predictor(pk.load("fake"), PROMPT, WORDS),
    "a selector that is a name": lambda: ANY.Prompt(PROMPT, demos="balanced"),
    "a calibration that is a name": lambda: ANY.Predictor(pk.load("fake"), pk.Prompt(PROMPT), [WORDS, "batch"]),
    "a model in place of a predictor": lambda: ANY.evaluate(pk.load("fake"), task()),
    "a prompt in place of a predictor": lambda: ANY.evaluate(pk.Prompt(PROMPT), task()),
    "task and predictor exchanged": lambda: ANY.evaluate(task(), predictor()),
    "fitting on rows": lambda: ANY.Predictor.fit(predictor(), ROWS),
    "fitting on None": lambda: ANY.Predictor.fit(predictor(), None),
    # None and empty values
    "no model": lambda: ANY.Predictor(None, pk.Prompt(PROMPT), WORDS),
    "no prompt": lambda: ANY.Predictor(pk.load("fake"), None, WORDS),
    "no manipulations": lambda: ANY.Predictor(pk.load("fake"), [], WORDS),
    "no aligner": lambda: ANY.Predictor(pk.load("fake"), pk.Prompt(PROMPT), None),
    "no aligners": lambda: ANY.Predictor(pk.load("fake"), pk.Prompt(PROMPT), []),
    "no words": lambda: pk.Verbalizer({}),
    "a label without words": lambda: pk.Verbalizer({"no": [], "yes": "good"}),
    "a word that is None": lambda: ANY.Verbalizer({"no": None, "yes": "good"}),
    "a word that is empty": lambda: pk.Verbalizer({"no": "", "yes": "good"}),
    "a label that is None": lambda: ANY.Verbalizer({None: "bad", "yes": "good"}),
    "no task": lambda: ANY.task(None),
    "no rows": lambda: pk.task([], label="kind", inputs=["text"]),
    "rows without columns": lambda: pk.task([{}, {}], label="kind", inputs=["text"]),
    "rows that are None": lambda: ANY.task([None], label="kind", inputs=["text"]),
    "no predictors": lambda: pk.evaluate([], task()),
    "nothing to compare": lambda: pk.compare(task()),
    "None to compare": lambda: ANY.compare(task(), plain=None),
    "no shards": lambda: pk.merge([]),
    "no split": lambda: ANY.Task.rows(task(), None),
    "an empty split": lambda: task().rows(""),
    "None to predict": lambda: fitted().predict(None),
    "no folder": lambda: ANY.Predictor.load(None),
    "an empty folder": lambda: pk.Predictor.load("nowhere"),
    "no manipulation to load": lambda: ANY.load_manipulation(None),
    "no run": lambda: ANY.Run.load(None),
    "no name of a model": lambda: ANY.load(None),
    "an empty name of a model": lambda: pk.load(""),
    "no template": lambda: ANY.Template.load(None),
    "an empty template": lambda: pk.Prompt(""),
    "no file of a configuration": lambda: ANY.EvalConfig.from_yaml(None),
    "a grid without values": lambda: pk.study(build, task(), k=[]),
    "no builder": lambda: ANY.study(None, task(), k=[0]),
    "no images": lambda: pk.image_task(np.zeros((0, 2, 2), np.uint8), labels=[], label_names=["a", "b"]),
    "no labels of images": lambda: ANY.image_task(np.zeros((2, 2, 2), np.uint8), labels=None),
    # numbers out of their range, and numbers that are texts
    "a negative number of demonstrations": lambda: pk.Prompt(PROMPT, demos=pk.demos.Balanced(k=-1)),
    "a number of demonstrations that is a text": lambda: ANY.demos.Balanced(k="4"),
    "a number of demonstrations that is a fraction": lambda: ANY.demos.Balanced(k=2.5),
    "a number of demonstrations that is true": lambda: ANY.demos.Balanced(k=True),
    "more demonstrations than rows": lambda: pk.evaluate(
        pk.Predictor(pk.load("fake"), pk.Prompt(PROMPT, demos=pk.demos.First(k=10**6)), WORDS), task(), limit=1
    ),
    "a negative limit": lambda: pk.evaluate(predictor(), task(), limit=-1),
    "a limit that is a fraction": lambda: ANY.evaluate(predictor(), task(), limit=0.5),
    "a seed that is a text": lambda: ANY.demos.Random(k=2, seed="0"),
    "a seed that is None": lambda: ANY.order.Shuffled(seed=None),
    "a threshold above 1": lambda: fitted().predict(["a"], threshold=2),
    "a threshold that is not a number": lambda: fitted().predict(["a"], threshold=math.nan),
    "a threshold that is a text": lambda: fitted().predict(["a"], threshold="0.5"),
    "a risk that is a list": lambda: fitted().predict(["a"], risk=[0.1]),
    "fold 0": lambda: task().fold(0, 5),
    "folds that are a text": lambda: ANY.Task.fold(task(), "1", "5"),
    "parts above 1": lambda: task().with_parts(pool=0.9, fit=0.9),
    "negative parts": lambda: task().with_parts(pool=-0.5),
    "a soft prompt of length 0": lambda: pk.SoftPrompt(0),
    "a soft prompt of length -1": lambda: pk.SoftPrompt(-1),
    "a length that is None": lambda: ANY.SoftPrompt(None),
    "a negative border": lambda: pk.Border(-1),
    "no steps of training": lambda: pk.train(predictor(pk.SoftPrompt(2)), task(), steps=0),
    "an infinite decay of weights": lambda: pk.AdamW(weight_decay=math.inf),
    "shard 3 of 2": lambda: pk.Shard(3, 2),
    "a share of heads above 1": lambda: heads().best(1.5),
    "no samples": lambda: pk.vote.Majority(samples=0),
    "samples without a temperature": lambda: pk.extract.FinalNumber(samples=4),
    "a size of images that is negative": lambda: load_module(torch.nn.Flatten(), size=-8),
    # bytes, paths and texts
    "words that are bytes": lambda: ANY.Verbalizer({"no": b"bad", "yes": b"good"}),
    "words that are a text": lambda: ANY.Verbalizer("bad good"),
    "words that are a set": lambda: ANY.Verbalizer({"bad", "good"}),
    "a template that is bytes": lambda: ANY.Prompt(INLINE.encode()),
    "a template that is a path": lambda: ANY.Prompt(Path("nowhere.j2")),
    "an instruction that is bytes": lambda: ANY.Prompt(PROMPT, instruction=b"Go."),
    "a task that is bytes": lambda: ANY.task(b"task.yaml"),
    "a folder that is bytes": lambda: fitted().save(b"saved"),
    "a name of a model that is a path": lambda: ANY.load(Path("nowhere")),
    "rows to predict that are one text": lambda: fitted().predict("a text"),
    "rows to predict that are one row": lambda: fitted().predict({"text": "a"}),
    "rows to predict that are bytes": lambda: fitted().predict(b"abc"),
    "rows to predict that contain themselves": lambda: fitted().predict(cyclic()),
    "images for a predictor of texts": lambda: fitted().predict([np.zeros((2, 2), np.uint8)]),
    "texts for a task of images": lambda: ANY.image_task(["a", "b"], labels=[0, 1], label_names=["a", "b"]),
    "an unknown label column": lambda: pk.task(ROWS, label="sort", inputs=["text"]),
    "an unknown input": lambda: pk.task(ROWS, label="kind", inputs=["texts"]),
    "inputs that are one text": lambda: ANY.task(ROWS, label="kind", inputs="texts"),
    "labels that are a mapping of numbers": lambda: ANY.task(ROWS, label="kind", inputs=["text"], labels={1: 2}),
    # shapes and combinations
    "images of one dimension": lambda: pk.image_task(np.zeros(4, np.uint8), labels=[0, 1], label_names=["a", "b"]),
    "fewer labels than images": lambda: pk.image_task(np.zeros((4, 2, 2), np.uint8), labels=[0, 1], label_names=["a", "b"]),
    "labels without names": lambda: pk.image_task(np.zeros((2, 2, 2), np.uint8), labels=[0, 7], label_names=["a", "b"]).rows(
        "test"
    ),
    "pixels that are not numbers": lambda: pk.image_task(np.full((2, 2, 2), "x"), labels=[0, 1], label_names=["a", "b"]),
    "normalization of other channels": lambda: load_module(torch.nn.Flatten(), normalization=([0.5], [0.25, 0.25])),
    "probabilities of other labels": lambda: pk.OutOfFold(labels=("a",), gold=np.array([0]), probabilities=np.ones((1, 2))),
    "gold labels out of range": lambda: pk.OutOfFold(labels=("a", "b"), gold=np.array([7]), probabilities=np.ones((1, 2))),
    "a predictor of texts on images": lambda: pk.evaluate(predictor(), image_task(), limit=1),
    "a predictor of images on texts": lambda: pk.evaluate(image_predictor(), task(), limit=1),
    "a soft prompt on images": lambda: pk.Predictor(
        image_predictor().model, [pk.ImageProcessor(), pk.SoftPrompt(2)], ["a", "b"]
    ),  # type: ignore[list-item]
    "two calibrations of rows": lambda: ANY.Predictor(pk.load("fake"), pk.Prompt(PROMPT), [pk.calibrate.Batch(), WORDS]),
    "an order without demonstrations": lambda: pk.Prompt(PROMPT, order="shuffled"),  # type: ignore[arg-type]
    "an unknown dimension of a study": lambda: study().where(shots=2),
    "an unknown value of a study": lambda: study().where(k=99),
    "a dimension that is a number": lambda: ANY.Study.table(study(), rows=5),
    # objects that were changed
    "a changed row": lambda: task().rows("test")[0].inputs.update(text="other"),  # type: ignore[attr-defined]
    "a changed row by its key": lambda: task().rows("test")[0].inputs.__setitem__("text", "other"),  # type: ignore[index]
    "a changed rationale": lambda: task().rows("test")[0].rationale.update({}),  # type: ignore[attr-defined]
    "an unfitted predictor that predicts": lambda: pk.Predictor(
        pk.load("fake"), pk.Prompt(PROMPT, demos=pk.demos.First(k=2)), WORDS
    ).predict(["a"]),
    "an unfitted predictor that is saved": lambda: predictor().save("unfitted"),
    "a registered class that is no dataclass": lambda: pk.demos.register(type("Mine", (pk.demos.Selector,), {"name": "mine"})),
    "a registered function": lambda: pk.demos.register(build),
    "a registered class without a name": lambda: pk.calibrate.register(type("Mine", (), {})),
    "an option of a configuration that is an object": lambda: ANY.EvalConfig(task="sentiment", shots=object()),
    "an unknown option of a configuration": lambda: ANY.EvalConfig(task="sentiment", shot=4),
    "a configuration without a task": lambda: ANY.EvalConfig(shots=2),
}
"""What the user does -> the call."""


def test_there_are_at_least_100_mistakes() -> None:
    assert len(MISTAKES) >= 100


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_of_promptkit(mistake: str) -> None:
    with pytest.raises(PromptkitError) as raised:
        MISTAKES[mistake]()
    assert raised.value.code
    assert raised.value.fields
    assert str(raised.value).rstrip().endswith((".", "?"))
    assert "\n" not in str(raised.value)
