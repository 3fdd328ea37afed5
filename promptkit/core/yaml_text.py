"""Reads and writes YAML. It is the only module that calls a YAML library.

Values are read as YAML 1.2 reads them: only `true` and `false` are booleans, so that `yes`, `no`, `on` and `off` are texts. A
number is read as a number if it has the one spelling that Python gives an integer, or is a decimal fraction; every other text,
such as `012`, `0x1F`, `1_000`, `1:30`, `+1` or `2020-01-01`, stays what was written, as it may be a label or an id.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

_RESOLVED = {
    "null": (re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), [*"tTfF"]),
    "int": (re.compile(r"^(?:0|-?[1-9][0-9]*)$"), [*"-0123456789"]),
    "float": (
        re.compile(
            r"^[-+]?(?:(?:\.[0-9]+|(?:0|[1-9][0-9]*)\.[0-9]*)(?:[eE][-+]?[0-9]+)?|(?:0|[1-9][0-9]*)[eE][-+]?[0-9]+"
            r"|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
        ),
        [*"-+.0123456789"],
    ),
    "merge": (re.compile(r"^<<$"), ["<"]),
}
"""YAML type -> the texts without quotes that have this type, and their first characters."""


class _Loader(yaml.SafeLoader):  # the loader of libyaml crashes on deep nesting
    """A loader that refuses duplicate keys; YAML would silently use the last one."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 replaces those of YAML 1.1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Constructs a mapping; raises ConstructorError for a duplicate key."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value} is given twice", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _TextLoader(_Loader):
    """A loader that reads numbers as texts."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 has no numbers


class _Dumper(yaml.SafeDumper):
    """A dumper that puts every text in quotes that YAML 1.1 or 1.2 would read as something else."""


for _name, (_pattern, _first) in _RESOLVED.items():
    _tag = f"tag:yaml.org,2002:{_name}"
    _Loader.add_implicit_resolver(_tag, _pattern, _first)
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)
    if _name not in ("int", "float"):
        _TextLoader.add_implicit_resolver(_tag, _pattern, _first)


class YamlError(ValueError):
    """A text is not YAML. The message says why, with line and column where they are known."""


def parse_yaml(text: str, *, numbers: bool = True) -> object:
    """Returns the value that a YAML text contains.

    Args:
        text: The text.
        numbers: Whether numbers are read as numbers; if not, they stay what was written, such as `1.50`.

    Raises:
        YamlError: It is not YAML.
    """
    try:
        value: object = yaml.load(text, _Loader if numbers else _TextLoader)
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise YamlError(_reason(error)) from None
    return value


def format_yaml(value: object, *, style: str | None = None) -> str:
    """Returns a value as YAML on one line.

    Args:
        value: The value: texts, numbers, booleans, lists and mappings.
        style: The quotes of texts; by default none where they are not needed.
    """
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, default_style=style, allow_unicode=True, width=10**6, sort_keys=False
    )
    return text.strip().removesuffix("...").strip() if isinstance(value, str) else text.strip()


def _reason(error: Exception) -> str:
    """Returns why a text is not YAML, with line and column."""
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    if mark is None or not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split()) or "nested too deeply"
    context = f" {error.context}" if error.context else ""
    return f"{error.problem}{context} (line {mark.line + 1}, column {mark.column + 1})"
