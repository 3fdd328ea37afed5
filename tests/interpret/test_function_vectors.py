"""Function vectors: what a recomputation by transformers alone comes to, from the rows that may be seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import promptkit as pk
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import LabeledExample
from promptkit.core.manipulation import BindContext
from promptkit.interpret.function_vectors import Swapped
from promptkit.manipulate.order.fixed import given
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose, shared
from promptkit.models.client import CachedModel
from promptkit.models.registry import ENGINES
from promptkit.tasks.sampling import by_hash
from tests.support.errors import refused
from tests.support.tiny import make_model, save, save_reviews

HEADS, LAYERS = 4, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("functions")
    save(path / "model", "llama")
    save_reviews(path, 40, hold_out=0.5)
    save_reviews(path, 40, hold_out=0.5, template="question/answer", answer="{first_line: {max_tokens: 4}}")
    return path


def shown(folder: Path, kind: str = "task", model: Any = None, template: str = "", **prompt: Any) -> pk.Predictor:
    template = template or {"task": "sentiment/review", "texts": "question/answer"}[kind]
    reading: Any = pk.Verbalizer({"no": "bad", "yes": "good"}) if kind == "task" else pk.extract.first_line(max_tokens=4)
    made = pk.Prompt(template, **{"demos": pk.demos.random_each(k=3), **prompt})
    return pk.Predictor(model or pk.load(str(folder / "model")), made, reading)


def last_inputs(model: Any, ids: tuple[int, ...], changed: Any = None) -> tuple[Any, np.ndarray]:
    """Logits, and what each output projection is given at the last token, with one head's slice replaced before."""
    found: list[Any] = []

    def hook(layer: int) -> Any:
        def seen(_: Any, told: Any) -> Any:
            states = told[0].clone()
            if changed is not None and changed[0] == layer:
                _, head, position, value = changed
                states[0, position, 8 * head : 8 * head + 8] = torch.from_numpy(value).float()
            found.append(states[0, -1].reshape(HEADS, 8).numpy())
            return (states,)

        return seen

    handles = [layer.self_attn.o_proj.register_forward_pre_hook(hook(i)) for i, layer in enumerate(model.model.layers)]
    logits = model(torch.tensor([ids])).logits[0]
    for handle in handles:
        handle.remove()
    return logits, np.stack(found)


def answer_probability(model: Any, ids: tuple[int, ...], answer: tuple[int, ...], changed: Any = None) -> float:
    logits, _ = last_inputs(model, ids + answer[:-1], changed)
    logprobs = logits.log_softmax(-1)
    return float(sum(logprobs[len(ids) - 1 + place, token] for place, token in enumerate(answer)).exp())


@pytest.mark.parametrize("kind", ["task", "texts"])
def test_it_is_what_transformers_alone_comes_to(folder: Path, kind: str) -> None:
    task, predictor, own = pk.task(folder / f"{kind}.yaml"), shown(folder, kind), make_model("llama")
    found = pk.head_effects(predictor, task, rows=5, patched=3, cache=False)
    around = BindContext(ask=CachedModel(predictor.model), reading=predictor.reading, rows={"pool": task.part("pool")})
    rows = by_hash(task.part("pool"), 5)
    mean = np.mean([last_inputs(own, each.input.ids)[1] for each in predictor.manipulate.bind(around)(rows)], axis=0)
    swapped = replace(predictor.manipulate, order=Swapped(given(), seed=0)).bind(around)(rows[:3])
    words = {"yes": " good", "no": " bad"} if kind == "task" else {"yes": " yes", "no": " no"}
    effects = np.zeros((3, LAYERS, HEADS))
    for number, (row, rendered) in enumerate(zip(rows, swapped, strict=False)):
        ids, answer = rendered.input.ids, predictor.model.card.tokenizer.encode(words[row.label]).ids
        plain = answer_probability(own, ids, answer)
        for layer, head in np.ndindex(LAYERS, HEADS):
            changed = (layer, head, len(ids) - 1, mean[layer, head])
            effects[number, layer, head] = answer_probability(own, ids, answer, changed) - plain
    assert found.effects == pytest.approx(effects.mean(0), abs=1e-5, rel=1e-3)
    weights = [layer.self_attn.o_proj.weight.T.reshape(HEADS, 8, 32).numpy() for layer in own.model.layers]
    added = np.einsum("lhw,lhwd->lhd", mean, np.stack(weights))
    assert found.added == pytest.approx(added, abs=1e-5)
    best = sorted(np.ndindex(LAYERS, HEADS), key=lambda place: -effects.mean(0)[place])[:2]
    assert found.best(2) == [(layer + 1, head + 1) for layer, head in best]
    (vector,) = found.shift(layer=2, heads=2, strength=3.0).parameters["vectors"].numpy()
    assert vector == pytest.approx(3 * sum(added[place] for place in best), abs=1e-4)


def test_demonstrations_have_one_anothers_answers_and_all_of_them() -> None:
    rows = tuple(LabeledExample(id=f"r{i}", inputs={"text": str(i)}, label=str(i), accepted=(str(i),)) for i in range(6))
    arrange = Swapped(given(), seed=1).bind(None)  # type: ignore[arg-type]
    ((*found,),) = arrange([], [rows])
    assert [row.inputs for row in found] == [row.inputs for row in rows]
    assert sorted(row.label for row in found) == sorted(row.label for row in rows)
    assert all(one.label != other.label and one.accepted == (one.label,) for one, other in zip(found, rows, strict=True))
    assert arrange([], [rows[:1]]) == [rows[:1]]


def test_it_is_saved_and_evaluated_as_any_other_shift(folder: Path, tmp_path: Path) -> None:
    task = pk.task(folder / "task.yaml")
    shift = pk.head_effects(shown(folder), task, rows=3, patched=2).shift(layer=3, heads=0.5)
    loaded = pk.load_manipulation(pk.save_manipulation(shift, tmp_path / "steering"))
    assert loaded == shift
    plain = pk.Prompt("sentiment/review")
    reading = pk.Verbalizer({"no": "bad", "yes": "good"})
    model = pk.load(str(folder / "model"))
    runs = [
        pk.evaluate(pk.Predictor(model, [plain, *behind], reading), task, out=tmp_path, cache=False)
        for behind in ((), (loaded,))
    ]
    one, other = ((run.path / "samples.jsonl").read_bytes() for run in runs)
    assert one != other


def test_a_share_of_the_heads_is_so_many(folder: Path) -> None:
    found = pk.HeadEffects(effects=np.array([[0.1, 0.3], [0.2, -0.1]]), added=np.eye(4).reshape(2, 2, 4), base={})
    assert found.best(0.5) == found.best(2) == [(1, 2), (2, 1)]
    assert found.best(0.01) == found.best() == [(1, 2)]
    assert found.best(2, up_to=1) == [(1, 2), (1, 1)]
    assert found.vector(4).tolist() == [1, 1, 1, 1]


def test_rows_that_are_evaluated_tell_nothing(folder: Path) -> None:
    task, predictor = pk.task(folder / "task.yaml"), shown(folder)
    with refused(TaskError, "rows-are-evaluated", task="task", part="pool"):
        pk.head_effects(predictor, task, split="train")


@dataclass(frozen=True)
class Alike:
    """Demonstrations that all have one answer."""

    k: int = 2
    name: ClassVar[str] = "alike"

    def bind(self, context: SelectionContext) -> Choose:
        return shared([[row for row in context.pool if row.label == "yes"]] * self.k)


@pytest.mark.parametrize(
    ("made", "code", "fields"),
    [
        (lambda f: pk.head_effects(shown(f, demos=pk.demos.zero()), pk.task(f / "task.yaml")), "no-demonstrations", {}),
        (
            lambda f: pk.head_effects(shown(f), pk.task(f / "task.yaml"), patched=0),
            "invalid-value",
            {"keyword": "patched", "value": "0"},
        ),
        (
            lambda f: pk.head_effects(shown(f, template="sentiment/review_channel", channel=True), pk.task(f / "task.yaml")),
            "channel-prompt",
            {},
        ),
        (lambda f: FOUND.shift(layer=3), "out-of-range", {"layer": 3, "most": 2}),
        (lambda f: FOUND.shift(layer=1, heads=5), "out-of-range", {"heads": 5, "up_to": None, "available": 4}),
        (lambda f: FOUND.shift(layer=1, heads=3, up_to=1), "out-of-range", {"heads": 3, "up_to": 1, "available": 2}),
        (lambda f: FOUND.shift(layer=1, up_to=-1), "out-of-range", {"up_to": -1, "available": 0}),
        (lambda f: FOUND.shift(layer=1, heads=1.5), "out-of-range", {"heads": 1.5}),
        (lambda f: FOUND.best(0.0), "out-of-range", {"heads": 0.0}),
        (lambda f: FOUND.best(-0.5), "out-of-range", {"heads": -0.5}),
        (lambda f: FOUND.best(float("nan")), "not-finite", {"keyword": "heads", "value": "nan"}),
        (lambda f: FOUND.best(True), "invalid-value", {"keyword": "heads", "value": "True"}),
        (lambda f: FOUND.best(1, up_to=1.5), "invalid-value", {"keyword": "up_to", "value": "1.5"}),
        (lambda f: FOUND.shift(layer=1.5), "invalid-value", {"keyword": "layer", "value": "1.5"}),
        (lambda f: FOUND.shift(layer=1, strength=float("nan")), "not-finite", {"keyword": "strength", "value": "nan"}),
        (lambda f: pk.head_effects(shown(f, demos=pk.demos.random_each(k=1)), pk.task(f / "task.yaml")), "same-answers", {}),
        (lambda f: pk.head_effects(shown(f, demos=Alike()), pk.task(f / "task.yaml")), "same-answers", {}),
    ],
)
def test_what_tells_no_function_vector_is_told(folder: Path, made: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        made(folder)


FOUND = pk.HeadEffects(effects=np.zeros((2, 2)), added=np.zeros((2, 2, 4)), base={})


def test_other_engines_refuse_before_anything_is_asked(folder: Path) -> None:
    with refused(pk.Unsupported, "no-attention-heads", model="fake"):
        pk.head_effects(shown(folder, model=pk.load("fake")), pk.task(folder / "task.yaml"))


def test_the_engines_that_tell_heads_apart_are_hf_alone() -> None:
    able = {name for name, each in ENGINES.items() if hasattr(getattr(import_module(each.module), each.attribute), "heads")}
    assert able == {"hf"}
