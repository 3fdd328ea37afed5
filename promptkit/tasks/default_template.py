"""Writes the template of a table that has none."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence

from promptkit.inputs.text.template import LABEL

_RESERVED_NAMES = {
    *(LABEL, "labels", "true", "false", "none"),
    *("loop", "self", "super", "caller", "varargs", "kwargs", "range", "dict"),
}
"""Names that mean something else in a template."""
_ANSWERS = ("Label", "Labels", "Answer")
"""The titles of the answer, which no column of the input has."""


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


def default_template(name: str, variables: Mapping[str, str], *, has_labels: bool, several: bool = False) -> str:
    """Returns the text of a template that shows each variable on a line of its own.

    Args:
        name: The name of the task.
        variables: Variable -> its column, whose name precedes the value; at least one.
        has_labels: Whether the task has labels, which the instruction lists; otherwise the model generates the answer.
        several: Whether any number of the labels can apply to a row, so that the target block is a line for each label.
    """
    inputs = "\n".join(f"{_title(column)}: {{{{ {variable} }}}}" for variable, column in variables.items())
    question = "Say for each label whether it applies" if several else "Say which it is"
    instruction = f'{{% block instruction %}}{question}: {{{{ labels | join(", ") }}}}.{{% endblock %}}\n' if has_labels else ""
    answer = ("Labels" if several else "Label") if has_labels else "Answer"
    space = "\n" if several else " "
    return (
        f"{{# Renders a row of {_comment(name)}. Its variables: {', '.join(variables)}. #}}\n"
        f"{instruction}"
        f"{{% block input %}}{inputs}\n{answer}:{{% endblock %}}\n"
        f"{{% block target %}}{space}{{{{ label }}}}{{% endblock %}}\n"
        "{% block separator %}\n\n{% endblock %}\n"
    )


def _title(column: str) -> str:
    """The name of a column as words, without the marks of a template and a colon at its end."""
    words = re.sub(r"[{}\s_]+", " ", column).strip(" :")
    title = words.capitalize()
    return title if title and title not in _ANSWERS else f"Column {words}".strip()


def _comment(name: str) -> str:
    """A name without the mark that would end a comment."""
    return name.replace("#}", "# }")
