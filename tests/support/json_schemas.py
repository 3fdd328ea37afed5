"""Random JSON schemas of flat objects, and objects that are valid under them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

words = st.text('abc é"\\{}\n', max_size=4)
names = st.text("abcXYZ_ é", min_size=1, max_size=5)
scalar_schemas: Any = st.one_of(
    st.sampled_from([{"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {"type": "number"}, {"type": "null"}]),
    st.fixed_dictionaries({"type": st.just("string"), "maxLength": st.integers(0, 3)}),
    st.fixed_dictionaries({"type": st.just("integer"), "minimum": st.just(-3), "maximum": st.integers(0, 20)}),
    st.fixed_dictionaries({"enum": st.lists(st.one_of(words, st.integers(-9, 9)), min_size=1, max_size=3, unique=True)}),
)
list_schemas: Any = st.fixed_dictionaries({"type": st.just("array"), "items": scalar_schemas, "maxItems": st.integers(0, 2)})
field_schemas: Any = st.one_of(scalar_schemas, list_schemas)


@st.composite
def _object_schemas(draw: Any) -> dict[str, Any]:
    properties = draw(st.dictionaries(names, field_schemas, min_size=1, max_size=4))
    required = [name for name in properties if draw(st.booleans())]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


schemas = _object_schemas()
"""Schemas of objects with up to four fields."""


def values(schema: dict[str, Any]) -> Any:
    """Values that are valid under the schema of a field."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "array":
        return st.lists(values(schema["items"]), max_size=schema["maxItems"])
    return {
        "string": st.text('abc é"\\{}\n', max_size=schema.get("maxLength", 4)),
        "integer": st.integers(schema.get("minimum", -99), schema.get("maximum", 99)),
        "number": st.one_of(st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False)),
        "boolean": st.booleans(),
        "null": st.none(),
    }[schema["type"]]


def objects(schema: dict[str, Any]) -> Any:
    """Objects that are valid under a schema of `schemas`."""
    fields = {name: values(each) for name, each in schema["properties"].items()}
    required = {name: fields[name] for name in fields if name in schema["required"]}
    optional = {name: fields[name] for name in fields if name not in required}
    return st.fixed_dictionaries(required, optional=optional)
