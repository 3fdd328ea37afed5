"""Embeddings of names: of source classes and of labels.

A language model embeds names itself, by its mean hidden states of the last layer. The names of an image classifier's classes
are embedded by a sentence encoder, which can be used for a language model as well. If the classes of each label were written by
hand, no encoder is needed: the classes are the axes of the space, and a label is the mean of its classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self, cast

import numpy as np

from promptkit.core.capabilities import Feature
from promptkit.core.errors import InputError
from promptkit.core.inputs import Modality, TextInput
from promptkit.core.manipulation import Ask
from promptkit.core.model import image_card, text_card
from promptkit.core.need_context import InputRead, KnownRead, NeedContext, Problem, Reads
from promptkit.core.needs import Need, Stored
from promptkit.core.requests import Read, ReadOutput, Request
from promptkit.inputs.text.encoding import encode_text
from promptkit.needs.source_logprobs import SourceLogprobs

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

TENSOR = "names"
"""The tensor of embeddings by the model itself; for an encoder, with its name after it."""
TEXTS = "texts"
"""The key of the texts in the metadata; for an encoder, with its name after it."""
BY_HAND = "source_classes"
"""The key of the hand-written classes of each label in the metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameEmbeddings:
    """Embeddings of names in one space."""

    sources: Floats
    """The names of the source classes, shape (S, width); of the label words if these are the source classes."""
    labels: Floats
    """The label words, shape (K, width)."""
    is_by_hand: bool = False
    """Whether the classes of each label were written by hand, and no names were embedded."""


@dataclass(frozen=True, slots=True)
class NameVectors(Need[NameEmbeddings]):
    """Embeddings of the names of source classes and of the label words."""

    sources: SourceLogprobs | None
    """The source classes; None if these are the label words."""
    encoder: str = ""
    """The name of the sentence encoder; empty for the language model itself."""

    kind: ClassVar[str] = "name vectors"

    @property
    def requires(self) -> tuple[Need[object], ...]:
        """The source classes, and hidden states of the model that embeds names itself."""
        return () if self.sources is None else (self.sources,)

    @property
    def features(self) -> frozenset[Feature]:
        """Hidden states, if the model embeds names itself."""
        return frozenset() if self.encoder else frozenset({"hidden_states"})

    @property
    def models(self) -> tuple[str, ...]:
        """The encoder."""
        return (self.encoder,) if self.encoder else ()

    def check_modality(self, modality: Modality, *, has_source_classes: bool) -> None:
        """Refuses an image classifier, which embeds no names, unless there is an encoder or no name has to be embedded."""
        if modality == "image" and not self.encoder and not has_source_classes:
            raise InputError(
                "The names of an image classifier's classes need a sentence encoder to compare them with the labels",
                code="needs-encoder",
                hint="Set encoder=encoder:sentence-transformers/all-MiniLM-L6-v2, or write the classes of each label by hand",
                modality="image",
            )

    @classmethod
    def reads(cls, needs: Sequence[Self], need_context: NeedContext) -> Reads:
        """Reads each text once per model that embeds it."""
        for need in needs:
            need.check_modality(need_context.ask.card.modality, has_source_classes=bool(need_context.source_classes))
        metadata: dict[str, object] = {}
        inputs: list[InputRead] = []
        known: list[KnownRead] = []
        for encoder in dict.fromkeys(need.encoder for need in needs):
            same = [need for need in needs if need.encoder == encoder]
            named = [name for need in same for name in need.source_names(need_context.metadata)]
            texts = [*dict.fromkeys([*named, *need_context.label_words.values()])]
            metadata[_named(TEXTS, encoder)] = texts
            if need_context.source_classes and not encoder:
                metadata[BY_HAND] = [_indices(names, need_context.ask) for names in need_context.source_classes.values()]
            elif encoder:
                known += _encoded(texts, encoder, need_context.other_models[encoder])
            else:
                inputs += _own(texts, need_context.ask)
        return Reads(metadata=metadata, inputs=inputs, known=known)

    def source_names(self, metadata: Mapping[str, object]) -> tuple[str, ...]:
        """Returns the names of the source classes from the metadata of reads; none if these are the label words."""
        return () if self.sources is None else self.sources.names(metadata)

    def load(self, stored: Stored) -> NameEmbeddings:
        """Returns the embeddings."""
        if BY_HAND in stored.metadata and not self.encoder:
            return self._by_hand(stored)
        texts = cast("Sequence[str]", stored.metadata[_named(TEXTS, self.encoder)])
        positions = {text: position for position, text in enumerate(texts)}
        vectors = stored.tensor(_named(TENSOR, self.encoder)).astype(float)
        words = [*stored.label_words.values()]
        names = words if self.sources is None else self.source_names(stored.metadata)
        sources, labels = (vectors[[positions[text] for text in texts]] for texts in (names, words))
        return NameEmbeddings(sources=sources, labels=labels)

    def _by_hand(self, stored: Stored) -> NameEmbeddings:
        """One-hot vectors of the classes, and the mean of each label's classes."""
        classes = cast("Sequence[Sequence[int]]", stored.metadata[BY_HAND])
        axes = np.eye(len(self.source_names(stored.metadata)) or 1 + max(map(max, classes)))
        labels = np.stack([axes[indices].mean(0) for indices in classes])
        return NameEmbeddings(sources=labels if self.sources is None else axes, labels=labels, is_by_hand=True)

    def missing(self, stored: Stored) -> Problem | None:
        """Returns a problem if the names were not embedded."""
        if BY_HAND in stored.metadata and not self.encoder:
            return None
        texts = cast("Sequence[str]", stored.metadata.get(_named(TEXTS, self.encoder), ()))
        has_sources = self.sources is None or not self.sources.missing(stored)
        if texts and has_sources and {*self.source_names(stored.metadata)} <= {*texts}:
            return None
        what = (
            f"embeddings of the source classes' names by {self.encoder}"
            if self.encoder
            else "hidden states of the tokens' texts"
        )
        return Problem(code="missing-text-states", text=what)


def _indices(names: Sequence[str], ask: Ask) -> list[int]:
    """The indices of the classes with the given names."""
    return [index for index, name in enumerate(image_card(ask.card).class_names) if name in names]


def _named(name: str, encoder: str) -> str:
    return f"{name} {encoder}" if encoder else name


def _own(texts: Sequence[str], ask: Ask) -> list[InputRead]:
    """The embeddings by the language model itself, which are read with everything else."""
    width = text_card(ask.card).d_model
    return [InputRead(tensor=TENSOR, key=text, request=_request(text, ask), field="hidden", width=width) for text in texts]


def _encoded(texts: Sequence[str], encoder: str, ask: Ask) -> list[KnownRead]:
    """The embeddings by an encoder, which is queried immediately."""
    known = []
    for text, output in zip(texts, ask([_request(text, ask) for text in texts]), strict=True):
        assert isinstance(output, ReadOutput)
        assert output.hidden is not None
        known.append(KnownRead(tensor=_named(TENSOR, encoder), key=text, numbers=output.hidden))
    return known


def _request(text: str, ask: Ask) -> Request:
    """Requests the mean hidden state of the text's tokens, without the tokens that the tokenizer inserts before every text."""
    card = text_card(ask.card)
    return Request(
        input=TextInput(ids=encode_text(text or " ", card)), verb=Read(hidden_layer=-1, mean_from=len(card.tokenizer.bos))
    )
