"""Fixed-format manipulation at the context: instruction, demonstrations, query, from one template.

(fixed, input, concatenative): in-context learning (Brown et al. 2020, 2005.14165).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from promptkit.errors import PromptkitError
from promptkit.manipulate.demos import Choose, Selector, zero
from promptkit.manipulate.order import Order, given
from promptkit.registry import settings_of
from promptkit.render import chat, continuations, encode, framed
from promptkit.template import LABEL, Template
from promptkit.types import Card, Example, Kind, LabelledExample, Piece, Rendered, TextInput


@dataclass(frozen=True)
class Prompt:
    """An instruction, demonstrations of the task, and the query."""

    template: Template | str | Path
    """A template, the name of a shipped one, or the path of a `.j2` file."""
    _: KW_ONLY
    demos: Selector = field(default_factory=zero)
    """Which demonstrations are shown: `demos.balanced(k=8, seed=0)`."""
    order: Order = field(default_factory=given)
    """In which order."""
    instruction: str | None = None
    """Replaces the template's instruction block; "" shows none."""
    chat: bool = False
    """Whether to use the model's chat template, each demonstration a turn of user and of assistant."""

    kind: ClassVar[Kind] = Kind(format="fixed", location="input", operator="concatenative")

    def __post_init__(self) -> None:
        """Load the template if it is named."""
        if isinstance(self.demos, (type, str)) or isinstance(self.order, (type, str)):
            raise PromptkitError(
                "A prompt takes objects, not classes or names",
                got=f"demos={self.demos!r}, order={self.order!r}",
                hint="Write demos=pk.demos.balanced(k=8), with parentheses",
            )
        if not isinstance(self.instruction, str | None):
            raise PromptkitError("An instruction is a text", got=repr(self.instruction))
        if not isinstance(self.template, Template):
            object.__setattr__(self, "template", Template.load(self.template))

    @property
    def loaded(self) -> Template:
        """The template itself."""
        assert isinstance(self.template, Template)
        return self.template

    @property
    def needs_pool(self) -> bool:
        """Whether it shows demonstrations at all."""
        return getattr(self.demos, "k", None) != 0  # a selector of somebody's own may have no such field

    def settings(self) -> Mapping[str, object]:
        """Template (by content), demonstrations, order, instruction and chat."""
        return {
            "template": self.loaded.name,
            "template_sha256": hashlib.sha256(self.loaded.source.encode("utf-8", "surrogatepass")).hexdigest()[:16],
            "demos": settings_of(self.demos),
            "order": settings_of(self.order),
            "instruction": self.instruction,
            "chat": self.chat,
        }

    def bind(self, pool: Sequence[LabelledExample], words: Mapping[str, str]) -> BoundPrompt:
        """The prompt over a pool of demonstrations; `words` shows each label, in the declared order, if labels are declared."""
        foreign = sorted({row.label for row in pool} - set(words)) if self.needs_pool and words else []
        if foreign:
            raise PromptkitError(
                f"There is no word for {', '.join(foreign[:5])}, which rows of the pool are labelled", got=", ".join(words)
            )
        return BoundPrompt(prompt=self, words=words, choose=self.demos.over(pool, tuple(words)))


Demonstrations = tuple[LabelledExample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    """A prompt with certain demonstrations, and what is scored behind it."""

    pieces: tuple[Piece, ...]
    input: TextInput
    targets: tuple[str, ...]
    continuations: tuple[tuple[int, ...], ...]
    kept: tuple[int, ...]
    """The prompt's ids up to the boundary from which every target is scored."""

    @property
    def length(self) -> int:
        """Tokens of the prompt with its longest answer."""
        return len(self.kept) + max(map(len, self.continuations), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPrompt:
    """A prompt with its pool: a pure function of a row, the model's card and the words to score."""

    prompt: Prompt
    words: Mapping[str, str]
    """Label -> the word that demonstrations show; empty where answers stand as they are."""
    choose: Choose

    def __call__(
        self, example: Example, card: Card, words: Sequence[str] = (), *, room: int = 0, like: Example | None = None
    ) -> Rendered:
        """What the model reads for a row, and a continuation for each of `words`, or `room` tokens for a text.

        The demonstrations are those shown for the row itself, or for the row that it shall be `like`. A prompt that is too
        long for the model loses whole demonstrations, the farthest from the query first, the same for every word.
        """
        chosen = self.prompt.order.arrange(self.choose(like or example))
        drop, prompt = self._fitting(like or example, chosen, card, words, room)
        if like is not None:
            prompt = self._encoded(example, chosen[drop:], card, words)
        if not prompt.kept:
            raise PromptkitError(
                f"The prompt of row {example.id} is empty: a model that adds no BOS token has nothing to go on from",
                hint="Give it an instruction or demonstrations, or a text in the input block",
            )
        length = len(prompt.kept)
        spans = tuple(replace(span, stop=min(span.stop, length)) for span in prompt.input.spans if span.start < length)
        return Rendered(
            input=replace(prompt.input, ids=prompt.kept, spans=spans),
            pieces=prompt.pieces,
            demos=tuple(row.id for row in chosen[drop:]),
            dropped=tuple(row.id for row in chosen[:drop]),
            targets=prompt.targets,
            continuations=prompt.continuations,
            boundary=len(prompt.input.ids) - length,
            stop=() if self.prompt.chat else (self._block("separator", {}),),
        )

    def _fitting(
        self, example: Example, chosen: Demonstrations, card: Card, words: Sequence[str], room: int
    ) -> tuple[int, _Encoded]:
        """How many demonstrations, from the far end, a row's prompt has no room for, and the prompt of the rest."""
        for drop in range(len(chosen) + 1):
            prompt = self._encoded(example, chosen[drop:], card, words)
            if prompt.length + room <= card.context_length:
                return drop, prompt
        raise PromptkitError(
            f"The prompt of row {example.id} has {len(prompt.input.ids)} tokens without any demonstration and "
            f"{prompt.length - len(prompt.kept) + room} for the answer, and the model takes {card.context_length} in all",
            hint="Shorten the row's text or the instruction, or use a model with a longer context",
        )

    def _encoded(self, example: Example, shown: Demonstrations, card: Card, words: Sequence[str]) -> _Encoded:
        pieces = self._pieces(example, shown, card)
        text_input = encode(pieces, card.tokenizer)
        targets = tuple(self._target(example, word) for word in words)
        scored, boundary = continuations(pieces, targets, card.tokenizer)
        kept = text_input.ids[: len(text_input.ids) - boundary]
        return _Encoded(pieces=pieces, input=text_input, targets=targets, continuations=scored, kept=kept)

    def _pieces(self, example: Example, shown: Sequence[LabelledExample], card: Card) -> tuple[Piece, ...]:
        return self._turns(example, shown, card) if self.prompt.chat else self._text(example, shown, card)

    def _text(self, example: Example, shown: Sequence[LabelledExample], card: Card) -> tuple[Piece, ...]:
        separator = Piece(text=self._block("separator", {}), part="separator")
        pieces = []
        if instruction := self._instruction():
            pieces += [Piece(text=instruction, part="instruction"), separator]
        for number, row in enumerate(shown, start=1):
            part = f"demonstration {number}"
            text = self._block("input", row.inputs) + self._shown(row)
            pieces += [Piece(text=text, part=part), separator]
        pieces.append(Piece(text=self._block("input", example.inputs), part="query"))
        return framed(pieces, card.tokenizer)

    def _turns(self, example: Example, shown: Sequence[LabelledExample], card: Card) -> tuple[Piece, ...]:
        turns = []
        for number, row in enumerate(shown, start=1):
            part = f"demonstration {number}"
            turns.append(("user", [Piece(text=self._block("input", row.inputs).strip(), part=part)]))
            turns.append(("assistant", [Piece(text=self._shown(row), part=part)]))
        turns.append(("user", [Piece(text=self._block("input", example.inputs).strip(), part="query")]))
        pieces = None
        if instruction := self._instruction().strip():
            told = Piece(text=instruction, part="instruction")
            pieces = chat([("system", [told]), *turns], card.tokenizer)
            separator = Piece(text=self._block("separator", {}), part="separator")
            turns[0] = ("user", [told, separator, *turns[0][1]])
        if pieces is None:
            pieces = chat(turns, card.tokenizer)
        if pieces is None:
            raise PromptkitError(
                "The model has no chat template that takes these turns",
                hint="Leave out --chat for a base model, or use an instruction-tuned one",
            )
        return pieces

    def _instruction(self) -> str:
        written = self.prompt.instruction
        return self._block("instruction", {}) if written is None else written

    def _shown(self, row: LabelledExample) -> str:
        """A demonstration's answer, with its working."""
        return self._target(row, self.words.get(row.label, row.label), row.working)

    def _target(self, row: Example, word: str, working: Mapping[str, str] = MappingProxyType({})) -> str:
        text = self._block("target", {**row.inputs, **working, LABEL: word})
        return text.strip() if self.prompt.chat else text

    def _block(self, name: str, values: Mapping[str, object]) -> str:
        labels = {"labels": tuple(self.words.values())} if self.words else {}
        return self.prompt.loaded.render(name, {**labels, **values})
