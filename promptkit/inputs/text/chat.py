"""Renders the turns of a chat in the model's chat template as pieces of text and control tokens.

The text of the pieces equals what the chat template renders, and their token ids equal those of the tokenizer. Only the
template itself has control tokens: contents that contain the name of one are inserted into the rendered template as text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise

from promptkit.core.inputs import Piece
from promptkit.core.model import DEFAULT_CHAT, ChatOptions, Tokenizer
from promptkit.core.thinking import has_markers
from promptkit.inputs.text.encoding import FRAME, control_id

Turn = tuple[str, Sequence[Piece]]
"""The role and the pieces of a turn."""


def chat(turns: Sequence[Turn], tokenizer: Tokenizer, options: ChatOptions = DEFAULT_CHAT) -> tuple[Piece, ...] | None:
    """Returns the pieces of a chat in the model's chat template; None if the template fails or leaves out a content.

    Args:
        turns: (role, pieces) of each turn. The caller strips white space around the content.
        tokenizer: The model's tokenizer.
        options: How the template is rendered.
    """
    frames = _frames([role for role, _ in turns], tokenizer, options)
    if frames is None:
        return None
    contents = [[piece for piece in pieces if piece.text] for _, pieces in turns]
    texts = ["".join(piece.text for piece in content) for content in contents]
    controls = _control_pattern(tuple(tokenizer.control))
    if not any(has_markers(text) or controls.search(text) for text in texts):
        rendered = tokenizer.chat([(role, text) for (role, _), text in zip(turns, texts, strict=True)], options)
        if rendered is None:
            return None
        if rendered != _interleaved(frames, texts):
            return _aligned(rendered, frames, contents, texts, controls)
    return _joined(frames, contents, controls)


def turn_end(tokenizer: Tokenizer, options: ChatOptions = DEFAULT_CHAT) -> tuple[int, ...]:
    """Returns the control token that ends an answer in the model's chat template; empty if there is none."""
    turns = [("user", [Piece(text="a", part="query")]), ("assistant", [Piece(text="b", part="answer")])]
    following = [piece for previous, piece in pairwise(chat(turns, tokenizer, options) or ()) if previous.part == "answer"]
    return tuple(control_id(piece.text, tokenizer) for piece in following if piece.control)


def _frames(roles: Sequence[str], tokenizer: Tokenizer, options: ChatOptions) -> list[str] | None:
    """Returns the texts before, between and after the contents, from a chat with placeholders as contents."""
    placeholders = [f"PROMPTKIT-SLOT-{index:04d}-" for index in range(len(roles))]
    text = tokenizer.chat(list(zip(roles, placeholders, strict=True)), options)
    if text is None or re.findall("|".join(placeholders), text) != placeholders:
        return None
    return re.split("|".join(placeholders), text)


def _interleaved(frames: Sequence[str], texts: Sequence[str]) -> str:
    return frames[0] + "".join(text + frame for text, frame in zip(texts, frames[1:], strict=True))


def _joined(frames: Sequence[str], contents: Sequence[Sequence[Piece]], controls: re.Pattern[str]) -> tuple[Piece, ...]:
    pieces = _split_controls(frames[0], controls)
    for content, frame in zip(contents, frames[1:], strict=True):
        pieces += [*content, *_split_controls(frame, controls)]
    return tuple(pieces)


def _aligned(
    rendered: str, frames: Sequence[str], contents: Sequence[Sequence[Piece]], texts: Sequence[str], controls: re.Pattern[str]
) -> tuple[Piece, ...] | None:
    """Returns the pieces of a chat whose template changes contents, or writes other text around these contents.

    Returns:
        The pieces, whose text is that of the rendered chat; None if a content is not found in it.
    """
    changed = re.fullmatch("(.*?)".join(map(re.escape, frames)), rendered, re.DOTALL)
    if changed is not None and all(new or not text for new, text in zip(changed.groups(), texts, strict=True)):
        parts = [content[-1].part if content else FRAME for content in contents]
        replaced = [[Piece(text=new, part=part)] if new else [] for new, part in zip(changed.groups(), parts, strict=True)]
        return _joined(frames, replaced, controls)
    shown = Counter(re.findall(r"\w+", rendered))
    if not all(text in rendered or _is_shown(text, shown) for text in texts):
        return None
    expected = _joined(frames, contents, controls)
    return _with_parts(_split_controls(rendered, controls), expected)


def _is_shown(text: str, shown: Counter[str]) -> bool:
    """Whether at least half of the words of a content are in the rendered chat."""
    words = Counter(re.findall(r"\w+", text))
    return 2 * (words & shown).total() >= words.total()


def _with_parts(pieces: Sequence[Piece], expected: Sequence[Piece]) -> tuple[Piece, ...]:
    """Returns pieces with the parts of the words that they share with the expected ones; other words are frames."""
    words = [(word, piece.control) for piece in pieces for word in _words(piece)]
    expected_words = [(word, piece.part) for piece in expected for word in _words(piece)]
    parts = [FRAME] * len(words)
    matcher = SequenceMatcher(None, [word for word, _ in expected_words], [word for word, _ in words], autojunk=False)
    for first, second, size in matcher.get_matching_blocks():
        parts[second : second + size] = [part for _, part in expected_words[first : first + size]]
    merged: list[Piece] = []
    for (word, control), part in zip(words, parts, strict=True):
        if merged and not control and not merged[-1].control and merged[-1].part == part:
            merged[-1] = replace(merged[-1], text=merged[-1].text + word)
        else:
            merged.append(Piece(text=word, part=part, control=control))
    return tuple(merged)


def _words(piece: Piece) -> list[str]:
    return [piece.text] if piece.control else re.findall(r"\w+|\W", piece.text)


def _split_controls(text: str, controls: re.Pattern[str]) -> list[Piece]:
    """Returns the text of a chat template as pieces; the parts with odd numbers are control tokens."""
    parts = enumerate(controls.split(text))
    return [Piece(text=part, part=FRAME, control=number % 2 == 1) for number, part in parts if part]


@lru_cache(maxsize=8)
def _control_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """Returns a pattern with one group that matches a control token, the longest one if several match."""
    longest_first = sorted(filter(None, names), key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, longest_first)) + ")" if longest_first else "((?!))")
