"""Content-free inputs: texts without content, or random words of the task, in the contexts of the evaluated rows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from promptkit.core.capabilities import Feature
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.hashing import sha256_hex, short_hash
from promptkit.core.inputs import Modality
from promptkit.core.need_context import FitPart, NeedContext, Problem, PromptedRow, context_id
from promptkit.core.needs import Need, Stored
from promptkit.core.rendered import Rendered
from promptkit.core.seeding import hash_rank
from promptkit.core.state import stateful

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

_log = logging.getLogger(__name__)


@stateful("random-words")
@dataclass(frozen=True, slots=True)
class RandomWords:
    """Random in-domain words used as content-free input (Fei et al. 2023, arXiv 2305.19148).

    The words are drawn by hash from the inputs of the fit part, for each variable as many as its texts have on average.
    """

    seed: int
    """The seed of the draw."""
    number: int
    """Which of several draws with the same seed, counted from 0."""


@stateful("drawn-words")
@dataclass(frozen=True, slots=True)
class DrawnWords:
    """Random words that were drawn earlier."""

    texts: tuple[tuple[str, str], ...]
    """The variables, each with the words that replace its text."""


ContentFreeInput = str | RandomWords | DrawnWords
"""Replaces the inputs of a row to measure the bias of a prompt: one text for every variable, such as `N/A`, or random words."""


@stateful("content-free")
@dataclass(frozen=True, slots=True)
class ContentFree(Need["Floats"]):
    """The label log-probabilities of a content-free input in every context of the evaluated rows, shape (contexts, K)."""

    content: ContentFreeInput

    kind: ClassVar[str] = "content-free"
    features: ClassVar[frozenset[Feature]] = frozenset({"text"})

    @property
    def uses_fit_part(self) -> bool:
        """Whether words are drawn from the fit part."""
        return isinstance(self.content, RandomWords)

    def asks_by_fit_part(self, modality: Modality) -> bool:
        """Returns whether words are drawn from the fit part."""
        return self.uses_fit_part

    @property
    def contains_texts(self) -> bool:
        """Whether it contains words that were drawn from rows."""
        return isinstance(self.content, DrawnWords)

    def determined_by(self, part: FitPart) -> Sequence[LabeledExample]:
        """Returns all rows if words are drawn from them."""
        return part.rows if self.uses_fit_part else ()

    @classmethod
    def further_rows(cls, needs: Sequence[Self], need_context: NeedContext) -> Sequence[PromptedRow]:
        """Returns one row for each content-free input in each context of the evaluated rows."""
        contents, rows = [need.content for need in needs], need_context.evaluated
        contexts = _first_in_context(row.rendered for row in rows)
        _warn_if_many(len(rows), len(contexts), len(contents))
        inputs = _inputs(contents, list(rows[0].example.inputs), need_context.fit)
        pairs = [(context, rows[index].example, content) for context, index in contexts.items() for content in contents]
        examples = [Example(id=content_free_name(content), inputs=inputs[content]) for *_, content in pairs]
        rendered = need_context.encode(examples, context_of=[row for _, row, _ in pairs])
        return [
            PromptedRow(id=content_free_id(content, context), example=example, rendered=prompt)
            for (context, _, content), example, prompt in zip(pairs, examples, rendered, strict=True)
        ]

    def load(self, stored: Stored) -> Floats:
        """Returns the scores in each context."""
        return stored.scores(self._records(stored))

    def missing(self, stored: Stored) -> Problem | None:
        """Returns a problem if the input was not read in every context."""
        if all(record in stored for record in self._records(stored)):
            return None
        return Problem(code="missing-content-free", text=f"the scores of the {content_free_name(self.content)}")

    @classmethod
    def first_missing(cls, needs: Sequence[Self], stored: Stored) -> Problem | None:
        """Returns a problem with the number of inputs that were not read in every context, or None."""
        absent = sum(need.missing(stored) is not None for need in needs)
        text, fields = f"{absent} of the {len(needs)} content-free inputs", {"missing": absent, "needed": len(needs)}
        return Problem(code="missing-content-free", text=text, fields=fields) if absent else None

    def is_shared(self, *, has_labels: bool, one_context: bool) -> bool:
        """Returns whether all rows have the same context."""
        return one_context

    def fixed(self, stored: Stored, fit: Sequence[LabeledExample]) -> ContentFree:
        """Returns the need with the words that were drawn, if any."""
        if not isinstance(self.content, RandomWords):
            return self
        texts = _inputs([self.content], list(fit[0].inputs), fit)[self.content]
        return ContentFree(DrawnWords(tuple(texts.items())))

    def _records(self, stored: Stored) -> list[str]:
        return [content_free_id(self.content, context) for context in stored.contexts]


def content_free_name(content: ContentFreeInput) -> str:
    """Returns the name of a content-free input, without its context."""
    match content:
        case RandomWords():
            return f"bag {content.number} of seed {content.seed}"
        case DrawnWords():
            return f"words {short_hash(repr(content.texts))}"
    return f"content-free {content!r}"


def content_free_id(content: ContentFreeInput, context: str) -> str:
    """Returns the id of the record of a content-free input: `content-free 'N/A' after CONTEXT`.

    Args:
        content: The input.
        context: The context, as `context_id` returns it.
    """
    return f"{content_free_name(content)} after {sha256_hex(context)[:12]}"


def _first_in_context(rendered: Iterable[Rendered]) -> dict[str, int]:
    """Each context -> the index of the first row in it."""
    contexts: dict[str, int] = {}
    for index, row in enumerate(rendered):
        contexts.setdefault(context_id(row.demos), index)
    return contexts


def _warn_if_many(rows: int, contexts: int, contents: int) -> None:
    if contexts > 1 and contexts * contents > rows:
        message = "The %d rows have %d different contexts, so their calibrations need %d more model requests."
        _log.warning(message, rows, contexts, contexts * contents)


def _inputs(
    contents: Sequence[ContentFreeInput], variables: Sequence[str], fit: Sequence[Example]
) -> dict[ContentFreeInput, Mapping[str, str]]:
    """Each content-free input -> the template variables; independent of the order of `fit`."""
    needs_words = any(isinstance(content, RandomWords) for content in contents)
    ordered = sorted(fit, key=lambda row: row.id) if needs_words else []
    words = {name: [word for row in ordered for word in row.texts[name].split()] for name in variables}
    texts: dict[ContentFreeInput, Mapping[str, str]] = {}
    for content in contents:
        match content:
            case str():
                texts[content] = dict.fromkeys(variables, content)
            case DrawnWords():
                texts[content] = dict(content.texts)
            case RandomWords():
                texts[content] = {name: _random_words(content, name, words[name], len(ordered)) for name in variables}
    return texts


def _random_words(content: RandomWords, variable: str, words: Sequence[str], rows: int) -> str:
    """As many words as a row has on average, drawn with replacement."""
    keys = ("bag", str(content.number), variable)
    ranks = [hash_rank(content.seed, *keys, str(position)) for position in range(round(len(words) / rows))]
    return " ".join(words[int.from_bytes(rank[:8]) % len(words)] for rank in ranks)
