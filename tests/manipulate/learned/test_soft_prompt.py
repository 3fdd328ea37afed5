"""Soft prompts: placement, initialization, and the models that support them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.arrays import Array
from promptkit.core.errors import CheckpointError, InputError, TaskError, TemplateError
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.inputs import Span, TextInput
from promptkit.core.manipulation import BindContext
from promptkit.core.rendered import Rendered
from promptkit.manipulate.compose import composed
from promptkit.manipulate.learned.base_model import base_of
from promptkit.manipulate.learned.placement import splice
from promptkit.models.client import CachedModel
from tests.support.errors import refused
from tests.support.tiny import save

WORDS = {"no": "bad, really", "yes": "good"}
ROW = Example(id="q", inputs={"text": "so it was"})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return pk.load(str(save(tmp_path_factory.mktemp("gemma3"), "gemma3")))


def rendered(model: Any, *modifiers: Any, **prompt: Any) -> Rendered:
    context = BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS))
    return composed([pk.Prompt("sentiment/review", **prompt), *modifiers]).bind(context)([ROW])[0]


def rows(vectors: Array | None) -> Any:
    assert vectors is not None
    return vectors.numpy()


def read_vectors(found: Rendered, model: Any) -> Any:
    """Returns the vector that the model reads at each position."""
    ids, learned = found.text.ids, found.interventions.vectors
    embedded = rows(model.embed([max(0, token) for token in ids]))
    return [rows(learned)[-1 - token] if token < 0 else row for token, row in zip(ids, embedded, strict=True)]


def test_vectors_are_placed_in_the_order_of_the_list(model: Any) -> None:
    plain, bos = rendered(model).input.ids, (0,)
    a, b = (pk.SoftPrompt(n, init="random", seed=n) for n in (2, 3))
    start = pk.SoftPrompt(4, init="random", place="start", seed=4)
    for modifiers, before, suffix in (([a], [], [a]), ([start], [start], []), ([a, start, b], [start], [a, b])):
        found = rendered(model, *modifiers)
        expected = [rows(rendered(model, one).interventions.vectors) for one in before] + [rows(model.embed(bos))]
        expected += [rows(rendered(model, one).interventions.vectors) for one in suffix] + [rows(model.embed(plain[1:]))]
        assert np.array_equal(np.stack(read_vectors(found, model)), np.concatenate(expected))
        assert found.continuations == rendered(model).continuations
        covered = [place for span in found.input.spans for place in range(span.start, span.stop)]
        assert covered == list(range(len(found.input.ids)))
        soft = {place for span in found.input.spans if span.part == "soft" for place in range(span.start, span.stop)}
        assert soft == {place for place, token in enumerate(found.input.ids) if token < 0}


SLOTS = (
    '{% block instruction %}Be fair.{{ soft("task", 2) }} Now:{% endblock %}'
    '{% block input %}Text: {{ text }}{{ soft("end", 3) }} So{% endblock %}{% block target %} {{ label }}{% endblock %}'
)
TEXT = SLOTS.replace('{{ soft("task", 2) }}', "|").replace('{{ soft("end", 3) }}', "|")
POOL = [LabeledExample(id=f"r{i}", inputs={"text": f"row {i}"}, label="yes") for i in range(3)]


def in_slots(model: Any, template: str, modifiers: list[Any], **prompt: Any) -> Rendered:
    context = BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS), rows={"pool": POOL})
    return composed([pk.Prompt(template, **prompt), *modifiers]).bind(context)([ROW])[0]


@pytest.mark.parametrize("shots", [0, 2])
def test_vectors_fill_slots_without_moving_other_tokens(model: Any, shots: int) -> None:
    task, end = pk.SoftPrompt(2, slot="task", init="random"), pk.SoftPrompt(3, slot="end", init="random", seed=1)
    start = pk.SoftPrompt(2, init="random", place="start", seed=2)
    demos = pk.demos.First(k=shots)
    vectors = {soft.seed: rows(rendered(model, replace(soft, slot=None)).interventions.vectors) for soft in (task, end, start)}
    found = in_slots(model, SLOTS, [start, end, task], demos=demos)
    positions = read_vectors(found, model)
    expected = iter([vectors[2], vectors[0], *[vectors[1]] * (1 + shots)])
    spans = [span for span in found.input.spans if span.part.startswith("soft")]
    assert [span.part for span in spans] == ["soft", "soft task", *["soft end"] * (1 + shots)]
    for span in spans:
        assert np.array_equal(np.stack(positions[span.start : span.stop]), next(expected))
    assert {place for s in spans for place in range(s.start, s.stop)} == {p for p, i in enumerate(found.input.ids) if i < 0}
    texts, piece = [], []
    for token in (*found.input.ids, -1):
        if token >= 0:
            piece.append(token)
        elif piece:
            texts.append(model.card.tokenizer.decode(piece))
            piece = []
    plain = in_slots(model, TEXT, [], demos=demos)
    assert texts == model.card.tokenizer.decode(plain.input.ids).split("|")
    assert in_slots(model, SLOTS, [task, end, start], demos=demos).continuations == found.continuations


def test_a_slot_in_a_chat_is_within_its_turn(tmp_path: Path) -> None:
    chatting: Any = pk.load(str(save(tmp_path, "llama", chat=True)))
    modifiers = [pk.SoftPrompt(2, slot="task"), pk.SoftPrompt(3, slot="end")]
    found = in_slots(chatting, SLOTS, modifiers, chat=True)
    decode = chatting.card.tokenizer.decode
    parts = {span.part: span for span in found.input.spans}
    assert decode(found.input.ids[: parts["soft task"].start]).endswith("Be fair.")
    assert decode(found.input.ids[parts["soft end"].stop :]).startswith(" So<end_of_turn>")


@pytest.mark.parametrize(
    ("template", "modifiers", "slots", "soft_prompts"),
    [
        (SLOTS, [], (("task", 2), ("end", 3)), ()),
        (SLOTS, [pk.SoftPrompt(2, slot="task")], (("task", 2), ("end", 3)), (("task", 2),)),
        (
            SLOTS,
            [pk.SoftPrompt(2, slot="task"), pk.SoftPrompt(4, slot="end")],
            (("task", 2), ("end", 3)),
            (("task", 2), ("end", 4)),
        ),
        (TEXT, [pk.SoftPrompt(2, slot="task")], (), (("task", 2),)),
    ],
)
def test_slots_and_soft_prompts_must_match(
    model: Any, template: str, modifiers: list[Any], slots: tuple[Any, ...], soft_prompts: tuple[Any, ...]
) -> None:
    with refused(InputError, "slot-mismatch", slots=slots, soft_prompts=soft_prompts):
        in_slots(model, template, modifiers)


@pytest.mark.parametrize(
    ("template", "code", "fields"),
    [
        (SLOTS.replace('"task", 2', '"task", n'), "malformed-slot", {"line": 1}),
        (SLOTS.replace('"task", 2', '"end", 2'), "inconsistent-slot-length", {"slot": "end", "lengths": (2, 3)}),
        (SLOTS.replace("{{ label }}", '{{ label }}{{ soft("x", 1) }}'), "misplaced-slot", {"block": "target"}),
    ],
)
def test_malformed_slots_are_refused(model: Any, template: str, code: str, fields: dict[str, Any]) -> None:
    with refused(TemplateError, code, **fields):
        in_slots(model, template, [])


def test_text_that_looks_like_a_slot_is_refused(model: Any) -> None:
    forged = Example(id="f", inputs={"text": "\ufdd0task\ufdd1"})
    context = BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS))
    modifiers = [pk.SoftPrompt(2, slot="task"), pk.SoftPrompt(3, slot="end")]
    with refused(TemplateError, "reserved-character"):
        composed([pk.Prompt(SLOTS), *modifiers]).bind(context)([forged])
    soft = {"text": "it", "soft": "a column of that name"}
    named = pk.Template("{% block input %}{{ soft }} {{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}")
    assert named.render("input", soft) == "a column of that name it"
    assert not named.slots()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 20), st.integers(1, 3))
def test_insertion_moves_every_span_and_changes_no_token(sizes: list[int], place: int, count: int) -> None:
    ends = np.cumsum(sizes).tolist()
    spans = tuple(Span(part=f"p{i}", start=end - size, stop=end) for i, (size, end) in enumerate(zip(sizes, ends, strict=True)))
    at = min(place, ends[-1])
    spliced = splice(TextInput(ids=tuple(range(ends[-1])), spans=spans), range(-1, -1 - count, -1), at, part="soft")
    assert [token for token in spliced.ids if token >= 0] == list(range(ends[-1]))
    owner = {token: span.part for span in spliced.spans for token in spliced.ids[span.start : span.stop] if token >= 0}
    assert owner == {token: span.part for span in spans for token in range(span.start, span.stop)}
    assert [span.start for span in spliced.spans[1:]] == [span.stop for span in spliced.spans[:-1]]


def test_initial_vectors_are_embeddings_of_the_model(model: Any) -> None:
    encode = model.card.tokenizer.encode
    text = pk.SoftPrompt(30, init="Say how it was.")
    tokens = encode("Say how it was.").ids
    assert np.array_equal(rows(rendered(model, text).interventions.vectors), rows(model.embed((tokens * 30)[:30])))
    words = [rows(model.embed(encode(f" {word}").ids)).mean(0) for word in WORDS.values()]
    found = rows(rendered(model, pk.SoftPrompt(3, init="labels")).interventions.vectors)
    assert found == pytest.approx(np.stack([words[0], words[1], words[0]]))
    known = {row.tobytes() for row in rows(model.embed(range(model.card.vocabulary)))}
    drawn = rows(rendered(model, pk.SoftPrompt(20)).interventions.vectors)
    assert len({row.tobytes() for row in drawn} & known) == 20
    scale = np.sqrt((rows(model.embed(range(320))) ** 2).mean())
    random = rows(rendered(model, pk.SoftPrompt(100, init="random")).interventions.vectors)
    assert np.sqrt((random**2).mean()) == pytest.approx(scale, rel=0.1)
    other = rows(rendered(model, pk.SoftPrompt(100, init="random", seed=1)).interventions.vectors)
    assert not np.array_equal(random, other)


def test_a_prompt_reserves_context_for_the_vectors(model: Any) -> None:
    tokens = len(rendered(model).input.ids) + max(map(len, rendered(model).continuations))
    fits = 512 - tokens
    assert len(rendered(model, pk.SoftPrompt(fits)).input.ids) == 512 - max(map(len, rendered(model).continuations))
    with refused(TaskError, "prompt-too-long", context_tokens=512 - fits - 1):
        rendered(model, pk.SoftPrompt(fits + 1))


def test_manipulations_that_fill_the_context_are_refused_before_weights_load(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(model), "_forward", property(lambda _: pytest.fail("weights were loaded")))
    parts = [pk.Prompt("sentiment/review"), pk.SoftPrompt(500), pk.Prefix(11)]
    pk.Predictor(model, parts, WORDS)
    sizes = (("soft", 500), ("prefix", 11), ("trigger-tokens", 1))
    with refused(InputError, "no-room-for-prompt", tokens=512, context_tokens=512, manipulations=sizes):
        pk.Predictor(model, [*parts, pk.TriggerTokens(1)], WORDS)


def test_unsuitable_models_are_refused_before_weights_load(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = pk.Prompt("sentiment/review")
    server = pk.load("http:x", base_url="http://127.0.0.1:9/v1")
    with refused(pk.Unsupported, "no-learned-vectors", model="http:x", manipulation="soft"):
        pk.Predictor(server, [prompt, pk.SoftPrompt(2)], WORDS)
    base = base_of(model)
    soft = pk.SoftPrompt(2)
    context = BindContext(ask=CachedModel(model), reader=pk.Verbalizer(WORDS))
    trained = soft.with_parameters(soft.initial_parameters(context), base)
    pk.Predictor(model, [prompt, trained], WORDS)
    monkeypatch.setattr(type(model), "_forward", property(lambda _: pytest.fail("weights were loaded")))
    for key, value in (("d_model", 7), ("tokenizer", "another"), ("content", "another")):
        other = soft.with_parameters(trained.parameters, {**base, key: value})
        with refused(CheckpointError, "other-model", differs=key, found=base[key], expected=value):
            pk.Predictor(model, [prompt, other], WORDS)


@pytest.mark.parametrize(
    ("action", "code", "fields"),
    [
        (lambda: pk.SoftPrompt(0), "out-of-range", {"length": 0}),
        (lambda: pk.SoftPrompt(2, place="end"), "unknown-name", {"kind": "place of soft", "name": "end"}),
        (lambda: pk.SoftPrompt(2, init="label"), "unknown-name", {"name": "label", "close": ["labels"]}),
        (lambda: pk.Predictor(pk.load("fake"), [pk.SoftPrompt(2)], WORDS), "invalid-manipulations", {"types": ("SoftPrompt",)}),
        (
            lambda: pk.Predictor(pk.load("fake"), [pk.Prompt("sentiment/review"), pk.Prompt("sentiment/review")], WORDS),
            "invalid-manipulations",
            {"types": ("Prompt", "Prompt")},
        ),
        (lambda: pk.SoftPrompt(2, slot="task", place="start"), "conflicting-options", {"slot": "task", "place": "start"}),
        (
            lambda: pk.Predictor(pk.load("fake"), [pk.Prompt("sentiment/review"), pk.SoftPrompt], WORDS),
            "class-not-object",
            {"classes": ("SoftPrompt",)},
        ),
    ],
)
def test_invalid_settings_are_refused(action: Any, code: str, fields: dict[str, Any]) -> None:
    with refused(InputError, code, **fields):
        action()
