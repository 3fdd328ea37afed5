"""Encodes pieces of text and control tokens as token ids with spans.

Adjacent text is joined and encoded once, so a prompt has the same ids as its whole text. Spans come from the character offsets
of that encoding; parts are never encoded separately.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, groupby

from promptkit.core.errors import ModelError, TemplateError
from promptkit.core.inputs import Piece, Span, TextInput
from promptkit.core.model import Encoding, TextCard, Tokenizer
from promptkit.core.rendered import Rendered
from promptkit.core.requests import ScoreOutput
from promptkit.core.sequences import common_prefix_length

FRAME = "frame"
SLOT_PART = "soft"
"""The prefix of the part of a slot for learned vectors, before the slot's name."""
TAIL = 16
"""How many tokens at the end of a prompt are encoded again with each target to detect merges."""
SETTLED = 4
"""How many of these tokens must be unchanged so that the target cannot affect the rest of the prompt: subword tokenizers merge
only neighbors, so no merge crosses a token boundary that does not move."""


def framed(pieces: Sequence[Piece], tokenizer: Tokenizer) -> tuple[Piece, ...]:
    """Returns the non-empty pieces after the tokens that the model's tokenizer inserts before a text, such as BOS."""
    return (*control_pieces(tokenizer.bos, tokenizer), *(piece for piece in pieces if piece.text))


def control_pieces(ids: Sequence[int], tokenizer: Tokenizer) -> tuple[Piece, ...]:
    """Returns the control tokens that a tokenizer adds around a text as pieces."""
    return tuple(Piece(text=tokenizer.name(token), part=FRAME, control=True, added=True) for token in ids)


def closed(pieces: Sequence[Piece], card: TextCard) -> tuple[Piece, ...]:
    """Returns the pieces of a plain prompt with the tokens that close it; a causal model has none."""
    return (*pieces, *control_pieces(card.format.after if card.format else (), card.tokenizer))


def encode_text(text: str, card: TextCard, *, at_most: int | None = None) -> tuple[int, ...]:
    """Returns the ids of a text as the model's tokenizer encodes it, with special tokens.

    Args:
        text: The text.
        card: The model.
        at_most: The maximum number of ids; the text is truncated. By default there is none.
    """
    before, after = card.tokenizer.bos, card.format.after if card.format else ()
    ids = (*before, *card.tokenizer.encode(text).ids)
    return (*ids[: None if at_most is None else max(0, at_most - len(after))], *after)


def slotted(pieces: Sequence[Piece], slots: Mapping[str, int], marks: tuple[str, str]) -> tuple[Piece, ...]:
    """Splits pieces at the slots in their texts, so that each slot is a piece.

    Args:
        pieces: The pieces of a prompt.
        slots: The length of each slot of the template by name.
        marks: The characters before and after a slot's name in a text.

    Raises:
        TemplateError: A text contains the name of an unknown slot.
    """
    split: list[Piece] = []
    for piece in pieces:
        parts = [piece.text] if piece.control else re.split(f"{marks[0]}([^{marks[1]}]*){marks[1]}", piece.text)
        for number, text in enumerate(parts):
            if number % 2 == 0 and text:
                split.append(replace(piece, text=text))
            elif number % 2:
                if text not in slots:
                    raise TemplateError(
                        f"The template modified the slot for learned vectors {text!r}",
                        code="modified-slot",
                        hint="Do not apply filters to soft(...)",
                        slot=text,
                    )
                split.append(Piece(text=text, part=f"{SLOT_PART} {text}", learned=slots[text]))
    return tuple(split)


def unslotted(text: str, marks: tuple[str, str]) -> str:
    """Returns a text without its slots."""
    return re.sub(f"{marks[0]}[^{marks[1]}]*{marks[1]}", "", text)


def encode(pieces: Sequence[Piece], tokenizer: Tokenizer) -> TextInput:
    """Encodes pieces as token ids with the span of each part.

    Raises:
        ModelError: A control piece is not a control token of the model.
    """
    ids: list[int] = []
    parts: list[str] = []
    groups = [list(run) for _, run in groupby(pieces, key=lambda piece: (piece.control, piece.learned > 0))]
    for number, group in enumerate(groups):
        control, learned = group[0].control, group[0].learned
        if learned:
            ids += [-1] * sum(piece.learned for piece in group)
            parts += [piece.part for piece in group for _ in range(piece.learned)]
        elif control:
            ids += [control_id(piece.text, tokenizer) for piece in group]
            parts += [piece.part for piece in group]
        else:
            after, before = preceding(groups[:number]), _following(groups[number + 1 :])
            encoding = tokenizer.encode("".join(piece.text for piece in group), after=after, before=before)
            ids += encoding.ids
            parts += parts_at(group, encoding.starts)
    return TextInput(ids=tuple(ids), spans=spans_of(parts))


def parts_at(texts: Sequence[Piece], starts: Sequence[int]) -> list[str]:
    """Returns the part of the piece that each offset into the joined texts is in."""
    offsets = list(accumulate((len(piece.text) for piece in texts[:-1]), initial=0))
    return [texts[bisect_right(offsets, start) - 1].part for start in starts]


def preceding(groups: Sequence[Sequence[Piece]]) -> str | None:
    """Returns the control token before a text, "" for a slot or another text before it, or None if the text is the start."""
    if groups and groups[-1][-1].control:
        return None if groups[-1][-1].added else groups[-1][-1].text
    return "" if any(not (piece.added or piece.learned) for group in groups for piece in group) else None


def _following(groups: Sequence[Sequence[Piece]]) -> str | None:
    """Returns the control token after a text, or None if there is none, or one that the tokenizer adds after the text."""
    following = groups[0][0] if groups else None
    return following.text if following and following.control and not following.added else None


def spans_of(parts: Sequence[str]) -> tuple[Span, ...]:
    """Returns the spans of the part of each token."""
    spans: list[Span] = []
    for part, tokens in groupby(parts):
        start = spans[-1].stop if spans else 0
        spans.append(Span(part=part, start=start, stop=start + len(list(tokens))))
    return tuple(spans)


def continuations(
    pieces: Sequence[Piece], targets: Sequence[str], tokenizer: Tokenizer
) -> tuple[tuple[tuple[int, ...], ...], int]:
    """Returns the token ids to score for each target, and how many tokens at the end of the prompt they include.

    A target is scored from where encode(prompt) is a prefix of encode(prompt + target). If a target merges with the last tokens
    of the prompt, all targets are scored from the earliest boundary that they share.

    Args:
        pieces: The pieces of the prompt.
        targets: The texts to score after the prompt.
        tokenizer: The model's tokenizer.

    Raises:
        TemplateError: A target adds no tokens.
    """
    last = last_text_run(pieces)
    run = "".join(piece.text for piece in last)
    after = preceding([[piece] for piece in pieces[: len(pieces) - len(last)]])
    prompt = tokenizer.encode(run, after=after)
    tail, first = _tail(run, prompt, tokenizer)
    wholes = [tokenizer.encode(tail + target, after=None if first else after).ids for target in targets]
    shared = [common_prefix_length(whole, prompt.ids[first:]) for whole in wholes]
    if first and min(shared, default=SETTLED) < SETTLED:
        first = 0
        wholes = [tokenizer.encode(run + target, after=after).ids for target in targets]
        shared = [common_prefix_length(whole, prompt.ids) for whole in wholes]
    boundary = min(shared, default=len(prompt.ids) - first)
    scored = tuple(whole[boundary:] for whole in wholes)
    check_targets(targets, scored)
    return scored, len(prompt.ids) - first - boundary


def check_targets(targets: Sequence[str], scored: Sequence[Sequence[int]]) -> None:
    """Raises TemplateError if no token is scored for one of the targets."""
    for target, ids in zip(targets, scored, strict=True):
        if not ids:
            raise TemplateError(
                f"The target {target!r} adds no tokens to the prompt",
                code="empty-target",
                hint="Give every label a non-empty text",
                target=target,
            )


def counted(rendered: Rendered, output: ScoreOutput) -> ScoreOutput:
    """Returns the output without the log-probabilities of label tokens, which the noisy channel does not score."""
    if not output.answered or not any(rendered.label_token_counts):
        return output
    rows = zip(output.logprobs, rendered.label_token_counts, strict=True)
    return ScoreOutput(logprobs=tuple(row[label_tokens:] for row, label_tokens in rows))


def last_text_run(pieces: Sequence[Piece]) -> list[Piece]:
    """Returns the pieces of text after the last control token or slot: they are encoded as one text."""
    run: list[Piece] = []
    for piece in reversed(pieces):
        if piece.control or piece.learned:
            break
        run.insert(0, piece)
    return run


def _tail(run: str, prompt: Encoding, tokenizer: Tokenizer) -> tuple[str, int]:
    """Returns the text of the last tokens of a run and the index of the first of them.

    The tokens are chosen so that their text on its own encodes as in the run. It starts with white space, because tokenizers
    split a text into words before they merge.
    """
    for first in range(max(0, len(prompt.ids) - TAIL), len(prompt.ids) - SETTLED):
        text = run[prompt.starts[first] :]
        if first and text[:1].isspace() and tokenizer.encode(text).ids == prompt.ids[first:]:
            return text, first
    return run, 0


def control_id(name: str, tokenizer: Tokenizer) -> int:
    """Returns the id of a control token; raises ModelError if the model has none of this name."""
    if name not in tokenizer.control:
        raise ModelError(f"The model has no control token {name!r}", code="unknown-control-token", token=name)
    return tokenizer.control[name]
