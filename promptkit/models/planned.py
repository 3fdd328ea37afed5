"""Models with a card and without weights: they render and count prompts, and answer nothing.

For most language models the card is read from the files of the model without importing transformers and PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from promptkit.core.capabilities import Capabilities
from promptkit.core.errors import Unsupported
from promptkit.core.model import Model, ModelCard, TextCard
from promptkit.core.requests import Output, Request
from promptkit.models.base import BaseEngine
from promptkit.models.files.dimensions import dimensions_of
from promptkit.models.files.pretrained import card
from promptkit.models.files.source import Source, resolve
from promptkit.models.files.stored_tokenizer import StoredTokenizer
from promptkit.models.files.stored_weights import file_on_this_machine, stored_shapes
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.registry import ENGINES, load, split

SERVER_CONTEXT = 1 << 20
"""The context length of a server's model, which is not asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The numbers of parameters by which the time of a request is predicted."""

    per_token: int
    """Parameters that every token is multiplied with."""
    per_answer: int
    """Parameters of the output head, which only tokens of an answer are multiplied with."""


class PlannedModel(BaseEngine):
    """A model that is described and never loaded."""

    def __init__(self, name: str, capabilities: Capabilities, card: ModelCard | None) -> None:
        """Describes a model.

        Args:
            name: Its name.
            capabilities: What it supports.
            card: Its card; None for a sentence encoder, whose card no prompt needs.
        """
        self.name, self.capabilities = name, capabilities
        self._card = card

    @property
    def card(self) -> ModelCard:
        """The card."""
        if self._card is None:
            raise self._unanswered()
        return self._card

    @card.setter
    def card(self, card: ModelCard) -> None:
        self._card = card

    def identity(self) -> Mapping[str, object]:
        """Returns the name."""
        return {"name": self.name}

    def batches(self, requests: Sequence[Request]) -> Sequence[tuple[int, ...]]:
        """Returns one batch of all requests."""
        return [tuple(range(len(requests)))]

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        """Raises Unsupported: the model is not loaded."""
        raise self._unanswered()

    def _unanswered(self) -> Unsupported:
        return Unsupported(
            f"The model {self.name} is only planned with", code="planned-model", hint="Load it with pk.load", model=self.name
        )


def planned_model(name: str, settings: Mapping[str, object]) -> Model:
    """Returns a description of a model, without weights and, where possible, without importing PyTorch.

    Args:
        name: `[engine:]name`, as for `load`.
        settings: The settings of the engine.

    Raises:
        PromptkitError: There is no such model, or its files cannot be read.
    """
    engine, rest = split(name)
    description = ENGINES[engine]
    if engine == "encoder":
        return PlannedModel(name, description.capabilities, None)
    tokenizer, revision = settings.get("tokenizer"), settings.get("revision")
    if engine == "http" and tokenizer:
        source = resolve(str(tokenizer))
        found = _server_card(source, settings)
        return load(name, **settings) if found is None else PlannedModel(name, description.capabilities, found)
    if not description.runs_files:
        return load(name, **settings)
    source = resolve(rest, None if revision is None else str(revision))
    config = _config(source)
    kind = _kind(config)
    stored = _card(source if tokenizer is None else resolve(str(tokenizer)), config, name)
    if stored is None or kind != "causal":  # transformers knows how such a model reads prompts
        return load(name, **settings)
    return PlannedModel(name, description.kinds.get(kind, description.capabilities), stored)


def size_of(name: str, settings: Mapping[str, object]) -> Size | None:
    """Returns the numbers of parameters of a language model; None if they are not known on this machine."""
    engine, rest = split(name)
    if not ENGINES[engine].runs_files:
        return None
    revision = settings.get("revision")
    source = resolve(rest, None if revision is None else str(revision))
    shapes, config = stored_shapes(source), _config(source)
    if not shapes or config is None:
        return None
    sizes = dimensions_of(_StoredConfig(config))
    embedding = sizes.vocabulary * sizes.embedding_width
    tables = sum(shape[:1] == (sizes.vocabulary,) and len(shape) == 2 for shape in shapes.values())
    return Size(per_token=sum(map(prod, shapes.values())) - tables * embedding, per_answer=embedding)


class _StoredConfig:
    """The fields of `config.json`, as attributes, as `PretrainedConfig` has them."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def get_text_config(self) -> _StoredConfig:
        """Returns the part of a model of several modalities that reads text."""
        return _StoredConfig(self._fields.get("text_config") or self._fields)

    def __getattr__(self, name: str) -> Any:
        if name not in self._fields:
            raise AttributeError(name)
        return self._fields[name]


def _config(source: Source) -> Mapping[str, Any] | None:
    file = file_on_this_machine(source, "config.json")
    return None if file is None else json.loads(Path(file).read_text("utf-8"))


def _kind(config: Mapping[str, Any] | None) -> str:
    """Returns the kind of a language model by the name of its class; empty if it is not clear."""
    names = (config or {}).get("architectures") or [""]
    return "causal" if str(names[0]).endswith("ForCausalLM") else ""


def _card(source: Source, config: Mapping[str, Any] | None, name: str) -> TextCard | None:
    """Returns the card of a causal model; None if its files do not suffice."""
    tokenizer = StoredTokenizer.read(source)
    if tokenizer is None or config is None:
        return None
    stored = _StoredConfig(config)
    sizes = dimensions_of(stored)
    if not all((sizes.state_width, sizes.vocabulary, sizes.layers)):
        return None
    return card(stored, TransformersTokenizer(tokenizer), name)


def _server_card(source: Source, settings: Mapping[str, object]) -> TextCard | None:
    """Returns the card of a server's model, whose tokenizer is known."""
    tokenizer = StoredTokenizer.read(source)
    if tokenizer is None:
        return None
    length = settings.get("max_model_len")
    return TextCard(
        tokenizer=TransformersTokenizer(tokenizer),
        d_model=0,
        embedding_width=0,
        vocabulary=0,
        layers=0,
        kv_heads=0,
        context_length=SERVER_CONTEXT if length is None else int(str(length)),
        instruct=False,
    )
