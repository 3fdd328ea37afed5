"""Extraction of JSON objects, which are checked against a schema and compared field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.extract.base import Extraction
from promptkit.align.extract.normalize import NORMALIZATIONS
from promptkit.core.answer_record import AnswerRecord
from promptkit.core.caller import switch
from promptkit.core.errors import Unsupported
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.json_schema import ANY_OBJECT, JsonObject, JsonSchema, find_object, read_schema, written
from promptkit.core.output_reader import Outcome
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Generate, Output
from promptkit.core.schema_keywords import unenforced
from promptkit.core.variables import SCHEMA

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


@dataclass(frozen=True, kw_only=True)
class Json(Extraction):
    """Extracts the first JSON object of the text and compares it with the gold object, as a whole and field by field.

    A code fence around the object and text after it are ignored. Strings are compared by their normal form (`normalize`),
    numbers by their value, and lists in their order, or as sets where the schema has `uniqueItems: true`.
    """

    schema: str | Mapping[str, object] = written(ANY_OBJECT)
    """JSON schema of the object; or `{field: type}`, where a type is string, integer, number or boolean, or the list of allowed
    values; or the path of a file with one of them. By default any object is valid."""
    constrain: bool = True
    """Whether the model can write nothing but an object that is valid under the schema, in which no thoughts precede it."""
    name: ClassVar[str] = "json"

    def __post_init__(self) -> None:
        """Reads and checks the schema."""
        super().__post_init__()
        object.__setattr__(self, "schema", read_schema(self.schema).text)

    @cached_property
    def json_schema(self) -> JsonSchema:
        """The schema."""
        assert isinstance(self.schema, str)
        return JsonSchema(self.schema)

    def settings(self) -> Mapping[str, object]:
        """Returns the name and all settings, with the schema as a JSON value."""
        return {**super().settings(), "schema": self.json_schema.value}

    def notes(self) -> tuple[str, ...]:
        """Returns a note on keywords of the schema that texts are not restricted to, if there are any."""
        found = unenforced(self.json_schema) if self.constrain else {}
        if not found:
            return ()
        listed = ", ".join(f"{key} of {', '.join(place or 'the object' for place in places)}" for key, places in found.items())
        return (f"texts are not restricted to this part of the schema: {listed}; answers that violate it are not valid",)

    def request(self, example: Example, rendered: Rendered) -> Generate:
        """Returns the generation request for a row.

        Raises:
            Unsupported: A thought would precede the answer, which the restriction to the schema does not allow.
        """
        if self.constrain and rendered.thinks:
            raise Unsupported(
                "A text that is restricted to a JSON schema has no thought before it, and this prompt asks for one",
                code="restricted-thought",
                got=f"row {example.id}",
                hint=f"Generate freely with {switch('constrain', False)}, or use {switch('thinking', False)}",
                row=example.id,
                marker=rendered.thought,
            )
        return super().request(example, rendered)

    def template_values(self) -> Mapping[str, object]:
        """Returns the schema as text, unless any object is valid."""
        return {} if self.json_schema.value == ANY_OBJECT else {SCHEMA: self.json_schema.text}

    def generate(self, example: Example, stop: Sequence[str]) -> Generate:
        """Returns the generation request for a row, restricted to the schema if `constrain` is set."""
        verb = super().generate(example, stop)
        return replace(verb, json_schema=self.json_schema.text) if self.constrain else verb

    def find(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Returns the object as text on one line with its fields in the order of the schema, or None if there is none."""
        value = find_object(text)
        return None if value is None else self.json_schema.written(value)

    def normalized(self, answer: str) -> str:
        """Returns the normal form of an object; a text without one is normalized as a text."""
        value = find_object(answer)
        return super().normalized(answer) if value is None else written(self._form(value, self.json_schema.value))

    def record(self, example: Example, rendered: Rendered, output: Output, gold: LabeledExample | None) -> AnswerRecord:
        """Returns the texts with the object in each, and what is wrong with it if it is not valid."""
        record = super().record(example, rendered, output, gold)
        for text in record["generations"]:
            problems = self.problems(text["answer"])
            if problems:
                text["problems"] = dict(problems)
        return record

    def outcome(self, records: Sequence[AnswerRecord], scores: Floats | None = None) -> Outcome:
        """Returns the objects, with the fields of each that are correct and whether it is valid."""
        outcome = super().outcome(records, scores)
        rows = outcome.metric_input
        fields = [self.correct_fields(*row) for row in zip(rows.predictions, rows.accepted, strict=True)]
        valid = np.array([self.is_valid(answer) for answer in rows.predictions], bool)
        by_field = {name: np.array([row[name] for row in fields], float) for name in self.json_schema.fields}
        return replace(outcome, metric_input=rows.with_fields(by_field, valid))

    def correct_fields(self, answer: str | None, accepted: Sequence[str]) -> dict[str, bool]:
        """Returns for each field of the schema whether its value in an answer equals that in one of the accepted answers.

        A field that both leave out is correct. No answer has no correct field.
        """
        given = None if answer is None else self._forms(answer)
        golds = [self._forms(self.compared(gold)) for gold in accepted]
        return {
            field: given is not None and any(given.get(field) == gold.get(field) for gold in golds)
            for field in self.json_schema.fields
        }

    def is_valid(self, answer: str | None) -> bool:
        """Returns whether an answer is an object that is valid under the schema."""
        value = None if answer is None else find_object(answer)
        return value is not None and not self.json_schema.problems(value)

    def problems(self, answer: str | None) -> Mapping[str, str]:
        """Returns what is wrong with an object, by field; empty if it is valid, or there is none."""
        value = None if answer is None else find_object(answer)
        return {} if value is None else self.json_schema.problems(value)

    def _forms(self, answer: str) -> dict[str, str]:
        """Returns the normal form of each field of an object."""
        schema = self.json_schema
        value = find_object(answer) or {}
        return {name: written(self._form(item, schema.schema_of(schema.value, name))) for name, item in value.items()}

    def _form(self, value: object, schema: JsonObject) -> object:
        """Returns the normal form of a JSON value, as another one."""
        inner = self.json_schema
        if isinstance(value, str):
            return NORMALIZATIONS[self.normalize](value)
        if isinstance(value, float | int) and not isinstance(value, bool):
            return {"number": str(Fraction(value))}  # 1 and 1.0 are equal, and differ from the text "1"
        if isinstance(value, dict):
            return {"object": {name: self._form(value[name], inner.schema_of(schema, name)) for name in sorted(value)}}
        if isinstance(value, list):
            items = [self._form(item, inner.schema_of(schema, "items")) for item in value]
            return sorted({written(item) for item in items}) if inner.is_set(schema) else items
        return value
