"""Writes the template of a table that has none."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from promptkit.core.variables import LABEL, LABELS, SCHEMA

_RESERVED_NAMES = {
    *(LABEL, LABELS, SCHEMA, "true", "false", "none"),
    *("loop", "self", "super", "caller", "varargs", "kwargs", "range", "dict"),
}
"""Names that mean something else in a template."""


def variable_names(columns: Sequence[str]) -> Mapping[str, str]:
    """Returns column -> a distinct name that a template can use for it."""
    names: dict[str, str] = {}
    for column in columns:
        name = re.sub(r"[^A-Za-z0-9_]", "_", column)
        if not name.strip("_") or name[0] in "_0123456789" or name.lower() in _RESERVED_NAMES or keyword.iskeyword(name):
            name = f"column_{name}"
        number = 2
        while name in names.values():
            name, number = f"{name.rstrip('0123456789')}{number}", number + 1
        names[column] = name
    return names


AnswerKind = Literal["label", "labels", "text", "schema"]
"""The answer of a template: one label, any number of labels, a text, or a JSON object with a schema."""
_TITLES: Mapping[AnswerKind, str] = {"label": "Label", "labels": "Labels", "text": "Answer", "schema": "JSON"}
_INSTRUCTIONS: Mapping[AnswerKind, str] = {
    "label": 'Say which it is: {{ labels | join(", ") }}.',
    "labels": 'Say for each label whether it applies: {{ labels | join(", ") }}.',
    "schema": "Answer with a JSON object of this schema: {{ schema }}",
}


def default_template(name: str, variables: Mapping[str, str], answer: AnswerKind) -> str:
    """Returns the text of a template that shows each variable on a line of its own.

    Args:
        name: The name of the task.
        variables: Variable -> its column, whose name precedes the value; at least one.
        answer: The kind of the answer. The instruction shows the labels, or the schema; with any number of labels the target
            block is a line for each label.
    """
    inputs = "\n".join(f"{_title(column)}: {{{{ {variable} }}}}" for variable, column in variables.items())
    text = _INSTRUCTIONS.get(answer, "")
    instruction = f"{{% block instruction %}}{text}{{% endblock %}}\n" if text else ""
    space = "\n" if answer == "labels" else " "
    return (
        f"{{# Renders a row of {_comment(name)}. Its variables: {', '.join(variables)}. #}}\n"
        f"{instruction}"
        f"{{% block input %}}{inputs}\n{_TITLES[answer]}:{{% endblock %}}\n"
        f"{{% block target %}}{space}{{{{ label }}}}{{% endblock %}}\n"
        "{% block separator %}\n\n{% endblock %}\n"
    )


def _title(column: str) -> str:
    """The name of a column as words, without the marks of a template and a colon at its end."""
    words = re.sub(r"[{}\s_]+", " ", column).strip(" :")
    title = words.capitalize()
    return title if title and title.lower() not in map(str.lower, _TITLES.values()) else f"Column {words}".strip()


def _comment(name: str) -> str:
    """A name without the mark that would end a comment."""
    return name.replace("#}", "# }")
