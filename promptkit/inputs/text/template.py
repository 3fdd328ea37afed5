"""Prompt templates: Jinja files with blocks for the instruction, the input and target of an example, and the separator.

Rendering is sandboxed and byte-exact: nothing is dedented, stripped or re-spaced, CRLF line ends and trailing newlines are
kept, and substituted values are never rendered themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import jinja2
from jinja2 import nodes

from promptkit.core.arguments import check_arguments, check_value, checked
from promptkit.core.errors import PromptkitError, TemplateError, unknown
from promptkit.core.paths import expanded, folder, names
from promptkit.core.variables import LABEL, LABELS, OF_ANSWERS, SCHEMA
from promptkit.inputs.text.blocks import MARKS, SLOT, Block, compile_block, is_blank, line_of_text, mark_slot, parse, strings_in

BlockName = Literal["instruction", "input", "target", "separator"]
BLOCKS: tuple[str, ...] = get_args(BlockName)
REQUIRED = ("input", "target")
_NOT_PROVIDED = {
    LABELS: "Only a task that declares labels provides this variable; write the labels out in a template for this task",
    SCHEMA: "Only a task whose answers are JSON objects with a schema provides this variable: answer: {json: {schema: ...}}",
}
"""The variables that depend on the kind of the task -> what to try where it does not provide them."""
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
"""The exceptions that an expression of a template can raise for unexpected values."""


@dataclass(frozen=True)
class Template:
    """A prompt template.

    The blocks `input` and `target` are required, `instruction` and `separator` are optional.

    Args:
        source: The text of the template.
        name: Its name in error messages.

    Raises:
        TemplateError: The template is invalid.

    >>> text = "{% block input %}{{ text }} ->{% endblock %}{% block target %} {{ label }}{% endblock %}"
    >>> Template(text).render("input", {"text": "fine"})
    'fine ->'
    """

    source: str
    name: str = "inline"

    def __post_init__(self) -> None:
        checked(self, "a template")
        try:
            _ = self._blocks  # compiles the blocks, so that an invalid template fails now
        except RecursionError:
            raise TemplateError(
                f"The template {self.name} is nested too deeply", code="nested-too-deeply", template=self.name
            ) from None

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.source, self.name)  # compiled blocks cannot be pickled

    @classmethod
    @check_arguments("Template.load")
    def load(cls, name: str | Path) -> Template:
        """Loads a template.

        Args:
            name: The name of a bundled template (`sentiment/review`), the path of a `.j2` file, or the text of a template.

        Raises:
            TemplateError: There is no such template, or it is invalid.
        """
        path = expanded(name)
        if is_template_text(str(name)):
            return cls(str(name))
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
        """The template's first comment, which describes it and its variables."""
        comment = re.match(r"\s*\{#-?(.*?)-?#\}", self.source, re.DOTALL)
        return comment.group(1).strip() if comment else ""

    @property
    def recorded_name(self) -> str:
        """The name in the settings of a run: a file is recorded by its text only, so that a run does not depend on its path."""
        return Template.name if self.name.endswith(".j2") else self.name

    @cached_property
    def variables(self) -> frozenset[str]:
        """The variables that at least one block requires."""
        return frozenset().union(*(block.required for block in self._blocks.values()))

    @property
    def row_variables(self) -> frozenset[str]:
        """The variables without those that come from the answers of a task."""
        return self.variables - OF_ANSWERS

    @property
    def has_instruction(self) -> bool:
        """Whether it has an instruction block."""
        return "instruction" in self._blocks

    @check_arguments("Template.slots")
    def slots(self, *, without: str = "") -> Mapping[str, int]:
        """Returns the slots for learned vectors: name -> number of vectors.

        Args:
            without: The name of a block whose slots to leave out.
        """
        return {slot: count for name, block in self._blocks.items() if name != without for slot, count in block.slots}

    def render(self, block: str, values: Mapping[str, object]) -> str:
        """Returns the exact text of one block.

        Args:
            block: `instruction`, `input`, `target` or `separator`. A missing instruction is empty; a missing separator is an
                empty line.
            values: The variables by name. More than the block uses are allowed.

        Raises:
            InputError: There is no such block.
            TemplateError: A variable is missing, or an expression failed.
        """
        check_value("block", block, BlockName, of="Template.render")
        if not isinstance(values, Mapping):  # a full check of the type would copy the values of each row
            check_value("values", values, Mapping[str, object], of="Template.render")
        compiled = self._blocks.get(block)
        if compiled is None:
            return "\n\n" if block == "separator" else ""
        missing = sorted(compiled.required - values.keys())
        if missing:
            raise self._missing_variables(block, missing, values)
        if compiled.slots and any(mark in text for value in values.values() for text in strings_in(value) for mark in MARKS):
            raise TemplateError(
                f"A value given to template {self.name} contains U+FDD0 or U+FDD1, which mark slots for learned vectors",
                code="reserved-character",
                hint="Remove these characters from the data; they are not text",
                template=self.name,
                block=block,
            )
        functions = {SLOT: mark_slot} if compiled.slots else {}
        try:
            return compiled.template.render({**values, **functions})
        except _FAILURES as error:
            raise self._render_error(block, error) from None

    def _missing_variables(self, block: str, missing: list[str], values: Mapping[str, object]) -> TemplateError:
        hint = "Rename the variable in the template, or map a column to it under `inputs` in the task"
        if len(missing) == 1:
            hint = _NOT_PROVIDED.get(missing[0], hint)
        return TemplateError(
            f"The {block} block of template {self.name} needs {', '.join(missing)}, which this task does not provide",
            code="missing-variables",
            got=f"the variables {', '.join(sorted(values)) or '(none)'}",
            hint=hint,
            template=self.name,
            block=block,
            variables=tuple(missing),
        )

    def _render_error(self, block: str, error: Exception) -> TemplateError:
        reason = str(error) or type(error).__name__
        is_unsafe = isinstance(error, jinja2.exceptions.SecurityError)
        return TemplateError(
            f"The {block} block of template {self.name} failed to render: {reason}",
            code="unsafe-expression" if is_unsafe else "render-failed",
            hint="A template can use its variables and Jinja filters, but no Python internals" if is_unsafe else "",
            template=self.name,
            block=block,
            reason=reason,
        )

    @cached_property
    def _blocks(self) -> Mapping[str, Block]:
        blocks: dict[str, Block] = {}
        for node in parse(self.source, self.name).body:
            if isinstance(node, nodes.Block):
                _check_block_name(node, blocks, self.name)
                blocks[node.name] = compile_block(node, self.name)
            elif not is_blank(node):
                raise _text_outside_blocks(node, self.name)
        missing = [name for name in REQUIRED if name not in blocks]
        if missing:
            raise TemplateError(
                f"The template {self.name} has no block named {' or '.join(missing)}",
                code="missing-block",
                hint="A complete template is {% block input %}Review: {{ text }}\\nSentiment:{% endblock %}"
                "{% block target %} {{ label }}{% endblock %}",
                template=self.name,
                blocks=tuple(missing),
            )
        _check_slots(blocks, self.name)
        _check_label(blocks, self.name)
        return blocks


def is_template_text(template: str) -> bool:
    """Returns whether a text is a template itself, and not the name or path of one."""
    return "{%" in template or "{{" in template


def _check_block_name(node: nodes.Block, blocks: Mapping[str, Block], template: str) -> None:
    """Raises TemplateError for an unknown block and for a second block of the same name."""
    if node.name not in BLOCKS:
        hint = f"The block is in {template}, line {node.lineno}"
        raise unknown("template block", node.name, BLOCKS, hint=hint, error=TemplateError, template=template, line=node.lineno)
    if node.name in blocks:
        raise TemplateError(
            f"{template}, line {node.lineno}: there are two blocks named {node.name}",
            code="duplicate-block",
            hint="Remove or rename one of them",
            template=template,
            line=node.lineno,
            block=node.name,
        )


def _text_outside_blocks(node: nodes.Node, template: str) -> TemplateError:
    line = line_of_text(node)
    return TemplateError(
        f"{template}, line {line}: text outside of every block is never rendered",
        code="text-outside-blocks",
        hint=f"Move it into one of the blocks {', '.join(BLOCKS)}, or make it a comment {{# ... #}}",
        template=template,
        line=line,
    )


def _check_label(blocks: Mapping[str, Block], template: str) -> None:
    """Raises TemplateError unless the target block uses the label, and the input block does not."""
    if LABEL in blocks["input"].required:
        raise TemplateError(
            f"The input block of template {template} uses {LABEL}, which would reveal the answer",
            code="label-in-input",
            hint="Use it in the target block only",
            template=template,
        )
    if LABEL not in blocks["target"].required:
        raise TemplateError(
            f"The target block of template {template} does not use {LABEL}, so all labels would have the same text",
            code="label-not-in-target",
            hint="Write {% block target %} {{ label }}{% endblock %}",
            template=template,
        )


def _check_slots(blocks: Mapping[str, Block], name: str) -> None:
    """Raises TemplateError if a slot is in a block that must be text only, or if a name has two lengths."""
    misplaced = next((block for block in ("target", "separator") if block in blocks and blocks[block].slots), None)
    if misplaced is not None:
        raise TemplateError(
            f"The {misplaced} block of template {name} has a slot for learned vectors, but this block must be text only",
            code="misplaced-slot",
            hint="Move the slot to the instruction or the input block",
            template=name,
            block=misplaced,
        )
    lengths: dict[str, int] = {}
    for slot, count in (item for block in blocks.values() for item in block.slots):
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


def _no_template(name: str, path: Path) -> PromptkitError:
    if not name.endswith(".j2"):
        hint = "For your own file, give a path that ends in .j2; for an inline template, give a text with {% block input %}"
        return unknown("template", name, names("templates", ".j2"), hint=hint, error=TemplateError)
    if path.is_dir():
        return TemplateError(f"The template {name} is a folder", code="is-a-folder", hint="Give the .j2 file in it", file=name)
    hint = "Check the path; give the name of a bundled template without .j2"
    return TemplateError(f"There is no template file {name}", code="no-such-file", hint=hint, file=name)
