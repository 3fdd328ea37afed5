"""Encodes a prompt: token ids, spans, and the continuations that are scored after it.

Selectors and orders choose the demonstrations. If the prompt is too long for the model's context, the layout drops whole
demonstrations, raises an error or marks the row as skipped. Ids and spans are built in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptkit.core.caller import setting, switch
from promptkit.core.errors import TaskError, TemplateError, Unsupported
from promptkit.core.examples import Example
from promptkit.core.formats import EncoderDecoderFormat, MaskedFormat
from promptkit.core.inputs import Piece, TextInput
from promptkit.core.rendered import Rendered, TooLong
from promptkit.core.sequences import common_prefix_length
from promptkit.core.thinking import ThoughtMarkers, has_closing, open_thought
from promptkit.inputs.text.chat import turn_end
from promptkit.inputs.text.encoder_decoder import encode_answers
from promptkit.inputs.text.encoding import FRAME, continuations, encode
from promptkit.inputs.text.masked import mask_slot
from promptkit.manipulate.prompting.blocks import PLACEHOLDER, REASONING, PromptBlocks
from promptkit.manipulate.prompting.outline import Outline
from promptkit.manipulate.prompting.rows import Demonstrations


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    """A prompt with certain demonstrations, and the continuations to score."""

    pieces: tuple[Piece, ...]
    input: TextInput
    targets: tuple[str, ...]
    continuations: tuple[tuple[int, ...], ...]
    prefix: tuple[int, ...]
    """The prompt's ids up to the boundary from which every target is scored."""
    answer_tokens: int
    """Number of tokens of the model's context that the longest continuation takes up."""
    rescored_tokens: int = 0
    """See `Rendered.rescored_tokens`."""
    label_token_counts: tuple[int, ...] = ()
    """See `Rendered.label_token_counts`."""

    @property
    def length(self) -> int:
        """Number of tokens of the prompt with its longest continuation."""
        return len(self.prefix) + self.answer_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLayout(PromptBlocks):
    """Encodes rows and demonstrations for one model; a pure function of both."""

    ends: bool = False
    """Whether answers are scored up to the end that the model would generate: the separator, or the end of a turn."""
    on_too_long: TooLong = "truncate-demos"
    """What happens to a row whose prompt does not fit the model's context."""

    def __call__(
        self,
        example: Example,
        demonstrations: Demonstrations,
        *,
        context_of: Example | None = None,
        suffix: str = "",
        drop: int = 0,
    ) -> Rendered:
        """Encodes the prompt of a row.

        Args:
            example: The row.
            demonstrations: Its demonstrations in order. If the prompt is too long and `on_too_long` is `truncate-demos`, the
                farthest from the query are dropped, the same ones for every continuation.
            context_of: Another row, whose prompt determines how many demonstrations are dropped, and whether it is skipped.
            suffix: A reasoning between the query and the answer. The answer then is the rest of its line, instead of the
                template's target block.
            drop: Minimum number of demonstrations to drop.

        Raises:
            TaskError: The prompt is too long: with `truncate-demos` even without demonstrations, with `error` as it is. Or the
                prompt with the demonstrations of `context_of` is.
            TemplateError: The prompt is empty.
        """
        drop, encoded, fits = self._fit(context_of or example, demonstrations, suffix, least=drop)
        if context_of is not None:
            encoded = self._encode(example, demonstrations[drop:], suffix)
            if fits and not self._fits(encoded, self._answer_tokens):
                raise self._too_long(example, encoded, len(demonstrations) - drop, self._answer_tokens)
        stop = ("\n",) if suffix else () if self.chat or self.card.format else (self.separator,)
        rendered = self._rendered(example, encoded, demonstrations, drop, stop=stop)
        return rendered if fits else replace(rendered, skipped=True)

    def premise(self, example: Example) -> Rendered:
        """Encodes the domain premise: the text after the last variable of the input block (Holtzman et al. 2021, 2104.08315).

        Args:
            example: A row. Only the names of its variables are used.
        """
        end = self.block("input", dict.fromkeys(example.inputs, PLACEHOLDER)).rpartition(PLACEHOLDER)[2]
        bare = replace(example, inputs=dict.fromkeys(example.inputs, ""))
        return self._rendered(bare, self._encode_pieces(bare, self.bare_pieces(end), ""), (), 0, stop=())

    def opening(self, example: Example, demonstrations: Demonstrations) -> TextInput:
        """Encodes the prompt up to the first variable of its query, from which a model generates a new row."""
        start = Outline.from_renderer(lambda values: self.block("input", values), example.inputs).opening
        query = [Piece(text=start, part="query")] if start else []
        pieces = self.closed((*self.plain_pieces(example, demonstrations)[:-1], *query))
        return encode(self.with_slots(pieces), self.card.tokenizer)

    def next_example_stop(self, example: Example) -> tuple[str, ...]:
        """Returns the stop strings that mark the start of a next example; none in a chat, where turns end."""
        start = self.separator + self.outline(example.inputs).opening
        return (start,) if start and not self.chat else ()

    def count_dropped(self, example: Example, demonstrations: Demonstrations, context_tokens: int) -> int | None:
        """Returns the number of demonstrations to drop, so that a reasoning of `context_tokens` tokens fits.

        None if the row is skipped, because it does not fit.
        """
        # the formatted placeholder, unlike an empty reasoning, has the space on both sides of a reasoning
        suffix = self.format_reasoning(PLACEHOLDER).replace(PLACEHOLDER, "") if self.format_reasoning else ""
        drop, _, fits = self._fit(example, demonstrations, suffix, context_tokens=context_tokens)
        return drop if fits else None

    def skip(self, example: Example, demonstrations: Demonstrations) -> Rendered:
        """Encodes the prompt of a row that is skipped, with all demonstrations."""
        encoded = self._encode(example, demonstrations, "")
        return replace(self._rendered(example, encoded, demonstrations, 0, stop=()), skipped=True)

    def _fit(
        self, example: Example, demonstrations: Demonstrations, suffix: str, *, least: int = 0, context_tokens: int = 0
    ) -> tuple[int, _Encoded, bool]:
        """Returns the number of demonstrations to drop, at least `least`, the prompt with the others, and whether it fits.

        Raises:
            TaskError: The prompt does not fit, and the row is not skipped.
        """
        context_tokens += self._answer_tokens
        most = len(demonstrations) if self.on_too_long == "truncate-demos" else least
        for drop in range(least, most + 1):
            encoded = self._encode(example, demonstrations[drop:], suffix)
            if self._fits(encoded, context_tokens):
                return drop, encoded, True
        if self.on_too_long == "skip":
            return drop, encoded, False
        raise self._too_long(example, encoded, len(demonstrations) - drop, context_tokens)

    @property
    def _answer_tokens(self) -> int:
        """Number of tokens of the context that are reserved for a generated answer; none if a decoder writes it."""
        in_context = not isinstance(self.card.format, EncoderDecoderFormat)
        return self.reader.answer_tokens if in_context else 0

    def _fits(self, encoded: _Encoded, context_tokens: int) -> bool:
        """Whether a prompt, its longest continuation and `context_tokens` more tokens fit the model's context."""
        return encoded.length + context_tokens <= self.card.context_length

    def _too_long(self, example: Example, encoded: _Encoded, demonstrations: int, context_tokens: int) -> TaskError:
        """The error for a row whose prompt does not fit, with the number of demonstrations in that prompt."""
        answer_tokens = encoded.answer_tokens + context_tokens
        ways = [
            "Shorten the row's text or the instruction" if not demonstrations else "Use fewer or shorter demonstrations",
            *(
                [f"drop those that do not fit with {setting('on_too_long', 'truncate-demos')}"]
                if demonstrations and self.on_too_long == "error"
                else []
            ),
            *([f"leave such rows out with {setting('on_too_long', 'skip')}"] if self.on_too_long != "skip" else []),
        ]
        return TaskError(
            f"The prompt of row {example.id} is too long: with {demonstrations or 'no'} demonstrations it has "
            f"{len(encoded.input.ids)} tokens and {answer_tokens} for the answer, but the context has "
            f"{self.card.context_length}",
            code="prompt-too-long",
            hint=f"{', '.join(ways)}, or use a model with a longer context",
            row=example.id,
            demonstrations=demonstrations,
            tokens=len(encoded.input.ids),
            answer_tokens=answer_tokens,
            context_tokens=self.card.context_length,
        )

    def _encode(self, example: Example, demonstrations: Demonstrations, suffix: str) -> _Encoded:
        return self._encode_pieces(example, self.pieces(example, demonstrations), suffix)

    def _encode_pieces(self, example: Example, pieces: tuple[Piece, ...], suffix: str) -> _Encoded:
        """Encodes pieces, the reasoning after them, and the row's continuations."""
        pieces = self.with_slots(pieces)
        reasoning = suffix.lstrip() if self.chat else suffix
        pieces = (*pieces, *([Piece(text=reasoning, part=REASONING)] if reasoning else []))
        form = self.card.format
        if isinstance(form, MaskedFormat):
            return self._encode_mask(example, pieces, form)
        labels = self._label_texts(example, suffix)
        if isinstance(form, EncoderDecoderFormat):
            return self._encode_answers(pieces, labels, form)
        return self._encode_continuations(example, pieces, labels)

    def _encode_continuations(self, example: Example, pieces: tuple[Piece, ...], labels: tuple[str, ...]) -> _Encoded:
        """Encodes a prompt that its answers continue, for a causal model."""
        text_input = encode(pieces, self.card.tokenizer)
        targets = tuple(label + self.block("input", example.texts) for label in labels) if self.channel else labels
        ids, rescored = continuations(pieces, (*targets, *(labels if self.channel else ())), self.card.tokenizer)
        ids, label_ids = ids[: len(targets)], ids[len(targets) :]
        closing = turn_end(self.card.tokenizer, self.chat_options) if self.ends and self.chat else ()
        scored = tuple((*target_ids, *closing) for target_ids in ids)
        return _Encoded(
            pieces=pieces,
            input=text_input,
            targets=targets,
            continuations=scored,
            prefix=text_input.ids[: len(text_input.ids) - rescored],
            answer_tokens=max(map(len, scored), default=0),
            rescored_tokens=rescored,
            label_token_counts=tuple(map(common_prefix_length, ids, label_ids)),
        )

    def _encode_answers(self, pieces: tuple[Piece, ...], labels: tuple[str, ...], form: EncoderDecoderFormat) -> _Encoded:
        """Encodes a prompt that an encoder reads, and the answers of the decoder, which are not part of the same context."""
        pieces = self.closed(pieces)
        text_input, tokenizer = encode(pieces, self.card.tokenizer), self.card.tokenizer
        targets = tuple(label.strip() for label in labels)
        answers = encode_answers(targets, tokenizer, form)
        closing = tokenizer.ends[:1] if self.ends and not form.target_end else ()
        return _Encoded(
            pieces=pieces,
            input=text_input,
            targets=targets,
            continuations=tuple((*ids, *closing) for ids in answers),
            prefix=text_input.ids,
            answer_tokens=0,
        )

    def _encode_mask(self, example: Example, pieces: tuple[Piece, ...], form: MaskedFormat) -> _Encoded:
        """Encodes a prompt with a mask in the place of the label."""
        slot = self.slot(example, self.reader.words(example))
        prompt = mask_slot(pieces, slot, self.card.tokenizer, form)
        return _Encoded(
            pieces=prompt.pieces,
            input=prompt.input,
            targets=slot.labels,
            continuations=prompt.answers,
            prefix=prompt.input.ids,
            answer_tokens=max(map(len, prompt.answers), default=1) - 1,
            rescored_tokens=prompt.rescored_tokens,
        )

    def _label_texts(self, example: Example, suffix: str) -> tuple[str, ...]:
        """Returns the text of each word to score: the target block, or the word alone after a reasoning."""
        end = self.separator if self.ends and not self.chat and self.card.format is None else ""
        return tuple((f" {word}" if suffix else self.target(example, word)) + end for word in self.reader.words(example))

    def _rendered(
        self, example: Example, encoded: _Encoded, demonstrations: Demonstrations, drop: int, stop: tuple[str, ...]
    ) -> Rendered:
        if not encoded.prefix:
            raise TemplateError(
                f"The prompt of row {example.id} is empty, and this model adds no BOS token",
                code="empty-prompt",
                hint="Add an instruction, demonstrations, or a text in the input block",
                row=example.id,
                template=self.template.name,
            )
        markers = tuple(self.card.tokenizer.thought_markers(self.chat_options)) if self.chat else ()
        thought, may_think = self._thought(example, encoded, markers) if self.chat else ("", False)
        length, shown = len(encoded.prefix), demonstrations[drop:]
        spans = tuple(replace(span, stop=min(span.stop, length)) for span in encoded.input.spans if span.start < length)
        return Rendered(
            input=replace(encoded.input, ids=encoded.prefix, spans=spans),
            pieces=encoded.pieces,
            demos=tuple(row.id for row in shown),
            demo_labels=tuple(row.label for row in shown) if self.reader.labels else (),
            dropped=tuple(row.id for row in demonstrations[:drop]),
            targets=encoded.targets,
            continuations=encoded.continuations,
            rescored_tokens=encoded.rescored_tokens,
            label_token_counts=encoded.label_token_counts,
            stop=stop,
            thought=thought,
            may_think=may_think,
            thinks=bool(thought or (markers and self.chat_options.thinking)),
            thought_markers=markers,
        )

    def _thought(self, example: Example, encoded: _Encoded, markers: tuple[ThoughtMarkers, ...]) -> tuple[str, bool]:
        """Returns the marker of a thought that the prompt ends in, and whether the model may begin one where labels are scored.

        Raises:
            Unsupported: Labels would be scored within a thought.
        """
        start = "".join(piece.text for piece in self._generation_prompt(encoded.pieces))
        thought = open_thought(start, markers)
        if thought and encoded.targets:
            raise Unsupported(
                f"The chat template begins the answer with a thought ({thought}), where labels cannot be scored",
                code="scores-in-thought",
                got=f"row {example.id}",
                hint=f"Use {switch('thinking', False)} if the model's chat template has this switch, leave out "
                f"{setting('chat')}, or let the model generate its answer",
                marker=thought,
                row=example.id,
            )
        off = self.chat_options.thinking is False or has_closing(start, markers)
        return thought, bool(markers and encoded.targets) and not off

    @staticmethod
    def _generation_prompt(pieces: Sequence[Piece]) -> list[Piece]:
        """Returns the pieces of the chat template after the last turn, in which the answer begins."""
        last = max((index for index, piece in enumerate(pieces) if piece.part not in (FRAME, REASONING)), default=-1)
        return [piece for piece in pieces[last + 1 :] if piece.part == FRAME]
