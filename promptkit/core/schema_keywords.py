"""The keywords of a JSON schema that validation checks, and that texts are not restricted to while they are generated.

The grammar of a schema determines for each token whether the text can still become a valid object. Some keywords are not part
of it: whether an item of a list is repeated, for example, depends on all items before it. Other keywords without a grammar,
such as `not`, are refused by the engines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from promptkit.core.json_schema import JsonObject, JsonSchema

UNENFORCED = frozenset({"uniqueItems", "divisibleBy", "disallow", "extends"})
"""The keywords that are only validated; all but the first are of the earliest draft of JSON Schema."""
_BOUNDS = frozenset({"exclusiveMinimum", "exclusiveMaximum"})
"""Numbers; booleans until draft 4, which are only validated."""
_BY_NAME = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
"""The keywords whose values are mappings from names to schemas."""
_VALUES = frozenset({"enum", "const", "default", "examples"})
"""The keywords whose values are data, not schemas."""


def unenforced(schema: JsonSchema) -> dict[str, tuple[str, ...]]:
    """Returns the keywords of a schema that are only validated -> the fields that they apply to; `""` is the whole object."""
    found: dict[str, list[str]] = {}
    validated = schema.validated_keywords | _BOUNDS
    for place, keyword in _only_validated(schema.value, ""):
        if keyword in validated:
            found.setdefault(keyword, []).append(place)
    return {keyword: tuple(dict.fromkeys(places)) for keyword, places in found.items()}


def enforceable(schema: JsonObject) -> dict[str, object]:
    """Returns a schema without the keywords that are only validated."""
    return {key: _enforceable(key, value) for key, value in schema.items() if not _is_only_validated(key, value)}


def _enforceable(key: str, value: object) -> object:
    if key in _VALUES:
        return value
    if isinstance(value, list):
        return [enforceable(item) if isinstance(item, Mapping) else item for item in value]
    if not isinstance(value, Mapping):
        return value
    if key in _BY_NAME:
        return {name: enforceable(inner) if isinstance(inner, Mapping) else inner for name, inner in value.items()}
    return enforceable(value)


def _only_validated(schema: JsonObject, place: str) -> Iterator[tuple[str, str]]:
    """Yields the place and the name of each keyword that is only validated and has an effect."""
    for key, value in schema.items():
        if _is_only_validated(key, value) and value is not False:
            yield place, key
        elif key not in _VALUES:
            for name, inner in _inner(key, value):
                yield from _only_validated(inner, ".".join(filter(None, (place, name))))


def _inner(key: str, value: object) -> Iterator[tuple[str, JsonObject]]:
    """Yields the schemas within the value of a keyword, each with the name of the field that it describes, if any."""
    if isinstance(value, list):
        yield from (("", item) for item in value if isinstance(item, Mapping))
    elif isinstance(value, Mapping) and key in _BY_NAME:
        yield from ((name, inner) for name, inner in value.items() if isinstance(inner, Mapping))
    elif isinstance(value, Mapping):
        yield "", value


def _is_only_validated(key: str, value: object) -> bool:
    return key in UNENFORCED or (key in _BOUNDS and isinstance(value, bool))
