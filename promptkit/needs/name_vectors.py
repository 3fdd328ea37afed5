"""Embeddings of names: of source classes and of label words, as mean hidden states of the model's last layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self, cast

from promptkit.core.asking import Asking, InputRead, Problem, ReadKind, Reads
from promptkit.core.inputs import TextInput
from promptkit.core.manipulation import Ask
from promptkit.core.model import text_card
from promptkit.core.needs import Need, Stored
from promptkit.core.requests import Read, Request
from promptkit.inputs.text.encoding import encode_text
from promptkit.needs.source_logprobs import SourceLogprobs

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

TENSOR = "names"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameEmbeddings:
    """Embeddings of names in one space."""

    sources: Floats
    """The names of the source classes, shape (S, width); of the label words if these are the source classes."""
    labels: Floats
    """The label words, shape (K, width)."""


@dataclass(frozen=True, slots=True)
class NameVectors(Need[NameEmbeddings]):
    """Embeddings of the names of source classes and of the label words."""

    sources: SourceLogprobs | None
    """The source classes; None if these are the label words."""

    kind: ClassVar[str] = "name vectors"
    reads_of: ClassVar[frozenset[ReadKind]] = frozenset({"answer slot", "hidden states"})

    @property
    def requires(self) -> tuple[Need[object], ...]:
        """The source classes."""
        return () if self.sources is None else (self.sources,)

    @classmethod
    def reads(cls, needs: Sequence[Self], asking: Asking) -> Reads:
        """Reads each text once."""
        named = [name for need in needs for name in need.source_names(asking.metadata)]
        texts = [*dict.fromkeys([*named, *asking.label_words.values()])]
        return Reads(metadata={"texts": texts}, inputs=[_text_read(text, asking.ask) for text in texts])

    def source_names(self, metadata: Mapping[str, object]) -> tuple[str, ...]:
        """Returns the names of the source classes from the metadata of reads; none if these are the label words."""
        return () if self.sources is None else self.sources.names(metadata)

    def load(self, stored: Stored) -> NameEmbeddings:
        """Returns the embeddings."""
        texts = cast("Sequence[str]", stored.metadata["texts"])
        positions = {text: position for position, text in enumerate(texts)}
        vectors = stored.tensor(TENSOR).astype(float)
        words = [*stored.label_words.values()]
        names = words if self.sources is None else self.source_names(stored.metadata)
        sources, labels = (vectors[[positions[text] for text in texts]] for texts in (names, words))
        return NameEmbeddings(sources=sources, labels=labels)

    def missing(self, stored: Stored) -> Problem | None:
        """Returns a problem if the names were not embedded."""
        if any(isinstance(need, NameVectors) and self.sources in (None, need.sources) for need in stored.needs):
            return None
        return Problem(code="missing-text-states", text="hidden states of the tokens' texts")


def _text_read(text: str, ask: Ask) -> InputRead:
    """Reads the mean hidden state of the text's tokens, without the tokens that the tokenizer inserts before every text."""
    card = text_card(ask.card)
    verb = Read(hidden_layer=-1, mean_from=len(card.tokenizer.bos))
    request = Request(input=TextInput(ids=encode_text(text or " ", card)), verb=verb)
    return InputRead(tensor=TENSOR, key=text, request=request, field="hidden", width=card.d_model)
