"""One `.j2` file: an instruction, an example's input and target, and the separator between examples.

Rendering is sandboxed and byte-exact: nothing is dedented, stripped or re-spaced, CRLF and trailing newlines survive,
and a substituted value is never itself rendered. Knows nothing of tasks, tokens or models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from promptkit.core.errors import PromptkitError, TemplateError, unknown
from promptkit.core.paths import folder, names

BLOCKS = ("instruction", "input", "target", "separator")
REQUIRED = ("input", "target")
SLOT = "soft"
"""The function that leaves a place for learned vectors: {{ soft("task", 8) }}."""
MARKS = ("\ufdd0", "\ufdd1")
"""What stands around a slot's name in a rendered block. Unicode keeps them for a program's own use; no text may hold them."""
LABEL = "label"
"""The variable that holds a label's word; only the target block sees it."""


_FAILURES = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    AssertionError,
    LookupError,
    AttributeError,
    RecursionError,
    MemoryError,
)
"""What an expression of a template can raise when it meets values that it was not made for."""


@dataclass(frozen=True)
class Template:
    """The blocks of one template.

    >>> text = "{% block input %}{{ text }} ->{% endblock %}{% block target %} {{ label }}{% endblock %}"
    >>> Template(text).render("input", {"text": "fine"})
    'fine ->'
    """

    source: str
    name: str = "inline"

    def __post_init__(self) -> None:
        try:
            self._blocks  # noqa: B018 - a template that cannot be used is refused when it is made
        except RecursionError:
            raise TemplateError(
                f"The template {self.name} is nested too deeply", code="nested-too-deeply", template=self.name
            ) from None

    @classmethod
    def load(cls, name: str | Path) -> Template:
        """Read a template by shipped name (`sentiment/review`) or by the path of a `.j2` file, or take its text itself."""
        if "{%" in str(name) or "{{" in str(name):
            return cls(str(name))
        path = Path(name)
        if path.suffix != ".j2":
            path = folder("templates") / f"{name}.j2"
        if not path.is_file():
            raise _no_template(str(name), path)
        try:
            return cls(path.read_bytes().decode("utf-8-sig"), name=str(name))
        except UnicodeDecodeError as error:
            raise TemplateError(
                f"The template {path} is not UTF-8: {error.reason} at byte {error.start}",
                code="not-utf8",
                hint="Save it as UTF-8",
                file=str(path),
                position=error.start,
            ) from None

    @property
    def documentation(self) -> str:
        """The template's first comment: what it is for, and its variables."""
        comment = re.match(r"\s*\{#-?(.*?)-?#\}", self.source, re.DOTALL)
        return comment.group(1).strip() if comment else ""

    @cached_property
    def variables(self) -> frozenset[str]:
        """Every variable that some block cannot do without."""
        return frozenset().union(*(block.required for block in self._blocks.values()))

    def slots(self, *, without: str = "") -> Mapping[str, int]:
        """The slots for learned vectors: name -> how many; `without` those of one block."""
        return {name: count for block, each in self._blocks.items() if block != without for name, count in each.slots}

    def render(self, block: str, values: Mapping[str, object]) -> str:
        """The exact text of one block; raises if a variable that it needs is not among the values."""
        compiled = self._blocks.get(block)
        if compiled is None:
            return "\n\n" if block == "separator" else ""
        missing = sorted(compiled.required - values.keys())
        if missing:
            hint = "Rename the variable in the template, or map a column to it under `inputs` in the task"
            if missing == ["labels"]:
                hint = (
                    "Only a task that declares labels provides this variable; write the labels out in a template for this task"
                )
            raise TemplateError(
                f"The {block} block of template {self.name} needs {', '.join(missing)}, which this task does not provide",
                code="missing-variables",
                got=f"the variables {', '.join(sorted(values)) or '(none)'}",
                hint=hint,
                template=self.name,
                block=block,
                variables=tuple(missing),
            )
        if compiled.slots and any(mark in text for value in values.values() for text in _texts(value) for mark in MARKS):
            raise TemplateError(
                f"A value given to template {self.name} contains U+FDD0 or U+FDD1, which mark slots for learned vectors",
                code="reserved-character",
                hint="Remove these characters from the data; they are not text",
                template=self.name,
                block=block,
            )
        own = {SLOT: _slot} if compiled.slots else {}
        try:
            return compiled.template.render({**values, **own})
        except _FAILURES as error:
            reason = str(error) or type(error).__name__
            is_unsafe = isinstance(error, jinja2.exceptions.SecurityError)
            raise TemplateError(
                f"The {block} block of template {self.name} failed to render: {reason}",
                code="unsafe-expression" if is_unsafe else "render-failed",
                hint="A template can use its variables and Jinja filters, but no Python internals" if is_unsafe else "",
                template=self.name,
                block=block,
                reason=reason,
            ) from None

    @cached_property
    def _blocks(self) -> Mapping[str, _Block]:
        tree = _parse(self.source, self.name)
        found: dict[str, _Block] = {}
        for node in tree.body:
            if isinstance(node, nodes.Block):
                if node.name not in BLOCKS:
                    hint = f"The block is in {self.name}, line {node.lineno}"
                    where = {"template": self.name, "line": node.lineno}
                    raise unknown("template block", node.name, BLOCKS, hint=hint, error=TemplateError, **where)
                if node.name in found:
                    raise TemplateError(
                        f"{self.name}, line {node.lineno}: there are two blocks named {node.name}",
                        code="duplicate-block",
                        hint="Remove or rename one of them",
                        template=self.name,
                        line=node.lineno,
                        block=node.name,
                    )
                found[node.name] = _compile(node, self.name)
            elif not _is_blank(node):
                line = _line_of_text(node)
                raise TemplateError(
                    f"{self.name}, line {line}: text outside of every block is never rendered",
                    code="text-outside-blocks",
                    hint=f"Move it into one of the blocks {', '.join(BLOCKS)}, or make it a comment {{# ... #}}",
                    template=self.name,
                    line=line,
                )
        absent = [name for name in REQUIRED if name not in found]
        if absent:
            raise TemplateError(
                f"The template {self.name} has no block named {' or '.join(absent)}",
                code="missing-block",
                hint="A complete template is {% block input %}Review: {{ text }}\\nSentiment:{% endblock %}"
                "{% block target %} {{ label }}{% endblock %}",
                template=self.name,
                blocks=tuple(absent),
            )
        _check_slots(found, self.name)
        if LABEL in found["input"].required:
            raise TemplateError(
                f"The input block of template {self.name} uses {LABEL}, which would reveal the answer",
                code="label-in-input",
                hint="Use it in the target block only",
                template=self.name,
            )
        if LABEL not in found["target"].required:
            raise TemplateError(
                f"The target block of template {self.name} does not use {LABEL}, so all labels would have the same text",
                code="label-not-in-target",
                hint="Write {% block target %} {{ label }}{% endblock %}",
                template=self.name,
            )
        return found


def _no_template(name: str, path: Path) -> PromptkitError:
    if not name.endswith(".j2"):
        hint = "For your own file, give a path that ends in .j2; for an inline template, give a text with {% block input %}"
        return unknown("template", name, names("templates", ".j2"), hint=hint, error=TemplateError)
    if path.is_dir():
        return TemplateError(f"The template {name} is a folder", code="is-a-folder", hint="Give the .j2 file in it", file=name)
    hint = "Check the path; give the name of a bundled template without .j2"
    return TemplateError(f"There is no template file {name}", code="no-such-file", hint=hint, file=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    template: jinja2.Template
    required: frozenset[str]
    slots: tuple[tuple[str, int], ...]
    """Its places for learned vectors: name, and how many."""


class _Missing(jinja2.StrictUndefined):
    """Is not shown inside of a list either."""

    __slots__ = ()
    __repr__ = jinja2.Undefined._fail_with_undefined_error


def _shown(value: object) -> object:
    """What an expression comes to, if it is a value: a method or a generator reads otherwise in each process."""
    if isinstance(value, (str, int, float, list, tuple, dict, jinja2.Undefined)) or value is None:
        return value
    kind = type(value).__name__
    raise TypeError(f"the value of an expression is a {kind}, which is not text; call it, or join it with | join(', ')")


def _environment() -> jinja2.Environment:
    environment = ImmutableSandboxedEnvironment(undefined=_Missing, keep_trailing_newline=True, cache_size=0, finalize=_shown)
    environment.globals.clear()
    del environment.filters["random"]  # the same template must render the same each time
    return environment


_ENVIRONMENT = _environment()


_STAND_INS = ("\x1c", "\x1d", "\x1e", "\x1f", *map(chr, range(0xE000, 0xF8FF)))
"""Characters that Jinja takes for white space, as it takes a carriage return; others where a template holds them all."""


def _parse(source: str, name: str) -> nodes.Template:
    """Parse without Jinja's newline normalization: carriage returns travel as a character that the source lacks."""
    stand_in = next(mark for mark in _STAND_INS if mark not in source)
    try:
        tree = _ENVIRONMENT.parse(source.replace("\r", stand_in))
    except jinja2.TemplateSyntaxError as error:
        raise _syntax_error(name, error) from None
    except RecursionError:
        raise TemplateError(f"The template {name} is nested too deeply", code="nested-too-deeply", template=name) from None
    for data in tree.find_all(nodes.TemplateData):
        data.data = data.data.replace(stand_in, "\r")
    for constant in tree.find_all(nodes.Const):
        if isinstance(constant.value, str):
            constant.value = constant.value.replace(stand_in, "\r")
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


def _compile(block: nodes.Block, name: str) -> _Block:
    tree = nodes.Template(block.body, lineno=block.lineno)
    tree.set_environment(_ENVIRONMENT)
    try:
        slots = _slots(tree, name)
        required = frozenset(meta.find_undeclared_variables(tree) - _optional(tree) - ({SLOT} if slots else set()))
        code: Any = _ENVIRONMENT.compile(tree)
    except jinja2.TemplateSyntaxError as error:  # an unknown filter or test
        raise _syntax_error(name, error) from None
    except (RecursionError, SyntaxError):
        raise TemplateError(
            f"The {block.name} block of template {name} is nested too deeply",
            code="nested-too-deeply",
            template=name,
            block=block.name,
        ) from None
    return _Block(template=jinja2.Template.from_code(_ENVIRONMENT, code, {}), required=required, slots=slots)


def _slots(tree: nodes.Template, name: str) -> tuple[tuple[str, int], ...]:
    """What the calls of `soft` ask for, each a name and a number written out."""
    found: list[tuple[str, int]] = []
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == SLOT:
            told = [each.value for each in call.args if isinstance(each, nodes.Const)]
            if not (len(call.args) == len(told) == 2 and not call.kwargs and _is_slot(*told)):
                raise TemplateError(
                    f"{name}, line {call.lineno}: a slot for learned vectors takes a name and a number of vectors, as literals",
                    code="malformed-slot",
                    hint='Write {{ soft("task", 8) }}',
                    template=name,
                    line=call.lineno,
                )
            found.append((told[0], told[1]))
    return tuple(found)


def _check_slots(blocks: Mapping[str, _Block], name: str) -> None:
    """Raise if a slot stands where text alone can, or if one name has two lengths."""
    foreign = next((block for block in ("target", "separator") if block in blocks and blocks[block].slots), None)
    if foreign is not None:
        raise TemplateError(
            f"The {foreign} block of template {name} has a slot for learned vectors, but this block must be text only",
            code="misplaced-slot",
            hint="Move the slot to the instruction or the input block",
            template=name,
            block=foreign,
        )
    lengths: dict[str, int] = {}
    for slot, count in (each for block in blocks.values() for each in block.slots):
        if lengths.setdefault(slot, count) != count:
            raise TemplateError(
                f"The template {name} has slots named {slot} with different lengths",
                code="inconsistent-slot-length",
                got=f"{lengths[slot]} and {count}",
                hint="Use one length for each name",
                template=name,
                slot=slot,
                lengths=(lengths[slot], count),
            )


def _is_slot(name: object, count: object) -> bool:
    return isinstance(name, str) and name.isidentifier() and type(count) is int and count > 0


def _slot(name: str, count: int) -> str:
    return f"{MARKS[0]}{name}{MARKS[1]}"


def _texts(value: object) -> Iterator[str]:
    """Every text of a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)


def _optional(tree: nodes.Template) -> set[str]:
    """Variables that are asked whether they are there, or have a default."""
    asked = [test.node for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined")]
    asked += [kept.node for kept in tree.find_all(nodes.Filter) if kept.name in ("default", "d") and kept.node is not None]
    return {node.name for node in asked if isinstance(node, nodes.Name)}


def _line_of_text(node: nodes.Node) -> int:
    """The line of its first character that is no white space."""
    data = next(node.find_all(nodes.TemplateData), None)
    return node.lineno + (data.data[: len(data.data) - len(data.data.lstrip())].count("\n") if data else 0)


def _is_blank(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Output) and all(
        isinstance(part, nodes.TemplateData) and not part.data.strip() for part in node.nodes
    )
