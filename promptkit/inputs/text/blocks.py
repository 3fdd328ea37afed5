"""Parses the blocks of a template and compiles them with Jinja, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from promptkit.core.errors import TemplateError

SLOT = "soft"
"""The function that reserves a slot for learned vectors: {{ soft("task", 8) }}."""
MARKS = ("\ufdd0", "\ufdd1")
"""The characters before and after a slot's name in a rendered block. Unicode reserves them for internal use by programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A compiled block of a template."""

    template: jinja2.Template
    """Renders the block."""
    required: frozenset[str]
    """The variables without which it cannot be rendered."""
    slots: tuple[tuple[str, int], ...]
    """Names and lengths of the block's slots for learned vectors."""


class _Missing(jinja2.StrictUndefined):
    """An undefined value that fails inside a list too, where Jinja calls `repr`."""

    __slots__ = ()
    __repr__ = jinja2.Undefined._fail_with_undefined_error


def _checked_value(value: object) -> object:
    """Returns the value of an expression. Raises TypeError for methods and generators, whose text differs between processes."""
    if isinstance(value, (str, int, float, list, tuple, dict, jinja2.Undefined)) or value is None:
        return value
    kind = type(value).__name__
    raise TypeError(f"the value of an expression is a {kind}, which is not text; call it, or join it with | join(', ')")


def _environment() -> jinja2.Environment:
    environment = ImmutableSandboxedEnvironment(
        undefined=_Missing, keep_trailing_newline=True, cache_size=0, finalize=_checked_value
    )
    environment.globals.clear()
    del environment.filters["random"]  # the same template must render the same each time
    return environment


_ENVIRONMENT = _environment()
_PLACEHOLDERS = ("\x1c", "\x1d", "\x1e", "\x1f", *map(chr, range(0xE000, 0xF8FF)))
"""Characters that Jinja treats as white space, as it does a carriage return, followed by private-use characters."""


def parse(source: str, name: str) -> nodes.Template:
    """Parses a template without Jinja's newline normalization: a placeholder replaces carriage returns during parsing.

    Raises:
        TemplateError: The syntax is invalid, or the template loads another file.
    """
    placeholder = next(character for character in _PLACEHOLDERS if character not in source)
    try:
        tree = _ENVIRONMENT.parse(source.replace("\r", placeholder))
    except jinja2.TemplateSyntaxError as error:
        raise _syntax_error(name, error) from None
    except RecursionError:
        raise TemplateError(f"The template {name} is nested too deeply", code="nested-too-deeply", template=name) from None
    for data in tree.find_all(nodes.TemplateData):
        data.data = data.data.replace(placeholder, "\r")
    for constant in tree.find_all(nodes.Const):
        if isinstance(constant.value, str):
            constant.value = constant.value.replace(placeholder, "\r")
    loads = next(tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)), None)
    if loads is not None:
        raise TemplateError(
            f"{name}, line {loads.lineno}: a template cannot load another file",
            code="loads-another-file",
            hint="Copy the text of that file into this template",
            template=name,
            line=loads.lineno,
        )
    return tree


def _syntax_error(name: str, error: jinja2.TemplateSyntaxError) -> TemplateError:
    return TemplateError(
        f"{name}, line {error.lineno}: {error.message}",
        code="syntax-error",
        hint="Fix the Jinja syntax of the template",
        template=name,
        line=error.lineno,
        reason=error.message,
    )


def compile_block(block: nodes.Block, name: str) -> Block:
    """Compiles one block of the template with this name.

    Raises:
        TemplateError: The block is invalid.
    """
    tree = nodes.Template(block.body, lineno=block.lineno)
    tree.set_environment(_ENVIRONMENT)
    try:
        slots = _slots(tree, name)
        required = frozenset(meta.find_undeclared_variables(tree) - _optional(tree) - ({SLOT} if slots else set()))
        code = _ENVIRONMENT.compile(tree)
    except jinja2.TemplateSyntaxError as error:  # an unknown filter or test
        raise _syntax_error(name, error) from None
    except (RecursionError, SyntaxError):
        raise TemplateError(
            f"The {block.name} block of template {name} is nested too deeply",
            code="nested-too-deeply",
            template=name,
            block=block.name,
        ) from None
    return Block(template=jinja2.Template.from_code(_ENVIRONMENT, code, {}), required=required, slots=slots)


def _slots(tree: nodes.Template, name: str) -> tuple[tuple[str, int], ...]:
    """Returns the name and length of each call of `soft`, which must be literals."""
    slots: list[tuple[str, int]] = []
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == SLOT:
            literals = [argument.value for argument in call.args if isinstance(argument, nodes.Const)]
            if not (len(call.args) == len(literals) == 2 and not call.kwargs and _is_slot(*literals)):
                raise TemplateError(
                    f"{name}, line {call.lineno}: a slot for learned vectors takes a name and a number of vectors, as literals",
                    code="malformed-slot",
                    hint='Write {{ soft("task", 8) }}',
                    template=name,
                    line=call.lineno,
                )
            slots.append((literals[0], literals[1]))
    return tuple(slots)


def _is_slot(name: object, count: object) -> bool:
    return isinstance(name, str) and name.isidentifier() and type(count) is int and count > 0


def mark_slot(name: str, count: int) -> str:
    """Returns a slot's name between marks: the value of `soft(name, count)` in a rendered block."""
    return f"{MARKS[0]}{name}{MARKS[1]}"


def strings_in(value: object) -> Iterator[str]:
    """Yields the strings in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings_in(item)


def _optional(tree: nodes.Template) -> set[str]:
    """Returns the variables that are tested for being defined, or that have a default."""
    tested = [test.node for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined")]
    tested += [item.node for item in tree.find_all(nodes.Filter) if item.name in ("default", "d") and item.node is not None]
    return {node.name for node in tested if isinstance(node, nodes.Name)}


def line_of_text(node: nodes.Node) -> int:
    """Returns the line of the first character that is not white space."""
    data = next(node.find_all(nodes.TemplateData), None)
    return node.lineno + (data.data[: len(data.data) - len(data.data.lstrip())].count("\n") if data else 0)


def is_blank(node: nodes.Node) -> bool:
    """Whether a part of a template is only white space."""
    return isinstance(node, nodes.Output) and all(
        isinstance(part, nodes.TemplateData) and not part.data.strip() for part in node.nodes
    )
