"""Demonstrations that are chosen by hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample, content_id
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.values import Value
from promptkit.tasks.columns import cell_text

HandPicked = Sequence["LabeledExample | Mapping[str, object]"]
"""Demonstrations: rows of a task, or mappings of template variables, and `label`, to values."""
_LABEL, _CHOICES = "label", "choices"


def hand_picked(rows: HandPicked, variables: Collection[str]) -> tuple[LabeledExample, ...]:
    """Returns demonstrations that are chosen by hand as rows, in the same order.

    Args:
        rows: The demonstrations. A mapping has the variables of the template, `label`, and optionally `choices`.
        variables: The variables of the template that are not the label.

    Raises:
        InputError: A row has no label, a value is neither a text nor a number, or two rows have the same inputs.
    """
    examples = tuple(
        row if isinstance(row, LabeledExample) else _example(row, variables, number) for number, row in enumerate(rows, start=1)
    )
    inputs = [row.inputs for row in examples]
    repeated = next((number for number, each in enumerate(inputs, start=1) if each in inputs[: number - 1]), None)
    if repeated is not None:
        raise InputError(
            f"The demonstration {repeated} repeats the inputs of an earlier one",
            code="repeated-demonstration",
            hint="Give each demonstration once",
            number=repeated,
        )
    return examples


def _example(row: Mapping[str, object], variables: Collection[str], number: int) -> LabeledExample:
    if _LABEL not in row:
        raise InputError(
            f"The demonstration {number} has no label",
            code="no-label",
            got=", ".join(map(str, row)),
            hint='Write {"text": "...", "label": "..."}, with the variables of the template',
            number=number,
        )
    choices = row.get(_CHOICES, ())
    inputs: dict[str, Value] = {
        str(name): _text(value, str(name), number) for name, value in row.items() if name not in (_LABEL, _CHOICES)
    }
    shown = [value for name, value in inputs.items() if name in variables]
    example = LabeledExample(
        id="",
        inputs=inputs,
        label=_text(row[_LABEL], _LABEL, number),
        choices=tuple(_text(choice, _CHOICES, number) for choice in choices) if isinstance(choices, list | tuple) else (),
        fingerprint=Fingerprint.of(shown or inputs.values(), inputs.values()),
    )
    return replace(example, id=content_id(example))


def _text(value: object, name: str, number: int) -> str:
    if isinstance(value, str | int | float):
        return cell_text(value)
    raise InputError(
        f"The value {name} of the demonstration {number} is not a text",
        code="invalid-demonstration",
        got=repr(value)[:100],
        hint="Give texts or numbers",
        name=name,
        number=number,
    )
