"""Separates the thoughts of reasoning models from their answers.

A reasoning model writes its thoughts between markers, such as `<think>` and `</think>`, before its answer. A prompt can end in
the opening marker, so that the text begins within a thought. Thoughts are never an answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class ThoughtMarkers:
    """The markers around a thought."""

    opening: str
    """The text before a thought."""
    closing: str
    """The text after a thought, which the answer follows."""


HARMONY = ThoughtMarkers("<|channel|>analysis<|message|>", "<|channel|>final<|message|>")
"""The channels of OpenAI's harmony format. Only the text of the channel `final` is an answer."""
KNOWN = (
    *(
        ThoughtMarkers(f"<{name}>", f"</{name}>")
        for name in ("think", "thinking", "thought", "thoughts", "reasoning", "seed:think", "mm:think")
    ),
    ThoughtMarkers("[THINK]", "[/THINK]"),
    ThoughtMarkers("◁think▷", "◁/think▷"),
    ThoughtMarkers("<|START_THINKING|>", "<|END_THINKING|>"),
    ThoughtMarkers("<|begin_of_thought|>", "<|end_of_thought|>"),
    ThoughtMarkers("<|channel>", "<channel|>"),
    ThoughtMarkers("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
)
"""Markers of published models: Qwen, DeepSeek, SmolLM, Mistral, Kimi, Cohere, Open Thoughts, Gemma and Kimi K3."""
FINAL_RESPONSE = ThoughtMarkers("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]")
"""The markers of Apriel. The opening one is common prose, so it counts only where the chat template has the closing one."""
_FINAL = re.compile(r"<\|channel\|>final[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>|\Aanalysis(?s:.*)assistantfinal")
"""The start of a final message, with special tokens or, in the second form, without them."""
_CHANNEL = re.compile(r"<\|channel\|>|\Aanalysis(?=[A-Z])")
"""The start of any message with a channel."""
_MESSAGE_END = re.compile(r"<\|(?:end|return|call|start)\|>")
_WRAPPERS = (
    *("<response>", "</response>", "<|START_RESPONSE|>", "<|END_RESPONSE|>", "[END FINAL RESPONSE]"),
    *("<|open|>response<|sep|>", "<|close|>response<|sep|>", "<|close|>message<|sep|>"),
)
"""Markers around an answer after a thought."""


def answer_start(text: str, declared: Sequence[ThoughtMarkers] = ()) -> int | None:
    """Returns where the answer begins in a generated text: after its last thought, or at 0 if it has none.

    Args:
        text: The generated text, after the opening marker if the prompt ends in one.
        declared: Markers that the model's chat template declares, in addition to `KNOWN`.

    Returns:
        The index of the first character after the thoughts, or None if a thought is not closed.
    """
    start = 0
    for final in _FINAL.finditer(text):
        start = final.end()
    if _CHANNEL.search(text, start):
        return None
    opening, closing = _patterns(tuple(declared))
    for match in closing.finditer(text, start):
        start = match.end()
    return None if opening.search(text, start) else start


def without_thoughts(text: str, declared: Sequence[ThoughtMarkers] = ()) -> str | None:
    """Returns the answer part of a generated text, or None if a thought is not closed.

    Args:
        text: As for `answer_start`.
        declared: As for `answer_start`.
    """
    start = answer_start(text, declared)
    if start is None:
        return None
    if start == 0:
        return text
    answer = text[start:]
    end = _MESSAGE_END.search(answer)
    answer = answer[: end.start()] if end else answer
    for wrapper in _WRAPPERS:
        answer = answer.replace(wrapper, "")
    return answer


def open_thought(text: str, declared: Sequence[ThoughtMarkers] = ()) -> str:
    """Returns the opening marker that a prompt ends in, except for white space; "" if it ends in none."""
    stripped = text.rstrip()
    markers = (*declared, HARMONY, *KNOWN)
    channel = re.search(r"<\|channel>\w*\Z", stripped)  # Gemma names the channel after its marker
    if channel:
        return channel[0]
    return max((marker.opening for marker in markers if stripped.endswith(marker.opening)), key=len, default="")


def has_markers(text: str) -> bool:
    """Returns whether a text contains a known marker of a thought."""
    return any(pattern.search(text) for pattern in (*_patterns(()), _CHANNEL))


def has_closing(text: str, declared: Sequence[ThoughtMarkers] = ()) -> bool:
    """Returns whether a text contains a marker that closes a thought."""
    return _patterns(tuple(declared))[1].search(text) is not None


@lru_cache(maxsize=16)
def _patterns(declared: tuple[ThoughtMarkers, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    markers = (*declared, *KNOWN)
    opening = "|".join(re.escape(marker.opening) for marker in markers)
    closing = "|".join(re.escape(marker.closing) for marker in (*markers, FINAL_RESPONSE))
    return re.compile(opening), re.compile(closing)
