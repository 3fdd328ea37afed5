"""The most frequent value of each field of JSON answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from promptkit.classical.baseline import Rows, Scores
from promptkit.classical.frequent_answer import FrequentAnswer
from promptkit.core.examples import Example
from promptkit.core.json_schema import JsonObject, find_object, written
from promptkit.tasks.spec import TaskSpec


class FrequentFields:
    """Predicts an object with the value of each field that most training rows have; ties go to the first in alphabetical order.

    A field is left out if most rows leave it out.
    """

    name = "frequent-fields"
    description = "most frequent value of each field"
    max_rows = None

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether the answers are JSON objects with declared fields."""
        return spec.kind == "generation" and spec.json_schema is not None and bool(spec.json_schema.fields)

    def predict(self, rows: Rows, items: Sequence[Example], labels: Sequence[str]) -> list[Scores]:
        """Returns the object of the most frequent values for every item."""
        objects = [found for row in rows for answer in dict.fromkeys(row.answers) if (found := find_object(answer)) is not None]
        if not objects:  # the answers are parts of the objects
            return FrequentAnswer().predict(rows, items, labels)
        fields = dict.fromkeys(name for found in objects for name in found)
        values = {name: _most_frequent(objects, name) for name in fields}
        answer = written({name: json.loads(value) for name, value in values.items() if value})
        return [{answer: 0.0}] * len(items)


def _most_frequent(objects: Sequence[JsonObject], name: str) -> str:
    """Returns the most frequent value of a field as JSON text; empty if most objects do not have the field."""
    counts = Counter(written(each[name]) if name in each else "" for each in objects)
    return min(counts, key=lambda value: (-counts[value], value))
