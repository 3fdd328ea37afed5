"""Pieces of text and control tokens -> token ids with spans, in one pass.

Adjacent text is joined and encoded once, so a prompt's ids are those of its whole text; spans come from the character
offsets of that one encoding and are never found again by re-encoding. Knows nothing of templates or tasks.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, groupby, pairwise

from promptkit.core.errors import ModelError, TemplateError
from promptkit.core.inputs import Piece, Span, TextInput
from promptkit.core.model import Encoding, Tokenizer
from promptkit.core.rendered import Rendered
from promptkit.core.requests import ScoreOutput
from promptkit.core.sequences import common_prefix_length

FRAME = "frame"
SLOT_PART = "soft"
"""The part of a slot for learned vectors, before its name."""
TAIL = 16
"""How many of a prompt's last tokens are encoded again with each target to see whether they merge."""
SETTLED = 4
"""How many of those must come out unchanged for the rest of the prompt to be out of the target's reach: a subword
tokenizer merges neighbors only, so nothing crosses a token boundary that stays where it was."""


def framed(pieces: Sequence[Piece], tokenizer: Tokenizer) -> tuple[Piece, ...]:
    """The pieces behind what the model's own tokenizer puts before a text: its BOS token, or nothing."""
    bos = (Piece(text=tokenizer.name(token), part=FRAME, control=True) for token in tokenizer.bos)
    return (*bos, *(piece for piece in pieces if piece.text))


def chat(turns: Sequence[tuple[str, Sequence[Piece]]], tokenizer: Tokenizer) -> tuple[Piece, ...] | None:
    """Turns of (role, pieces) inside the model's own chat template; None if the template refuses them.

    The template is rendered once, around placeholders, and split there, so that it never sees the content. A turn
    carries no surrounding whitespace: the caller strips it.
    """
    slots = [f"PROMPTKIT-SLOT-{index:04d}-" for index in range(len(turns))]
    text = tokenizer.chat([(role, slot) for (role, _), slot in zip(turns, slots, strict=True)])
    if text is None or any(text.count(slot) != 1 for slot in slots):
        return None
    frames = re.split("|".join(slots), text)
    if slots != re.findall("|".join(slots), text):
        return None
    pieces = _split_controls(frames[0], tokenizer)
    for (_, content), frame in zip(turns, frames[1:], strict=True):
        pieces += [piece for piece in content if piece.text]
        pieces += _split_controls(frame, tokenizer)
    return tuple(pieces)


def turn_end(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The control token that ends an answer in the model's own chat template; none where no such token stands there."""
    said = chat([("user", [Piece(text="a", part="query")]), ("assistant", [Piece(text="b", part="answer")])], tokenizer) or ()
    after = [piece for before, piece in pairwise(said) if before.part == "answer"]
    return tuple(_control_id(piece.text, tokenizer) for piece in after if piece.control)


def slotted(pieces: Sequence[Piece], slots: Mapping[str, int], marks: tuple[str, str]) -> tuple[Piece, ...]:
    """The pieces with a piece of its own for each slot, whose name stands between marks in their texts."""
    found: list[Piece] = []
    for piece in pieces:
        parts = [piece.text] if piece.control else re.split(f"{marks[0]}([^{marks[1]}]*){marks[1]}", piece.text)
        for number, text in enumerate(parts):
            if number % 2 == 0 and text:
                found.append(replace(piece, text=text))
            elif number % 2:
                if text not in slots:
                    raise TemplateError(
                        f"The template modified the slot for learned vectors {text!r}",
                        code="modified-slot",
                        hint="Do not apply filters to soft(...)",
                        slot=text,
                    )
                found.append(Piece(text=text, part=f"{SLOT_PART} {text}", learned=slots[text]))
    return tuple(found)


def unslotted(text: str, marks: tuple[str, str]) -> str:
    """A text without its slots."""
    return re.sub(f"{marks[0]}[^{marks[1]}]*{marks[1]}", "", text)


def encode(pieces: Sequence[Piece], tokenizer: Tokenizer) -> TextInput:
    """The ids of the pieces and the span of each part. Raises if a control piece names no control token."""
    ids: list[int] = []
    parts: list[str] = []
    for (control, learned), run in groupby(pieces, key=lambda piece: (piece.control, piece.learned > 0)):
        stretch = list(run)
        if learned:
            ids += [-1] * sum(piece.learned for piece in stretch)
            parts += [piece.part for piece in stretch for _ in range(piece.learned)]
        elif control:
            ids += [_control_id(piece.text, tokenizer) for piece in stretch]
            parts += [piece.part for piece in stretch]
        else:
            encoding = tokenizer.encode("".join(piece.text for piece in stretch))
            begins = list(accumulate((len(piece.text) for piece in stretch[:-1]), initial=0))
            ids += encoding.ids
            parts += [stretch[bisect_right(begins, start) - 1].part for start in encoding.starts]
    spans = []
    start = 0
    for part, members in groupby(parts):
        stop = start + len(list(members))
        spans.append(Span(part=part, start=start, stop=stop))
        start = stop
    return TextInput(ids=tuple(ids), spans=tuple(spans))


def continuations(
    pieces: Sequence[Piece], targets: Sequence[str], tokenizer: Tokenizer
) -> tuple[tuple[tuple[int, ...], ...], int]:
    """Token ids of each target after the prompt, and how many of the prompt's last tokens they re-score.

    A target is scored from where encode(prompt) is a prefix of encode(prompt + target). Where one target merges with
    the prompt's last tokens, all are scored from the earliest boundary that they share.
    """
    run = "".join(piece.text for piece in _last_text_run(pieces))
    prompt = tokenizer.encode(run)
    tail, first = _tail(run, prompt, tokenizer)
    wholes = [tokenizer.encode(tail + target).ids for target in targets]
    shared = [common_prefix_length(whole, prompt.ids[first:]) for whole in wholes]
    if first and min(shared, default=SETTLED) < SETTLED:
        first = 0
        wholes = [tokenizer.encode(run + target).ids for target in targets]
        shared = [common_prefix_length(whole, prompt.ids) for whole in wholes]
    boundary = min(shared, default=len(prompt.ids) - first)
    scored = tuple(whole[boundary:] for whole in wholes)
    for target, ids in zip(targets, scored, strict=True):
        if not ids:
            raise TemplateError(
                f"The target {target!r} adds no tokens to the prompt",
                code="empty-target",
                hint="Give every label a non-empty text",
                target=target,
            )
    return scored, len(prompt.ids) - first - boundary


def counted(rendered: Rendered, output: ScoreOutput) -> ScoreOutput:
    """The output without the tokens that are given: by the channel, those of the label behind which the input is scored."""
    if not any(rendered.label_token_counts):
        return output
    rows = zip(output.logprobs, rendered.label_token_counts, strict=True)
    return ScoreOutput(logprobs=tuple(row[given:] for row, given in rows))


def _last_text_run(pieces: Sequence[Piece]) -> list[Piece]:
    run: list[Piece] = []
    for piece in reversed(pieces):
        if piece.control or piece.learned:
            break
        run.insert(0, piece)
    return run


def _tail(run: str, prompt: Encoding, tokenizer: Tokenizer) -> tuple[str, int]:
    """The text of the run's last tokens, and the index of the first, where they encode alone as they do in the run.

    They begin with a space, because tokenizers split a text into words before they merge.
    """
    for first in range(max(0, len(prompt.ids) - TAIL), len(prompt.ids) - SETTLED):
        text = run[prompt.starts[first] :]
        if first and text[:1].isspace() and tokenizer.encode(text).ids == prompt.ids[first:]:
            return text, first
    return run, 0


def _split_controls(text: str, tokenizer: Tokenizer) -> list[Piece]:
    names = sorted(tokenizer.control, key=len, reverse=True)
    parts = re.split("(" + "|".join(map(re.escape, names)) + ")", text) if names else [text]
    return [Piece(text=part, part=FRAME, control=part in tokenizer.control) for part in parts if part]


def _control_id(name: str, tokenizer: Tokenizer) -> int:
    if name not in tokenizer.control:
        raise ModelError(f"The model has no control token {name!r}", code="unknown-control-token", token=name)
    return tokenizer.control[name]
