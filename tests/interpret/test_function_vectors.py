"""Function vectors compared with a recomputation in transformers from the pool rows only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import promptkit as pk
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import LabeledExample
from promptkit.core.manipulation import BindContext
from promptkit.interpret.function_vectors import SwappedAnswers
from promptkit.manipulate.demos.selector import Selector
from promptkit.manipulate.order.fixed import Given
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose, choose_shared
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


def make_predictor(folder: Path, kind: str = "task", model: Any = None, template: str = "", **prompt: Any) -> pk.Predictor:
    template = template or {"task": "sentiment/review", "texts": "question/answer"}[kind]
    reader: Any = pk.Verbalizer({"no": "bad", "yes": "good"}) if kind == "task" else pk.extract.FirstLine(max_tokens=4)
    prompt = pk.Prompt(template, **{"demos": pk.demos.RandomEach(k=3), **prompt})
    return pk.Predictor(model or pk.load(str(folder / "model")), prompt, reader)


def last_inputs(model: Any, ids: tuple[int, ...], changed: Any = None) -> tuple[Any, np.ndarray]:
    """Returns the logits, and each output projection's input at the last token, after replacing one head's slice."""
    inputs: list[Any] = []

    def hook(layer: int) -> Any:
        def record(_: Any, arguments: Any) -> Any:
            states = arguments[0].clone()
            if changed is not None and changed[0] == layer:
                _, head, position, value = changed
                states[0, position, 8 * head : 8 * head + 8] = torch.from_numpy(value).float()
            inputs.append(states[0, -1].reshape(HEADS, 8).numpy())
            return (states,)

        return record

    handles = [layer.self_attn.o_proj.register_forward_pre_hook(hook(i)) for i, layer in enumerate(model.model.layers)]
    logits = model(torch.tensor([ids])).logits[0]
    for handle in handles:
        handle.remove()
    return logits, np.stack(inputs)


def answer_probability(model: Any, ids: tuple[int, ...], answer: tuple[int, ...], changed: Any = None) -> float:
    logits, _ = last_inputs(model, ids + answer[:-1], changed)
    logprobs = logits.log_softmax(-1)
    return float(sum(logprobs[len(ids) - 1 + place, token] for place, token in enumerate(answer)).exp())


@pytest.mark.parametrize("kind", ["task", "texts"])
def test_effects_and_vectors_equal_a_recomputation_with_transformers(folder: Path, kind: str) -> None:
    task, predictor, reference = pk.task(folder / f"{kind}.yaml"), make_predictor(folder, kind), make_model("llama")
    result = pk.head_effects(predictor, task, rows=5, patched=3, cache=False)
    context = BindContext(ask=CachedModel(predictor.model), reader=predictor.reader, rows={"pool": task.part("pool")})
    rows = by_hash(task.part("pool"), 5)
    mean = np.mean(
        [last_inputs(reference, rendered.input.ids)[1] for rendered in predictor.manipulate.bind(context)(rows)], axis=0
    )
    swapped = replace(predictor.manipulate, order=SwappedAnswers(Given(), seed=0)).bind(context)(rows[:3])
    words = {"yes": " good", "no": " bad"} if kind == "task" else {"yes": " yes", "no": " no"}
    effects = np.zeros((3, LAYERS, HEADS))
    for number, (row, rendered) in enumerate(zip(rows, swapped, strict=False)):
        ids, answer = rendered.input.ids, predictor.model.card.tokenizer.encode(words[row.label]).ids
        plain = answer_probability(reference, ids, answer)
        for layer, head in np.ndindex(LAYERS, HEADS):
            changed = (layer, head, len(ids) - 1, mean[layer, head])
            effects[number, layer, head] = answer_probability(reference, ids, answer, changed) - plain
    assert result.effects == pytest.approx(effects.mean(0), abs=1e-5, rel=1e-3)
    weights = [layer.self_attn.o_proj.weight.T.reshape(HEADS, 8, 32).numpy() for layer in reference.model.layers]
    added = np.einsum("lhw,lhwd->lhd", mean, np.stack(weights))
    assert result.added == pytest.approx(added, abs=1e-5)
    best = sorted(np.ndindex(LAYERS, HEADS), key=lambda place: -effects.mean(0)[place])[:2]
    assert result.best(2) == [(layer + 1, head + 1) for layer, head in best]
    (vector,) = result.steering_vector(layer=2, heads=2, strength=3.0).parameters["vectors"].numpy()
    assert vector == pytest.approx(3 * sum(added[place] for place in best), abs=1e-4)


def test_swapping_permutes_the_answers_without_fixed_points() -> None:
    rows = tuple(LabeledExample(id=f"r{i}", inputs={"text": str(i)}, label=str(i), accepted=(str(i),)) for i in range(6))
    arrange = SwappedAnswers(Given(), seed=1).bind(None)
    ((*result,),) = arrange([], [rows])
    assert [row.inputs for row in result] == [row.inputs for row in rows]
    assert sorted(row.label for row in result) == sorted(row.label for row in rows)
    assert all(one.label != other.label and one.accepted == (one.label,) for one, other in zip(result, rows, strict=True))
    assert arrange([], [rows[:1]]) == [rows[:1]]


def test_a_function_vector_is_saved_and_evaluated_as_a_steering_vector(folder: Path, tmp_path: Path) -> None:
    task = pk.task(folder / "task.yaml")
    vector = pk.head_effects(make_predictor(folder), task, rows=3, patched=2).steering_vector(layer=3, heads=0.5)
    loaded = pk.load_manipulation(pk.save_manipulation(vector, tmp_path / "steering"))
    assert loaded == vector
    plain = pk.Prompt("sentiment/review")
    reader = pk.Verbalizer({"no": "bad", "yes": "good"})
    model = pk.load(str(folder / "model"))
    runs = [
        pk.evaluate(pk.Predictor(model, [plain, *modifiers], reader), task, out=tmp_path, cache=False)
        for modifiers in ((), (loaded,))
    ]
    one, other = ((run.path / "samples.jsonl").read_bytes() for run in runs)
    assert one != other


def test_heads_are_selected_by_number_or_share(folder: Path) -> None:
    result = pk.HeadEffects(effects=np.array([[0.1, 0.3], [0.2, -0.1]]), added=np.eye(4).reshape(2, 2, 4), base={})
    assert result.best(0.5) == result.best(2) == [(1, 2), (2, 1)]
    assert result.best(0.01) == result.best() == [(1, 2)]
    assert result.best(2, up_to=1) == [(1, 2), (1, 1)]
    assert result.vector(4).tolist() == [1, 1, 1, 1]


def test_evaluated_rows_are_excluded(folder: Path) -> None:
    task, predictor = pk.task(folder / "task.yaml"), make_predictor(folder)
    with refused(TaskError, "rows-are-evaluated", task="task", part="pool"):
        pk.head_effects(predictor, task, split="train")


@dataclass(frozen=True)
class OneAnswer(Selector):
    """Selects demonstrations that all have the same answer."""

    k: int = 2
    name: ClassVar[str] = "one-answer"

    def bind(self, context: SelectionContext) -> Choose:
        return choose_shared([[row for row in context.pool if row.label == "yes"]] * self.k)


@pytest.mark.parametrize(
    ("action", "code", "fields"),
    [
        (
            lambda f: pk.head_effects(make_predictor(f, demos=pk.demos.Zero()), pk.task(f / "task.yaml")),
            "no-demonstrations",
            {},
        ),
        (
            lambda f: pk.head_effects(make_predictor(f), pk.task(f / "task.yaml"), patched=0),
            "invalid-value",
            {"keyword": "patched", "value": "0"},
        ),
        (
            lambda f: pk.head_effects(
                make_predictor(f, template="sentiment/review_channel", channel=True), pk.task(f / "task.yaml")
            ),
            "channel-prompt",
            {},
        ),
        (lambda f: FOUND.steering_vector(layer=3), "out-of-range", {"layer": 3, "most": 2}),
        (lambda f: FOUND.steering_vector(layer=1, heads=5), "out-of-range", {"heads": 5, "up_to": None, "available": 4}),
        (lambda f: FOUND.steering_vector(layer=1, heads=3, up_to=1), "out-of-range", {"heads": 3, "up_to": 1, "available": 2}),
        (lambda f: FOUND.steering_vector(layer=1, up_to=-1), "out-of-range", {"up_to": -1, "available": 0}),
        (lambda f: FOUND.steering_vector(layer=1, heads=1.5), "out-of-range", {"heads": 1.5}),
        (lambda f: FOUND.best(0.0), "out-of-range", {"heads": 0.0}),
        (lambda f: FOUND.best(-0.5), "out-of-range", {"heads": -0.5}),
        (lambda f: FOUND.best(float("nan")), "not-finite", {"keyword": "heads", "value": "nan"}),
        (lambda f: FOUND.best(True), "invalid-value", {"keyword": "heads", "value": "True"}),
        (lambda f: FOUND.best(1, up_to=1.5), "invalid-value", {"keyword": "up_to", "value": "1.5"}),
        (lambda f: FOUND.steering_vector(layer=1.5), "invalid-value", {"keyword": "layer", "value": "1.5"}),
        (
            lambda f: FOUND.steering_vector(layer=1, strength=float("nan")),
            "not-finite",
            {"keyword": "strength", "value": "nan"},
        ),
        (
            lambda f: pk.head_effects(make_predictor(f, demos=pk.demos.RandomEach(k=1)), pk.task(f / "task.yaml")),
            "same-answers",
            {},
        ),
        (lambda f: pk.head_effects(make_predictor(f, demos=OneAnswer()), pk.task(f / "task.yaml")), "same-answers", {}),
    ],
)
def test_invalid_arguments_are_refused(folder: Path, action: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        action(folder)


FOUND = pk.HeadEffects(effects=np.zeros((2, 2)), added=np.zeros((2, 2, 4)), base={})


def test_other_engines_are_refused(folder: Path) -> None:
    with refused(pk.Unsupported, "no-attention-heads", model="fake"):
        pk.head_effects(make_predictor(folder, model=pk.load("fake")), pk.task(folder / "task.yaml"))


def test_only_hf_exposes_attention_heads() -> None:
    engines = {name for name, engine in ENGINES.items() if hasattr(engine.model_class(), "heads")}
    assert engines == {"hf"}
