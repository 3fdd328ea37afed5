"""The page of all error codes, from the statements that raise the errors."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Raised(NamedTuple):
    """An error as it is raised at one place."""

    code: str
    error: str
    """The name of its class."""
    message: str
    """The first sentence of its message, with the expressions that are filled in."""
    fields: tuple[str, ...]


NOT_FIELDS = {"code", "got", "hint"}


def error_page(package: Path) -> str:
    """Returns the page.

    Args:
        package: The folder of the package.
    """
    by_code: dict[str, list[Raised]] = defaultdict(list)
    for file in sorted(package.rglob("*.py")):
        for raised in errors_in(ast.parse(file.read_text("utf-8"))):
            by_code[raised.code].append(raised)
    head = (
        "# Error codes\n\n"
        "Every error that a user can fix is a `PromptkitError` with a stable `code`, and with the values that it is about in\n"
        "`fields`. Programs should look at these; messages can change. Values in braces are filled in.\n\n"
        "| code | class | message | fields |\n|---|---|---|---|\n"
    )
    return head + "\n".join(line(code, by_code[code]) for code in sorted(by_code)) + "\n"


def line(code: str, places: list[Raised]) -> str:
    """Returns the row of a code."""
    errors = ", ".join(dict.fromkeys(f"`{each.error}`" for each in places))
    messages = "<br>".join([*dict.fromkeys(escaped(each.message) for each in places if each.message)][:3])
    fields = ", ".join(f"`{name}`" for name in dict.fromkeys(name for each in places for name in each.fields))
    return f"| `{code}` | {errors} | {messages} | {fields} |"


def escaped(text: str) -> str:
    """Returns a text for a cell of a table."""
    shown = text.replace("\n", " ")
    for character in "\\`*_{}[]<>|":
        shown = shown.replace(character, f"&#{ord(character)};")
    return shown


def errors_in(tree: ast.AST) -> Iterator[Raised]:
    """Yields the errors that a module creates: calls with a keyword `code` that is a constant."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id[:1].isupper()):
            continue
        keywords = {each.arg: each.value for each in node.keywords if each.arg}
        code = keywords.get("code")
        if isinstance(code, ast.Constant) and isinstance(code.value, str):
            message = text_of(node.args[0]) if node.args else ""
            yield Raised(code.value, node.func.id, message, tuple(name for name in keywords if name not in NOT_FIELDS))


def text_of(node: ast.expr) -> str:
    """Returns the text of a string with its expressions in braces; nothing for another expression."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(text_of(each) for each in values)
        case ast.FormattedValue(value=value):
            return "{" + ast.unparse(value) + "}"
    return ""
