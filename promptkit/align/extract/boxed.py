r"""Finds answers in explicit markup: LaTeX `\boxed{...}` and a field of a JSON object."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from promptkit.core.json_schema import number_text

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?:(?=\{)|(?P<bare>[^\s{}$\\.,;]+))")
r"""The start of a box: `\boxed` before `{`, or with an argument without braces, as in `\boxed 5`."""
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
r"""A brace, or an escaped character such as `\{`, which is skipped."""
_STYLE = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{(.*)\}", re.DOTALL)
r"""A LaTeX command that only changes the typeface: `\text{Paris}`."""
_DECODER = json.JSONDecoder(parse_int=str, parse_float=number_text, parse_constant=str)
"""Keeps the digits of numbers; equal ones have the same text."""


def last_boxed(text: str) -> str | None:
    r"""Returns the content of the last complete box, without LaTeX styling; None if there is none or it is empty.

    Braces inside the box can be nested, and `\{` does not count as a brace.
    """
    contents = (box["bare"] or braced(text, box.end()) for box in reversed([*_BOX.finditer(text)]))
    content = next((content for content in contents if content is not None), None)
    return None if content is None else strip_latex_style(content) or None


def braced(text: str, start: int) -> str | None:
    """Returns the text between the brace at `start` and its closing brace; None if it is not closed."""
    depth = 0
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[start + 1 : brace.start()]
    return None


def strip_latex_style(text: str) -> str:
    r"""Returns the text without surrounding white space and LaTeX style commands: `\textbf{5}` -> `5`."""
    while styled := _STYLE.fullmatch(text.strip()):
        text = styled[1]
    return text.strip()


def find_json_field(text: str, name: str) -> str | None:
    """Returns the value of a field in the first JSON object that has it.

    Strings, numbers and booleans are returned as text, 1.0 as `1`; for a field with any other value the result is None.
    """
    for outer in _json_objects(text):
        for json_object in _nested_objects(outer):
            if name in json_object:
                value = json_object[name]
                if isinstance(value, bool):
                    return json.dumps(value)
                return value.strip() or None if isinstance(value, str) else None
    return None


def _json_objects(text: str) -> Iterator[object]:
    """Returns the valid JSON objects of the text that are not part of another one."""
    start = text.find("{")
    while start >= 0:
        try:
            value, end = _DECODER.raw_decode(text, start)
            yield value
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)


def _nested_objects(value: object) -> Iterator[dict[str, object]]:
    """Returns all JSON objects inside a value, in breadth-first order."""
    queue = [value]
    for item in queue:
        if isinstance(item, dict):
            yield item
        queue += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
