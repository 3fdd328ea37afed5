"""YAML is read in one place, in which only true and false are booleans and other texts stay what was written."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import promptkit
from promptkit.core.yaml_text import YamlError, format_yaml, parse_yaml

ROOT = Path(promptkit.__file__).parent
TEXTS = (
    *("yes", "no", "on", "off", "y", "n", "Yes", "NO", "On", "OFF", "tRue"),
    *("012", "0o17", "0x1F", "0b11", "1_000", "1:30", "1:30:00", "+1", "-01", "01.5", "1_0.5", "1:30.5"),
    *("2020-01-01", "2020-01-01 10:00:00", "2020-01-01T10:00:00Z", "=", "1.2.3", "NaN", "Infinity"),
)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_stays_what_was_written(text: str) -> None:
    assert parse_yaml(text) == text
    assert parse_yaml(f"{{{text}: [{text}]}}") == {text: [text]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, None) for word in ("null", "Null", "NULL", "~", "")),
        *((str(number), number) for number in (0, 7, -3, 10**30, 1.5, -0.25, 1e-4, 1e20)),
        *(("1e3", 1000.0), ("+1.5", 1.5), (".5", 0.5), ("2.", 2.0), (".inf", float("inf")), ("-.inf", float("-inf"))),
    ],
)
def test_booleans_numbers_and_null_are_read(text: str, value: object) -> None:
    parsed = parse_yaml(text)
    assert (parsed, type(parsed)) == (value, type(value))


@given(st.integers())
def test_an_integer_is_written_as_it_was(number: int) -> None:
    assert str(parse_yaml(str(number))) == str(number)


@pytest.mark.parametrize("text", ["1.50", "1e3", "10", "012", "yes", "a b"])
def test_numbers_can_be_read_as_texts(text: str) -> None:
    assert parse_yaml(f"[{text}, true]", numbers=False) == [text, True]


texts = st.sampled_from(TEXTS) | st.text(max_size=8)
values = st.recursive(
    texts | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(values)
def test_a_written_value_is_read_back(value: object) -> None:
    style = None if json.dumps(value, ensure_ascii=False).isprintable() else '"'
    assert parse_yaml(format_yaml(value, style=style)) == value


@given(st.sampled_from([*TEXTS, "1e3", "~"]))
def test_a_written_text_is_one_for_readers_of_yaml_1_1_too(text: str) -> None:
    assert yaml.safe_load(format_yaml([text])) == parse_yaml(format_yaml([text])) == [text]


@pytest.mark.parametrize("text", ["{a", "a: b: c", "{a: 1, a: 2}", "!!python/object:os.x {}", "[" * 5000, "!!int x", "\0"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(YamlError):
        parse_yaml(text)


def test_nothing_else_uses_a_yaml_library() -> None:
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(module.partition(".")[0] in ("yaml", "ruamel", "oyaml", "strictyaml") for module in modules):
                found.add(str(path.relative_to(ROOT)))
    assert found == {"core/yaml_text.py"}
