"""Renders a template's blocks into the pieces of a prompt: plain text, or the turns of a chat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from promptkit.core.caller import setting
from promptkit.core.errors import TemplateError, Unsupported
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.inputs import Piece
from promptkit.core.model import DEFAULT_CHAT, ChatOptions, TextCard
from promptkit.core.output_reader import OutputReader
from promptkit.core.variables import LABEL
from promptkit.inputs.text.blocks import MARKS
from promptkit.inputs.text.chat import chat
from promptkit.inputs.text.encoding import closed, framed, slotted, unslotted
from promptkit.inputs.text.masked import Slot
from promptkit.inputs.text.template import Template
from promptkit.manipulate.prompting.outline import Outline
from promptkit.manipulate.prompting.rows import Demonstrations

REASONING = "reasoning"
"""The part of a prompt in which the model reasons, and the template variable of a demonstration's rationale."""
PLACEHOLDER = "\ue000"
"""A private-use character, which no template contains and Jinja's filters leave unchanged."""

KEPT_DEMONSTRATIONS = 2**12
"""Number of demonstrations whose texts are kept, so that they are not rendered for each row that they are shown with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptBlocks:
    """A template with everything that determines its text: instruction, label words, chat turns and reasoning."""

    template: Template
    """The template."""
    instruction: str | None
    """Replaces the template's instruction block; "" shows none."""
    chat: bool
    """Whether to use the model's chat template."""
    card: TextCard
    """The model that reads the prompt."""
    reader: OutputReader
    """Determines the label words, and what is scored or generated after the prompt."""
    chat_options: ChatOptions = DEFAULT_CHAT
    """How the chat template is rendered."""
    channel: bool = False
    """Whether the input is scored after each label; in demonstrations the target block then precedes the input block."""
    format_reasoning: Callable[[str], str] | None = None
    """Formats a reasoning as the text between an input and its answer; by default the template determines that text."""
    _shown: dict[int, tuple[LabeledExample, str, str]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Demonstrations that were rendered, with the texts of their input and answer, by the identity of the object."""

    @property
    def shows_reasoning(self) -> bool:
        """Whether the reasoning of demonstrations is shown."""
        return self.format_reasoning is not None or REASONING in self.template.variables

    @property
    def separator(self) -> str:
        """The text between two examples."""
        return self.block("separator", {})

    def block(self, name: str, values: Mapping[str, object]) -> str:
        """Renders a block of the template with these values and those that the reader provides, such as the label words."""
        return self.template.render(name, {**self.reader.template_values(), **values})

    def target(self, row: Example, word: str) -> str:
        """Renders the target block of a row with a label word."""
        text = self.block("target", {**row.texts, LABEL: word})
        return text.strip() if self.chat else text

    def slot(self, row: Example, words: Sequence[str]) -> Slot:
        """Renders the target block of a row around the label, for a model that reads the text after the label too.

        Raises:
            TemplateError: The target block does not have the label in one place, with the same text around each label.
        """
        before, *others = self.target(row, PLACEHOLDER).split(PLACEHOLDER)
        texts = [self.target(row, word) for word in words]
        after = others[0] if others else ""
        around = len(before) + len(after)
        if len(others) != 1 or any(
            len(text) < around or not (text.startswith(before) and text.endswith(after)) for text in texts
        ):
            raise TemplateError(
                f"A masked language model needs the label in one place of the target block of template {self.template.name}, "
                "and the same text around every label",
                code="no-single-slot",
                hint="Write the label once: {% block target %} It was {{ label }}.{% endblock %}",
                template=self.template.name,
                texts=tuple(texts[:3]),
            )
        return Slot(before=before, labels=tuple(text[len(before) : len(text) - len(after)] for text in texts), after=after)

    def outline(self, variables: Iterable[str]) -> Outline:
        """Returns the literal text around these variables in the input block."""
        return Outline.from_renderer(lambda values: unslotted(self.block("input", values), MARKS), variables)

    def pieces(self, example: Example, demonstrations: Demonstrations) -> tuple[Piece, ...]:
        """Returns the pieces of a prompt: instruction, demonstrations, query."""
        return self._turns(example, demonstrations) if self.chat else self.plain_pieces(example, demonstrations)

    def plain_pieces(self, example: Example, demonstrations: Demonstrations) -> tuple[Piece, ...]:
        """Returns the pieces of a prompt in plain text, without a chat template."""
        separator = Piece(text=self.separator, part="separator")
        pieces: list[Piece] = []
        if instruction := self._instruction():
            pieces += [Piece(text=instruction, part="instruction"), separator]
        for number, row in enumerate(demonstrations, start=1):
            texts = self._demonstration(row)
            pieces += [Piece(text="".join(texts[::-1] if self.channel else texts), part=_part(number)), separator]
        if not self.channel:
            pieces.append(Piece(text=self.block("input", example.texts), part="query"))
        return framed(pieces, self.card.tokenizer)

    def bare_pieces(self, text: str) -> tuple[Piece, ...]:
        """Returns a query as the whole prompt, or as the only user turn."""
        if not self.chat:
            return framed((Piece(text=text, part="query"),), self.card.tokenizer)
        return self._chat([("user", [Piece(text=text.strip(), part="query")])])

    def closed(self, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
        """Returns the pieces with the tokens that close a prompt, which a causal model does not have and a chat has already."""
        return tuple(pieces) if self.chat else closed(pieces, self.card)

    def with_slots(self, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
        """Splits the pieces at the template's slots for learned vectors."""
        slots = self.template.slots()
        return slotted(pieces, slots, MARKS) if slots else tuple(pieces)

    def _turns(self, example: Example, demonstrations: Demonstrations) -> tuple[Piece, ...]:
        turns = []
        for number, row in enumerate(demonstrations, start=1):
            text, answer = self._demonstration(row)
            turns.append(("user", [Piece(text=text.strip(), part=_part(number))]))
            turns.append(("assistant", [Piece(text=answer, part=_part(number))]))
        turns.append(("user", [Piece(text=self.block("input", example.texts).strip(), part="query")]))
        if not (text := self._instruction().strip()):
            return self._chat(turns)
        instruction = Piece(text=text, part="instruction")
        pieces = chat([("system", [instruction]), *turns], self.card.tokenizer, self.chat_options)
        if pieces is not None:
            return pieces
        role, first = turns[0]  # the chat template has no system role
        turns[0] = (role, [instruction, Piece(text=self.separator, part="separator"), *first])
        return self._chat(turns)

    def _chat(self, turns: Sequence[tuple[str, Sequence[Piece]]]) -> tuple[Piece, ...]:
        pieces = chat(turns, self.card.tokenizer, self.chat_options)
        if pieces is None:
            raise Unsupported(
                "The model has no chat template that accepts these turns",
                code="no-chat-template",
                hint=f"Leave out {setting('chat')} for a base model, or use an instruction-tuned model",
                turns=tuple(role for role, _ in turns),
            )
        return pieces

    def _instruction(self) -> str:
        return self.block("instruction", {}) if self.instruction is None else self.instruction

    def _demonstration(self, row: LabeledExample) -> tuple[str, str]:
        """Returns the texts of the input and of the answer of a demonstration, which is rendered only once."""
        known = self._shown.get(id(row))
        if known is None or known[0] is not row:
            known = (row, self.block("input", row.texts), self._answer(row))
            if len(self._shown) >= KEPT_DEMONSTRATIONS:
                self._shown.clear()
            self._shown[id(row)] = known
        return known[1:]

    def _answer(self, row: LabeledExample) -> str:
        """Returns the answer of a demonstration, with its rationale."""
        words = self.reader.demonstrated(row)
        if self.format_reasoning is not None and REASONING in row.rationale:
            text = " ".join([self.format_reasoning(row.rationale[REASONING]), *words])
        else:
            text = "".join(self.block("target", {**row.texts, **row.rationale, LABEL: word}) for word in words)
        return text.strip() if self.chat else text


def _part(number: int) -> str:
    return f"demonstration {number}"
