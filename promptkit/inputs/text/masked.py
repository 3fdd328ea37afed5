"""Encodes a prompt with a mask in place of its answer, for masked language models.

The ids equal those of the tokenizer for the text with an answer, with the answer's tokens replaced by one mask. Where an
answer merges with the text beside it, the mask begins earlier or ends later, for all answers alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptkit.core.formats import MaskedFormat
from promptkit.core.inputs import Piece, TextInput
from promptkit.core.model import Tokenizer
from promptkit.core.sequences import common_prefix_length
from promptkit.inputs.text.encoding import check_targets, control_pieces, encode, last_text_run, parts_at, preceding, spans_of

TARGET = "target"
"""The part of the prompt that the template's target block adds: the mask, and the text around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The target block of a template, split at the label."""

    before: str
    """The text before the label."""
    labels: tuple[str, ...]
    """The text of each label."""
    after: str
    """The text after the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedPrompt:
    """A prompt with a mask in place of its answer."""

    pieces: tuple[Piece, ...]
    """The texts and control tokens that it was encoded from."""
    input: TextInput
    answers: tuple[tuple[int, ...], ...]
    """The tokens of each label, which take the place of the mask."""
    rescored_tokens: int
    """How many tokens beside the label are scored with every label, because a label merges with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _LabeledText:
    """The tokens of a text with one label."""

    ids: tuple[int, ...]
    starts: tuple[int, ...]
    """See `Encoding.starts`."""
    left: int
    """How many tokens end before the label."""
    right: int
    """How many tokens begin after the label."""


def mask_slot(pieces: Sequence[Piece], slot: Slot, tokenizer: Tokenizer, form: MaskedFormat) -> MaskedPrompt:
    """Encodes a prompt with a mask for the label.

    Args:
        pieces: The pieces of the prompt up to the target block.
        slot: The target block.
        tokenizer: The model's tokenizer.
        form: The mask token, and the tokens that close the prompt.

    Raises:
        TemplateError: A label has no tokens.
    """
    run = last_text_run(pieces)
    text = "".join(piece.text for piece in run) + slot.before
    begin = len(text.rstrip() if form.takes_space else text)
    after = preceding([[piece] for piece in pieces[: len(pieces) - len(run)]])
    encoded = [
        _encode(text[:begin], text[begin:] + label, slot.after, tokenizer, after=after) for label in slot.labels or ("",)
    ]
    left = min(*(one.left for one in encoded), _shared([one.ids for one in encoded]))
    right = min(*(one.right for one in encoded), _shared([one.ids[::-1] for one in encoded]))
    answers = tuple(one.ids[left : len(one.ids) - right] for one in encoded)[: len(slot.labels)]
    check_targets(slot.labels, answers)
    mask, closing = Piece(text=tokenizer.name(form.mask), part=TARGET, control=True), control_pieces(form.after, tokenizer)
    head = encode(pieces[: len(pieces) - len(run)], tokenizer)
    texts = [*run, Piece(text=slot.before, part=TARGET)]
    parts = [part for span in head.spans for part in [span.part] * (span.stop - span.start)]
    parts += parts_at(texts, encoded[0].starts[:left])
    parts += [TARGET] * (1 + right) + [piece.part for piece in closing]
    ids = encoded[0].ids
    return MaskedPrompt(
        pieces=(*pieces, *_text(slot.before), mask, *_text(slot.after), *closing),
        input=TextInput(ids=(*head.ids, *ids[:left], form.mask, *ids[len(ids) - right :], *form.after), spans=spans_of(parts)),
        answers=answers,
        rescored_tokens=max((one.left - left) + (one.right - right) for one in encoded),
    )


def _encode(text: str, label: str, rest: str, tokenizer: Tokenizer, *, after: str | None) -> _LabeledText:
    """Encodes a text that ends in a label and a rest; `after` is as in `Tokenizer.encode`."""
    encoding = tokenizer.encode(text + label + rest, after=after)
    starts, ends = encoding.starts, (*encoding.starts[1:], len(text + label + rest))
    begin, end = len(text), len(text) + len(label)
    left = sum(start < begin and stop <= begin for start, stop in zip(starts, ends, strict=True))
    return _LabeledText(ids=encoding.ids, starts=starts, left=left, right=sum(start >= end for start in starts[left:]))


def _shared(rows: Sequence[tuple[int, ...]]) -> int:
    """Returns the length of the longest common prefix of all rows."""
    return min(common_prefix_length(rows[0], row) for row in rows)


def _text(text: str) -> tuple[Piece, ...]:
    return (Piece(text=text, part=TARGET),) if text else ()
