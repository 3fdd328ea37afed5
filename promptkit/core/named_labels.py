"""Finds the label that a reply in plain language decides for.

Words are matched in any script: Chinese, Japanese, Thai and others write no spaces between words, and Korean appends particles.
Negated labels do not count. Among several named labels, the one that the reply concludes with is its answer, if there is one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from promptkit.core.thinking import without_thoughts

_UNSPACED = (
    "\u0e00-\u109f\u1780-\u17ff\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U000323af"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, Hangul, kana and Chinese characters."""
_LETTER = rf"[^\W{_UNSPACED}]"
"""A letter of a script with spaces between words."""
_ALPHANUMERIC = rf"[^\W_{_UNSPACED}]"
"""A letter of such a script without the underscore, which emphasizes a word in Markdown: `_positive_`."""
_BREAK = re.compile(
    r"[.;:!?,()\n\u2013\u2014\u3001\u3002\uff0c\uff01\uff1f\uff1b]"
    r"|\b(?:but|however|although|though|because|since|so|therefore|and|rather(?! than)|instead(?! of)|"
    r"sondern|sino|mais|pero)\b|而是|但|不过|不過|แต่|ですが|むしろ"
)
"""The end of a clause, where the scope of a negation ends."""
_NEGATION_BEFORE = re.compile(
    r"(?:\b(?:not(?! (?:only|just|merely))|never|neither|nor|no|nothing|hardly|cannot|without|pas|nicht|kein\w*|non|não|não|не|"
    r"niet|geen|tidak|bukan|không|ليست?|than|over|opposed to|instead of)\b|n['’]t\b)(?:\W+[\w'’-]+){0,8}\W*$"
    r"|(?:非(?!常|凡)|不(?!仅|但|只|错|可否认)|没|沒|未(?!来)|无(?!疑|比|论)|無(?!疑))[^\s]{0,6}$"
    r"|(?:ไม่ใช่|ไม่ได้|ไม่|มิใช่).{0,12}$"
)
"""A negation in the clause before a label."""
_NEGATION_AFTER = re.compile(
    r"\W{0,3}(?:is|was|are|would be)(?: not\b|n['’]t\b)"
    r"|\w{0,6}?(?:では|じゃ|とは|でも)(?:な[いく]|ありません|言え|いえ)"
    r"|\w{0,4}\s?(?:아니|아닙|아닌|않)|\s*\w{0,4}\s*(?:değil|नहीं)"
)
"""A negation after a label: 正面ではない, 긍정이 아닙니다, olumlu değil."""
_JOINING = re.compile(
    r"[\s*_\"'`”’]*(?:,|/|\||&|、|\b(?:or|and|nor|versus|vs|oder|und|ou|et|o|y)\b\.?|和|或(?:者|是)?|还是|與|与|と|か|หรือ|และ|또는|나)"
    r"[\s*_\"'`“‘]*"
)
"""The text between two labels that are named together: `positive or negative`."""
_CUE = re.compile(
    r"(?:\b(?:answer|label|sentiment|category|class|classification|choice|verdict|conclusion|prediction|rating|topic|intent|"
    r"tone|stance)\b[^.;\n]{0,40}?(?:\bis\b|\bas\b|\bbe\b|[:=])"
    r"|\b(?:choose|chose|pick|select|go with|opt for|say|classif\w+|categori\w+|lean\w*)\b[^.,;\n]{0,40}?"
    r"|(?:\A|[.,;:\n]\s*|\b(?:but|and|so)\s)(?:therefore|thus|hence|overall|in conclusion|ultimately|finally)\b"
    r",?[^.,;\n]{0,40}?"
    r"|(?:答案|结论|結論|标签|標籤|ラベル|分类|分類|总体|總體|因此|所以|よって|したがって|総合|答え|选择|選擇|判断|判斷|属于|屬於|คำตอบ|สรุป|결론|정답)"
    r"[^。；\n]{0,12}?)[\s*_\"'`“‘]*$"
)
"""Phrases directly before a label with which a reply concludes."""
_EMPHASIS = re.compile(r"\*\*|__|`|[*_]$")
_LEADING = re.compile(r"[\s*_\"'`”’]*(?:\Z|[.!\n:。！：(\u2013\u2014-]|,? (?:because|since|as)\b)")
"""The text after a label with which a reply begins and decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mention:
    label: int
    start: int
    stop: int


def named_label(reply: str, labels: Sequence[str]) -> int | None:
    """Returns the index of the label that a reply decides for.

    Args:
        reply: The reply of a model. Its thoughts are not read.
        labels: The labels, or the words that stand for them.

    Returns:
        The index, or None if the reply names no label, only negated ones, or several without a conclusion.
    """
    answer = without_thoughts(reply)
    if answer is None:
        return None
    folded = [_normalized(label).casefold() for label in labels]
    is_case_sensitive = len({*folded}) < len(folded)
    text = _normalized(answer) if is_case_sensitive else _normalized(answer).casefold()
    names = [_normalized(label) for label in labels] if is_case_sensitive else folded
    mentions = [mention for mention in _mentions(text, names) if not _is_negated(text, mention)]
    found = {mention.label for mention in mentions}
    return _concluded(text, mentions) if len(found) > 1 else next(iter(found), None)


def _normalized(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip()


def _mentions(text: str, names: Sequence[str]) -> list[_Mention]:
    """Returns where labels are named; a label within a longer one, such as in `not entailment`, is not named."""
    order = sorted((index for index, name in enumerate(names) if name), key=lambda index: -len(names[index]))
    if not order:
        return []
    pattern = "|".join(f"(?P<n{index}>{_word(names[index])})" for index in order)
    matches = re.finditer(pattern, text)
    return [_Mention(label=int(str(match.lastgroup)[1:]), start=match.start(), stop=match.end()) for match in matches]


def _word(name: str) -> str:
    """Returns a pattern of a label as a whole word, with any white space, hyphen or underscore between its words."""
    parts = [re.escape(part) for part in re.split(r"[\s_-]+", name)]
    before = "".join(rf"(?<!{_ALPHANUMERIC}{'_' * count})" for count in range(4)) if re.match(_LETTER, name) else ""
    after = rf"(?!_*{_ALPHANUMERIC})" if re.match(_LETTER, name[-1]) else ""
    return before + r"[\s_-]+".join(parts) + after


def _is_negated(text: str, mention: _Mention) -> bool:
    start = max((match.end() for match in _BREAK.finditer(text, 0, mention.start)), default=0)
    clause = text[start : mention.start]
    return _NEGATION_BEFORE.search(clause) is not None or _NEGATION_AFTER.match(text, mention.stop) is not None


def _concluded(text: str, mentions: Sequence[_Mention]) -> int | None:
    """Returns the label that a text with several labels concludes with."""
    joined = {
        place
        for number, (one, other) in enumerate(pairwise(mentions))
        if _JOINING.fullmatch(text, one.stop, other.start)
        for place in (number, number + 1)
    }
    single = [mention for number, mention in enumerate(mentions) if number not in joined]
    on_lines = [mention for mention in single if _is_line(text, mention)]
    emphasized = [mention for mention in single if _EMPHASIS.search(text[max(0, mention.start - 2) : mention.start])]
    begins = [0, *(mention.stop for mention in mentions)]
    cued = [one for one, begin in zip(mentions, begins, strict=False) if one in single and _CUE.search(text, begin, one.start)]
    leading = [mention for mention in single if _is_leading(text, mention)]
    choices = (_only(single), _only(on_lines), _only(emphasized), cued[-1].label if cued else None, _only(leading))
    return next((choice for choice in choices if choice is not None), None)


def _only(mentions: Iterable[_Mention]) -> int | None:
    """Returns the label of all mentions, or None if there is none or they differ."""
    found: Collection[int] = {mention.label for mention in mentions}
    return next(iter(found)) if len(found) == 1 else None


def _is_line(text: str, mention: _Mention) -> bool:
    """Whether a label is alone on its line."""
    start, end = text.rfind("\n", 0, mention.start) + 1, text.find("\n", mention.stop)
    around = text[start : mention.start] + text[mention.stop : len(text) if end < 0 else end]
    return not re.search(r"\w", around)


def _is_leading(text: str, mention: _Mention) -> bool:
    """Whether a label is the first word of the text, followed by the end of a sentence or a reason."""
    return not re.search(r"\w", text[: mention.start]) and _LEADING.match(text, mention.stop) is not None
