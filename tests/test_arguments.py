"""Public functions and classes accept valid arguments only: anything else is an error of promptkit, and nothing is ignored."""

# ruff: noqa: C408 - the arguments of a call are written as in the call

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import promptkit as pk
from promptkit.core.errors import InputError, PromptkitError
from tests.support.errors import refused
from tests.support.tiny import save_reviews

WRONG: list[Any] = [5, True, "x", "", object(), [], None, -1, math.nan, {}]
PROMPT = "sentiment/review"
WORDS = {"no": "bad", "yes": "good"}
INLINE = "{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}"
ROWS = [{"text": f"text {number}", "kind": "ab"[number % 2]} for number in range(8)]
ON_ROWS: dict[str, Any] = dict(source=ROWS, label="kind", inputs=["text"], labels=["a", "b"])


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with a task, a saved manipulation and the shards of a run."""
    path = tmp_path_factory.mktemp("arguments")
    save_reviews(path, 40, hold_out=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        pk.save_manipulation(trained(), "saved")
        for n in (1, 2):
            pk.evaluate_shard(predictor(), task(), pk.Shard(n, 2), limit=2, out=f"shard{n}")
        chain = [pk.Verbalizer(WORDS), pk.labelmap.Frequency(per_class=1)]
        pk.evaluate(pk.Predictor(pk.load("fake"), pk.Prompt(PROMPT), chain), task(), limit=4, out="mapped")
        yield


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


def on_task(**values: Any) -> dict[str, Any]:
    options: dict[str, Any] = dict(split="test", limit=2, out="runs", cache=False, progress=lambda *args: None)
    return dict(task=task(), **options, **values)


OPTIONS: dict[str, Any] = dict(
    **dict(task="sentiment", model="fake", set={"batch_tokens": 64}, shots=2, demos="random", order="shuffled", seed=0),
    **dict(chat=False, thinking="off", manipulation=["soft"], split="test", per_class=4, template=PROMPT, instruction="Go."),
)
"""Options of evaluations and of training."""

CALLS: dict[str, Callable[[], dict[str, Any]]] = {
    "baselines": lambda: dict(task=task(), selectors=pk.demos.First(k=1), model=pk.load("fake"), split="test", limit=2),
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
        **dict(predictor=predictor(), task=task(), method="list", instructions=["Go."], candidates=1, by="accuracy", dev=2),
        **dict(test=2, split="test", seed=0, out="runs", cache=False, progress=lambda done, total: None),
    ),
    "rerun": lambda: dict(run=mapped(), out="again", cache=False),
    "Shard": lambda: dict(number=1, of=2),
    "study": lambda: on_task(build=build, k=[0]),
    "StudyConfig": lambda: dict(task="sentiment", grid={"shots": [0, 2]}, baselines=["random"], seed=1, limit=2),
    "task": lambda: dict(ON_ROWS, template=INLINE, train=ROWS, name="mine", answer=None, id=None, data=None),
    "Template": lambda: dict(source=pk.Template.load(PROMPT).source, name="mine"),
    "train": lambda: dict(
        **dict(predictor=predictor(pk.SoftPrompt(2)), task=task(), split="test", out="runs", cache=False),
        **dict(progress=lambda done, total, text: None, steps=1, batch_size=2, dev=2, optimizer=pk.Spsa()),
    ),
    "TrainConfig": lambda: dict(OPTIONS, labelmap=None, steps=5, batch_size=2, dev=2, learning_rate=0.1, warmup=0.1),
    "view_images": lambda: dict(predictor=image_predictor(), task=image_task(), n=1, split="test"),
    "Classes": lambda: dict(labels=["no", "yes"], classes={"no": "cat", "yes": ["dog"]}),
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
CREATED_BY_FUNCTIONS = {"HeadEffects", "Run", "SearchResult", "Study", "Task", "TrainingResult"}
"""The results of public functions, which users do not create themselves."""
TEXT_OPTIONS = ("task", "model", "template", "instruction", "thinking", "demos", "order", "split")
"""Options whose names are checked when the configuration is built, because the tables of names are slow to import."""
OPTIONAL = ("template", "instruction", "thinking", "demos", "order", "split")
ACCEPTED: dict[str, list[Any]] = {
    **{
        f"{config}.{option}": ["x", "", None] if option in OPTIONAL else ["x", ""]
        for config in ("EvalConfig", "TrainConfig", "StudyConfig")
        for option in TEXT_OPTIONS
    },
    **{
        f"{config}.{option}": values
        for config in ("EvalConfig", "TrainConfig")
        for option, values in {
            "set": [[], None, {}],
            "shots": [5, None],
            "chat": [True],
            "thinking": [True, "x", "", None],
            "manipulation": ["x", "", [], None],
            "per_class": [5, None],
        }.items()
    },
    "rerun.out": ["x", "", None],
    "EvalConfig.calibrate": ["x", "", []],
    "EvalConfig.labelmap": ["x", "", []],
    "EvalConfig.samples": [5, None],
    "EvalConfig.max_tokens": [5, None],
    "EvalConfig.prompt": ["x", "", [], None],
    "TrainConfig.labelmap": ["x", "", None],
    "TrainConfig.steps": [5],
    "TrainConfig.batch_size": [5],
    "TrainConfig.dev": [5],
    "TrainConfig.learning_rate": [5, None, -1, math.nan],  # the optimizer, which may be another one, checks the range
    "StudyConfig.baselines": [[], None],
    "StudyConfig.task": ["x"],
    "load_module.size": [5],
    "load_module.name": ["x", ""],
    "load_module.batch_size": [5, None],
    "baselines.model": [None],
    "Classes.classes": [None],
    "convert.model": [None],
    "Study.baselines.model": [None],
    "split": [None],
    "Task.rows.split": [],
    "limit": [5, None],
    "out": ["x", ""],
    "convert.out": [],
    "merge.out": ["x", "", None],
    "cache": [True],
    "progress": [None],
    "extract_steering_vector.layer": [5, -1],  # the model has a single layer, so that no layer is in range
    "extract_steering_vector.strength": [5, -1],
    "extract_steering_vector.rows": [5],
    "extract_steering_vector.split": ["x", "", None],
    "head_effects.rows": [5],  # the model has no heads, which is noticed first
    "head_effects.patched": [5],
    "head_effects.split": ["x", "", None],
    "seed": [5, -1],
    "batch_tokens": [5],
    "image_task.name": ["x", ""],
    "image_task.classes": [None],
    "learning_curve.draws": [5],
    "learning_curve.task": [None],
    "view_images.n": [5],
    "Prompt.demos": [[]],
    **{f"Prompt.{option}": [None] for option in ("order", "cot")},
    "Prompt.instruction": ["x", "", None],
    "Prompt.chat": [True],
    "Prompt.channel": [True],
    "save_manipulation.folder": ["x", ""],
    "save_manipulation.metadata": [None, {}],
    "search.method": [None],
    "search.candidates": [5],
    **{f"search.{option}": [5, None] for option in ("dev", "test")},
    "Shard.of": [5],
    "study.k": [value for value in WRONG if value != []],
    **{"task.name": ["x", "", None], "task.label": ["", None], "task.inputs": [[]], "task.labels": [[]]},
    **{f"task.{option}": [None] for option in ("template", "train", "answer", "id", "data")},
    "Template.name": ["x", ""],
    "train.steps": [5],
    "train.batch_size": [5],
    "train.dev": [5],
    "HeadEffects.steering_vector.strength": [5, -1],
    "heads": [],
    "up_to": [5, None],
    "Study.table.rows": [[], None],
    "columns": [None],
    "metric": [None],
    "Study.table.baselines": [None],
    "Study.best.over": [[]],
    "Study.compare.by": [[]],
    "Study.compare.on": [None],
    "items": [True],
    "Template.slots.without": ["x", ""],
    "keywords": [{}],
    "instructions.joined.statements": ["x", ""],
    "answers": [[]],
    "vote.vote_accuracy.accepted": [[]],
}
"""Parameter, with the function or without -> the values of `WRONG` that are not wrong for it."""


def target(name: str) -> Any:
    owner, _, attribute = name.rpartition(".")
    if not owner:
        return getattr(pk, name)
    if name in ("Template.render", "Template.slots"):
        return getattr(pk.Template.load(PROMPT), attribute)
    return getattr(OWNERS[owner]() if owner in OWNERS else getattr(pk, owner), attribute)


def call(function: Callable[..., Any], values: dict[str, Any]) -> None:
    parameters = inspect.signature(function).parameters.values()
    variable = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    positional = [
        parameter.name
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL)
        or (variable and parameter.kind is parameter.POSITIONAL_OR_KEYWORD)
    ]
    function(
        *(values[name] for name in positional if name in values),
        **{key: value for key, value in values.items() if key not in positional},
    )


def outcome(function: Callable[..., Any], values: dict[str, Any]) -> str:
    """The code of the error of a call; empty if it works. Any other exception fails the test."""
    try:
        call(function, values)
    except PromptkitError as caught:
        error = caught
    else:
        return ""
    assert error.code
    assert error.fields
    assert "\n" not in str(error)
    return error.code


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_value_is_refused(name: str) -> None:
    function = target(name)
    expected = outcome(function, CALLS[name]())  # some calls end in an error that a model of random numbers cannot avoid
    for parameter in CALLS[name]():
        accepted = [value for value in WRONG if outcome(function, {**CALLS[name](), parameter: value}) == expected]
        allowed = ACCEPTED.get(f"{name}.{parameter}", ACCEPTED.get(parameter, []))
        assert [*map(repr, accepted)] == [*map(repr, allowed)], f"{name}({parameter}=...)"


def public() -> Iterator[tuple[str, Any]]:
    """The public functions and classes, also those of public modules, except errors."""
    for name in pk.__all__:
        value = getattr(pk, name)
        if isinstance(value, ModuleType):
            members = {key: member for key, member in vars(value).items() if key in getattr(value, "__all__", vars(value))}
            for key, member in members.items():
                if key.startswith("_") or not str(getattr(member, "__module__", "")).startswith(value.__name__):
                    continue
                is_setting = isinstance(member, type) and is_dataclass(member) and hasattr(member, "name")
                if is_setting or (inspect.isroutine(member) and inspect.signature(member).parameters):
                    yield f"{name}.{key}", member
        elif callable(value) and not (isinstance(value, type) and issubclass(value, PromptkitError)):
            yield name, value


CONSTRUCTORS = {
    name: value for name, value in public() if is_dataclass(value) and name not in CALLS.keys() | CREATED_BY_FUNCTIONS
}
"""The classes whose fields all have defaults."""


def test_all_public_functions_and_classes_are_tested() -> None:
    assert {name for name, _ in public()} <= CALLS.keys() | CONSTRUCTORS.keys() | CREATED_BY_FUNCTIONS
    assert len(CONSTRUCTORS) > 40


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_a_wrong_setting_is_refused(name: str) -> None:
    outcome(CONSTRUCTORS[name], {})
    for parameter in inspect.signature(CONSTRUCTORS[name]).parameters:
        outcomes = {repr(wrong): outcome(CONSTRUCTORS[name], {parameter: wrong}) for wrong in WRONG}
        assert sum(not code for code in outcomes.values()) <= 3, f"{name}({parameter}=...)"
        assert outcomes[repr(WRONG[4])], f"{name}({parameter}=object())"
        assert outcomes["nan"], f"{name}({parameter}=nan)"


# ---- what the errors say ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "code", "fields"),
    [
        (lambda: pk.Prompt(PROMPT, chat="yes"), "invalid-value", {"of": "a prompt", "keyword": "chat", "value": "'yes'"}),
        (lambda: pk.evaluate(predictor(), task(), cache=5), "invalid-value", {"of": "evaluate", "keyword": "cache"}),
        (lambda: pk.evaluate(predictor(), task(), limit=True), "invalid-value", {"keyword": "limit", "value": "True"}),
        (lambda: pk.evaluate(predictor(), task(), progress=5), "not-a-function", {"keyword": "progress"}),
        (lambda: pk.evaluate([predictor(), 5], task()), "not-a-predictor", {"keyword": "predictors", "value": "5"}),
        (lambda: pk.evaluate(predictor(), task(), out=5), "not-a-path", {"keyword": "out", "value": "5"}),
        (lambda: pk.evaluate(predictor(), "x"), "not-a-task", {"keyword": "task", "value": "'x'"}),
        (lambda: pk.evaluate_shard(predictor(), task(), "1/2"), "not-an-instance", {"keyword": "shard", "value": "'1/2'"}),
        (lambda: pk.compare(task(), plain=5), "not-a-predictor", {"keyword": "plain", "value": "5"}),
        (lambda: pk.compare(task()), "no-predictors", {"predictors": ()}),
        (lambda: pk.merge([]), "no-shards", {"shards": ()}),
        (lambda: pk.Shard(3, of=2), "invalid-shard", {"shard": "3/2"}),
        (lambda: task().part("x"), "unknown-name", {"kind": "part of Task.part", "name": "x"}),
    ],
)
def test_the_error_names_the_argument_and_the_value(action: Callable[[], object], code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        action()


def test_numpy_scalars_are_numbers() -> None:
    assert len(pk.evaluate(predictor(), task(), limit=np.int64(2), out="runs").ids) == 2  # type: ignore[arg-type]
    with refused(InputError, "not-finite", keyword="strength"):
        heads().steering_vector(layer=1, strength=np.float64("nan"))


def test_a_missing_or_unknown_argument_is_an_error_of_python() -> None:
    with pytest.raises(TypeError, match="evaluate"):
        pk.evaluate(predictor())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="limitt"):
        pk.evaluate(predictor(), task(), limitt=2)  # type: ignore[call-arg]
