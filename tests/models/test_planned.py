"""Models of which only the card is known."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path

import pytest

from promptkit.core.errors import ModelError, Unsupported
from promptkit.core.model import TextCard
from promptkit.core.requests import Read, Request
from promptkit.inputs.text.encoding import encode_text
from promptkit.models.planned import PlannedModel, planned_model, size_of
from promptkit.models.registry import load
from tests.support import tiny
from tests.support.errors import refused

TEXTS = ("The film was good", " and I liked it\n\na lot: 500!", "", "<s> tröge 東京 </s>")


@pytest.mark.parametrize("kind", ["llama", "gemma3", "qwen3"])
@pytest.mark.parametrize("bos", [True, False])
def test_the_card_is_that_of_the_model(tmp_path: Path, kind: str, bos: bool) -> None:
    folder = str(tiny.save(tmp_path / "model", kind, bos=bos))
    planned, loaded = planned_model(folder, {}).card, load(folder).card
    assert isinstance(planned, TextCard)
    assert isinstance(loaded, TextCard)
    assert replace(planned, tokenizer=loaded.tokenizer) == loaded
    for text in TEXTS:
        assert planned.tokenizer.encode(text) == loaded.tokenizer.encode(text)
        assert encode_text(text, planned) == encode_text(text, loaded)
    for name in ("bos", "ends", "control"):
        assert getattr(planned.tokenizer, name) == getattr(loaded.tokenizer, name)


def test_a_model_with_a_chat_template_is_read_by_transformers(tmp_path: Path) -> None:
    planned = planned_model(str(tiny.save(tmp_path / "model", "llama", chat=True)), {})
    assert not isinstance(planned, PlannedModel)
    assert isinstance(planned.card, TextCard)
    assert planned.card.instruct


def test_the_size_is_the_number_of_stored_parameters(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "model", "llama")
    size = size_of(str(folder), {})
    model = tiny.make_model("llama")
    shapes = [tuple(weights.shape) for name, weights in model.state_dict().items() if "rotary" not in name]
    tables = [shape for shape in shapes if shape[0] == tiny.VOCABULARY]
    assert size is not None
    assert size.per_answer == prod(tables[0])
    assert size.per_token == sum(map(prod, shapes)) - sum(map(prod, tables))


def test_a_planned_model_answers_nothing(tmp_path: Path) -> None:
    model = planned_model(str(tiny.save(tmp_path / "model", "llama")), {})
    assert isinstance(model, PlannedModel)
    card = model.card
    assert isinstance(card, TextCard)
    from promptkit.core.inputs import TextInput

    with refused(Unsupported, "planned-model"):
        model.answer([Request(input=TextInput(ids=encode_text("a", card)), verb=Read(top_m=1))])


def test_other_models_are_those_that_load_returns() -> None:
    assert planned_model("fake", {}).name == load("fake").name
    assert size_of("fake", {}) is None


def test_a_model_that_does_not_exist_is_refused() -> None:
    with refused(ModelError, "no-such-folder"):
        planned_model("./nothing", {})


def test_the_tokens_of_a_server_are_counted_without_asking_it(tmp_path: Path) -> None:
    folder = str(tiny.save(tmp_path / "model", "llama"))
    model = planned_model("http:any", {"base_url": "http://127.0.0.1:9/v1", "tokenizer": folder})
    assert isinstance(model.card, TextCard)
    assert encode_text(TEXTS[0], model.card) == encode_text(TEXTS[0], load(folder).card)  # type: ignore[arg-type]
