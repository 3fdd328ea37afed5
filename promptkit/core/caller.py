"""How messages name settings: as options of the command line, as keys of a YAML file, or as keywords in Python.

Messages, hints and notes name a setting with the functions of this module, and never write `--shots` or `shots=` themselves.
The command line announces itself with `command_line`, and a command that reads its settings from a file with `yaml_file`;
everything else is called from Python.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

_SETTING = re.compile(r"\{(?!names\})([a-z][a-z_]*)(?:=([^{}]+))?\}")
OF_COMMANDS = frozenset({"out", "plot", "save", "shard"})
"""Settings of commands that no file has."""
Caller = Literal["python", "command line", "yaml file"]
_callers: list[Caller] = ["python"]
"""The current caller comes last."""


def command_line() -> AbstractContextManager[None]:
    """Lets messages in the block name the options of the command line."""
    return _called_from("command line")


def yaml_file() -> AbstractContextManager[None]:
    """Lets messages in the block name the keys of a YAML file that a command reads."""
    return _called_from("yaml file")


@contextmanager
def _called_from(caller: Caller) -> Iterator[None]:
    _callers.append(caller)
    try:
        yield
    finally:
        _callers.pop()


def is_command_line() -> bool:
    """Returns whether the command line has called."""
    return _callers[-1] != "python"


def by_caller(*, command: str, python: str) -> str:
    """Returns one of two texts: that for the command line, or that for Python."""
    return command if is_command_line() else python


def setting(name: str, value: object = None, *, python: str | None = None) -> str:
    """Returns a setting as the caller writes it, such as `--shots 4` on the command line, `shots=4` in Python
    and `shots: 4` in a YAML file.

    Args:
        name: The name of its keyword, such as `per_class`.
        value: The value. A text in capital letters, such as `FILE`, stands for any value. None names the setting alone.
        python: The name of the keyword in Python, if it is not `name`.
    """
    if _callers[-1] == "yaml file" and name not in OF_COMMANDS:
        return name if value is None else f"{name}: {_yaml_value(value)}"
    option, keyword = f"--{name.replace('_', '-')}", python or name
    if value is None:
        return by_caller(command=option, python=keyword)
    if isinstance(value, bool):
        return by_caller(command=option if value else f"--no-{option[2:]}", python=f"{keyword}={value}")
    return by_caller(command=f"{option} {_word(value)}", python=f"{keyword}={_literal(value)}")


def switch(name: str, is_on: bool) -> str:
    """Returns a setting that is on or off, such as `--thinking off` on the command line and `thinking=False` in Python."""
    state = "on" if is_on else "off"
    if _callers[-1] == "yaml file":
        return f"{name}: {state}"
    return by_caller(command=f"--{name} {state}", python=f"{name}={is_on}")


def engine_setting(name: str, value: object) -> str:
    """Returns a setting of an engine, such as `--set dtype=float32` on the command line and `dtype="float32"` in Python."""
    if _callers[-1] == "yaml file":
        return f"set: {{{name}: {_yaml_value(value)}}}"
    return by_caller(command=f"--set {name}={_word(value)}", python=f"{name}={_literal(value)}")


def spelled(text: str, *, for_command_line: bool | None = None) -> str:
    """Returns a text with its settings in braces as the caller writes them.

    Args:
        text: A text such as "{folds=1}, or {chat}"; `{names}` is left.
        for_command_line: Whether the command line reads the text; by default whether it has called.
    """
    caller: Caller = _callers[-1] if for_command_line is None else "command line" if for_command_line else "python"
    with _called_from(caller):
        return _SETTING.sub(lambda match: setting(match[1], _value(match[2])), text)


def _value(text: str | None) -> object:
    if text in ("True", "False"):
        return text == "True"
    return int(text) if text is not None and text.isdigit() else text


def _word(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return shlex.quote(",".join(map(str, value)))
    return shlex.quote(str(value))


def _yaml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


def _literal(value: object) -> str:
    if isinstance(value, str):
        return value if value.isupper() else json.dumps(value, ensure_ascii=False)
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_literal, value))}]"
    return str(value)
