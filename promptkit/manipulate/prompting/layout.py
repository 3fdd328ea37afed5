"""A prompt with certain demonstrations -> token ids and what is scored behind them.

Which demonstrations are shown, and in which order, is chosen elsewhere; here whole ones are left out if the model's context
has no room for them. Ids and spans are built in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from promptkit.core.alignment import Extractor, OutputReader, Scorer
from promptkit.core.errors import TaskError, TemplateError, Unsupported
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.inputs import Piece, TextInput
from promptkit.core.model import Card
from promptkit.core.rendered import Rendered
from promptkit.core.sequences import common_prefix_length
from promptkit.inputs.text.blocks import MARKS
from promptkit.inputs.text.encoding import chat, continuations, encode, framed, slotted, turn_end, unslotted
from promptkit.inputs.text.template import LABEL, Template
from promptkit.manipulate.prompting.outline import Outline
from promptkit.manipulate.prompting.rows import Demonstrations

REASONING = "reasoning"
"""The part of a prompt in which the model reasons, and the variable that holds a demonstration's worked steps."""
_MARK = "\ue000"
"""Of no alphabet: Jinja's filters leave it as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    """A prompt with certain demonstrations, and what is scored behind it."""

    pieces: tuple[Piece, ...]
    input: TextInput
    targets: tuple[str, ...]
    continuations: tuple[tuple[int, ...], ...]
    label_token_counts: tuple[int, ...]
    """See `Rendered`."""
    kept: tuple[int, ...]
    """The prompt's ids up to the boundary from which every target is scored."""

    @property
    def length(self) -> int:
        """Tokens of the prompt with its longest answer."""
        return len(self.kept) + max(map(len, self.continuations), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLayout:
    """A prompt as one model will read it, still without demonstrations: a pure function of a row and of them."""

    template: Template
    instruction: str | None
    """Replaces the template's instruction block."""
    chat: bool
    """Whether it stands in the model's chat template."""
    card: Card
    reading: OutputReader
    """Says which words are scored behind the prompt, or how much is written."""
    channel: bool = False
    """Whether the input is scored behind each label; demonstrations are turned likewise, the target block before the input."""
    around: Callable[[str], str] | None = None
    """What stands between an input and its answer if a reasoning does; unless given, the template alone says so."""
    ends: bool = False
    """Whether an answer is scored to where a text of the model's would end: what separates examples, or the end of a turn."""

    @property
    def shows_reasoning(self) -> bool:
        """Whether a demonstration's working is shown."""
        return self.around is not None or REASONING in self.template.variables

    def __call__(
        self, example: Example, chosen: Demonstrations, *, context_of: Example | None = None, suffix: str = "", drop: int = 0
    ) -> Rendered:
        """What the model reads for a row behind the demonstrations chosen for it, or for the row that it shall be `like`.

        `behind` stands between the query and the answer: a reasoning. A prompt that is too long for the model loses whole
        demonstrations, the farthest from the query first, the same for every word that is scored; `drop` of them at least.
        Behind a reasoning an answer is a line of its own words, and not the template's target block.
        """
        drop, prompt = self._fitting(context_of or example, chosen, suffix, least=drop)
        if context_of is not None:
            prompt = self._encoded(example, chosen[drop:], suffix)
        return self._rendered(example, prompt, chosen, drop, stop=("\n",) if suffix else self._separating)

    def premise(self, example: Example) -> Rendered:
        """The prompt's end alone, what stands behind the last variable of the input block (Holtzman et al. 2021, 2104.08315).

        Of the row it uses the names of its variables.
        """
        end = self._block("input", dict.fromkeys(example.inputs, _MARK)).rpartition(_MARK)[2]
        bare = replace(example, inputs=dict.fromkeys(example.inputs, ""))
        return self._rendered(bare, self._scored(bare, self._framed((Piece(text=end, part="query"),)), ""), (), 0, stop=())

    def _rendered(
        self, example: Example, prompt: _Encoded, chosen: Demonstrations, drop: int, stop: tuple[str, ...]
    ) -> Rendered:
        if not prompt.kept:
            raise TemplateError(
                f"The prompt of row {example.id} is empty, and this model adds no BOS token",
                code="empty-prompt",
                hint="Add an instruction, demonstrations, or a text in the input block",
                row=example.id,
                template=self.template.name,
            )
        length = len(prompt.kept)
        spans = tuple(replace(span, stop=min(span.stop, length)) for span in prompt.input.spans if span.start < length)
        return Rendered(
            input=replace(prompt.input, ids=prompt.kept, spans=spans),
            pieces=prompt.pieces,
            demos=tuple(row.id for row in chosen[drop:]),
            demo_labels=tuple(row.label for row in chosen[drop:]) if self.reading.labels else (),
            dropped=tuple(row.id for row in chosen[:drop]),
            targets=prompt.targets,
            continuations=prompt.continuations,
            rescored_tokens=len(prompt.input.ids) - length,
            label_token_counts=prompt.label_token_counts,
            stop=stop,
        )

    @property
    def _separator(self) -> str:
        return self._block("separator", {})

    @property
    def _separating(self) -> tuple[str, ...]:
        """What would begin a further example."""
        return () if self.chat else (self._separator,)

    def outline(self, variables: Iterable[str]) -> Outline:
        """What stands around these variables in a row's input, in text."""
        return Outline.of(lambda values: unslotted(self._block("input", values), MARKS), variables)

    def opening(self, example: Example, chosen: Demonstrations) -> TextInput:
        """The prompt up to the first variable of its query: the model goes on with an example of its own."""
        begun = Outline.of(lambda values: self._block("input", values), example.inputs).opening
        pieces = (*self._text(example, chosen)[:-1], *([Piece(text=begun, part="query")] if begun else []))
        return encode(self._slotted(pieces), self.card.tokenizer)

    def _slotted(self, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
        slots = self.template.slots()
        return slotted(pieces, slots, MARKS) if slots else tuple(pieces)

    def another(self, example: Example) -> tuple[str, ...]:
        """What would begin a further example behind a text that the model writes; nothing in a chat, where turns end."""
        begins = self._separator + self.outline(example.inputs).opening
        return (begins,) if begins and not self.chat else ()

    def without_room(self, example: Example, chosen: Demonstrations, context_tokens: int) -> int:
        """How many demonstrations, from the far end, are left out so that a reasoning of `room` tokens has its place."""
        return self._fitting(example, chosen, self.around("") if self.around else "", context_tokens=context_tokens)[0]

    def _fitting(
        self, example: Example, chosen: Demonstrations, suffix: str, *, least: int = 0, context_tokens: int = 0
    ) -> tuple[int, _Encoded]:
        """How many demonstrations, from the far end, a row's prompt has no room for, and the prompt of the rest."""
        context_tokens += self.reading.max_tokens if isinstance(self.reading, Extractor) else 0
        for drop in range(least, len(chosen) + 1):
            prompt = self._encoded(example, chosen[drop:], suffix)
            if prompt.length + context_tokens <= self.card.context_length:
                return drop, prompt
        answer_tokens = prompt.length - len(prompt.kept) + context_tokens
        raise TaskError(
            f"The prompt of row {example.id} is too long: without demonstrations it has {len(prompt.input.ids)} tokens and "
            f"{answer_tokens} for the answer, but the context has {self.card.context_length}",
            code="prompt-too-long",
            hint="Shorten the row's text or the instruction, or use a model with a longer context",
            row=example.id,
            tokens=len(prompt.input.ids),
            answer_tokens=answer_tokens,
            context_tokens=self.card.context_length,
        )

    def _encoded(self, example: Example, shown: Demonstrations, suffix: str) -> _Encoded:
        pieces = self._turns(example, shown) if self.chat else self._text(example, shown)
        return self._scored(example, pieces, suffix)

    def _scored(self, example: Example, pieces: tuple[Piece, ...], suffix: str) -> _Encoded:
        """Pieces, a reasoning behind them, and the row's words behind that."""
        pieces = self._slotted(pieces)
        reasoning = suffix.lstrip() if self.chat else suffix
        pieces = (*pieces, *([Piece(text=reasoning, part=REASONING)] if reasoning else []))
        text_input = encode(pieces, self.card.tokenizer)
        words = self.reading.words(example) if isinstance(self.reading, Scorer) else ()
        end = self._separator if self.ends and not self.chat else ""
        closing = turn_end(self.card.tokenizer) if self.ends and self.chat else ()
        targets = tuple((f" {word}" if suffix else self._target(example, word)) + end for word in words)
        labels = targets if self.channel else ()
        if self.channel:
            targets = tuple(label + self._block("input", example.inputs) for label in labels)
        scored, boundary = continuations(pieces, (*targets, *labels), self.card.tokenizer)
        scored, alone = scored[: len(targets)], scored[len(targets) :]
        pairs = zip(scored, alone, strict=True) if self.channel else ()
        given = tuple(common_prefix_length(whole, label) for whole, label in pairs)
        scored = tuple((*ids, *closing) for ids in scored)
        kept = text_input.ids[: len(text_input.ids) - boundary]
        return _Encoded(
            pieces=pieces, input=text_input, targets=targets, continuations=scored, label_token_counts=given, kept=kept
        )

    def _framed(self, pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
        """One turn of the user's, or a text of its own."""
        if not self.chat:
            return framed(pieces, self.card.tokenizer)
        return self._chat([("user", [replace(piece, text=piece.text.strip()) for piece in pieces])])

    def _text(self, example: Example, shown: Demonstrations) -> tuple[Piece, ...]:
        separator = Piece(text=self._separator, part="separator")
        pieces = []
        if instruction := self._instruction():
            pieces += [Piece(text=instruction, part="instruction"), separator]
        for number, row in enumerate(shown, start=1):
            part = f"demonstration {number}"
            texts = [self._block("input", row.inputs), self._shown(row)]
            pieces += [Piece(text="".join(texts[::-1] if self.channel else texts), part=part), separator]
        if not self.channel:
            pieces.append(Piece(text=self._block("input", example.inputs), part="query"))
        return framed(pieces, self.card.tokenizer)

    def _turns(self, example: Example, shown: Demonstrations) -> tuple[Piece, ...]:
        turns = []
        for number, row in enumerate(shown, start=1):
            part = f"demonstration {number}"
            turns.append(("user", [Piece(text=self._block("input", row.inputs).strip(), part=part)]))
            turns.append(("assistant", [Piece(text=self._shown(row), part=part)]))
        turns.append(("user", [Piece(text=self._block("input", example.inputs).strip(), part="query")]))
        pieces = None
        if instruction := self._instruction().strip():
            told = Piece(text=instruction, part="instruction")
            pieces = chat([("system", [told]), *turns], self.card.tokenizer)
            separator = Piece(text=self._separator, part="separator")
            turns[0] = ("user", [told, separator, *turns[0][1]])
        return self._chat(turns) if pieces is None else pieces

    def _chat(self, turns: Sequence[tuple[str, Sequence[Piece]]]) -> tuple[Piece, ...]:
        pieces = chat(turns, self.card.tokenizer)
        if pieces is None:
            raise Unsupported(
                "The model has no chat template that accepts these turns",
                code="no-chat-template",
                hint="Leave out --chat for a base model, or use an instruction-tuned model",
                turns=tuple(role for role, _ in turns),
            )
        return pieces

    def _instruction(self) -> str:
        return self._block("instruction", {}) if self.instruction is None else self.instruction

    def _shown(self, row: LabeledExample) -> str:
        """A demonstration's answer, with its working."""
        word = self.reading.label_words().get(row.label, row.label)
        if self.around is not None and REASONING in row.rationale:
            shown = f"{self.around(row.rationale[REASONING])} {word}"
            return shown.strip() if self.chat else shown
        return self._target(row, word, row.rationale)

    def _target(self, row: Example, word: str, rationale: Mapping[str, str] = MappingProxyType({})) -> str:
        text = self._block("target", {**row.inputs, **rationale, LABEL: word})
        return text.strip() if self.chat else text

    def _block(self, name: str, values: Mapping[str, object]) -> str:
        words = self.reading.label_words()
        labels = {"labels": tuple(words.values())} if words else {}
        return self.template.render(name, {**labels, **values})
