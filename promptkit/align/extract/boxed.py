"""Answers that stand in a frame of their own: LaTeX's `\\boxed{...}`, and a field of a JSON object."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?:(?=\{)|(?P<bare>[^\s{}$\\.,;]+))")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_STYLE = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{(.*)\}", re.DOTALL)
_READ = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
"""Numbers stay as they are written."""


def boxed(text: str) -> str | None:
    """What stands in the last box that is closed; braces nest, and `\\{` is none."""
    contents = (box["bare"] or braced(text, box.end()) for box in reversed([*_BOX.finditer(text)]))
    found = next((content for content in contents if content is not None), None)
    return None if found is None else unstyled(found) or None


def braced(text: str, start: int) -> str | None:
    """What the brace at `start` encloses; None if it is never closed."""
    depth = 0
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[start + 1 : brace.start()]
    return None


def unstyled(text: str) -> str:
    """The text without LaTeX around it that changes its looks alone."""
    while styled := _STYLE.fullmatch(text.strip()):
        text = styled[1]
    return text.strip()


def field(text: str, name: str) -> str | None:
    """The text, number or truth value of that name in the first JSON object that has it; None for another kind of value."""
    for read in _objects(text):
        for held in _nested(read):
            if name in held:
                value = held[name]
                if isinstance(value, bool):
                    return json.dumps(value)
                return value.strip() or None if isinstance(value, str) else None
    return None


def _objects(text: str) -> Iterator[object]:
    """Every well-formed object that stands in no other."""
    place = text.find("{")
    while place >= 0:
        try:
            read, end = _READ.raw_decode(text, place)
            yield read
        except (ValueError, RecursionError):
            end = place + 1
        place = text.find("{", end)


def _nested(value: object) -> Iterator[dict[str, object]]:
    """The objects in a value, outer ones first."""
    values = [value]
    for each in values:
        if isinstance(each, dict):
            yield each
        values += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
