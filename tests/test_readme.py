"""The README is a promise: its programs run, and print what it says they print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from promptkit.models.registry import capabilities_table
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```\n+(?:```text\n(.*?)```)?", README, re.DOTALL)
"""Each with what it prints, if the README says that."""
COMMANDS = sorted(set(re.findall(r"^(?:    )?(promptkit (?!\w*/).*)$", README, re.MULTILINE)))


def figures(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"[-+]?\d\.\d\d\d\b", text)]


@pytest.mark.real
@pytest.mark.parametrize(("program", "printed"), PROGRAMS)
def test_a_program_prints_what_the_readme_says(program: str, printed: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if not printed:
        return
    blank = re.compile(r"[-+\d.–]+|\s+|─+")
    assert blank.sub(" ", done.stdout).split() == blank.sub(" ", printed).split()
    assert figures(done.stdout) == pytest.approx(figures(printed), abs=0.02)


def test_the_readme_has_programs_and_commands() -> None:
    assert PROGRAMS
    assert COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_a_commands_options_exist(command: str) -> None:
    name = command.split()[1]
    done = subprocess.run([sys.executable, "-m", "promptkit", name, "--help"], capture_output=True, text=True, check=True)
    for option in re.findall(r"--[a-z]+", command):
        assert option in done.stdout


def test_the_tree_has_one_line_for_each_package() -> None:
    block = re.search(r"## The tree\n.*?```text\n(.*?)```", README, re.DOTALL)
    assert block is not None
    named = re.findall(r"^  ([a-z]+)/", block.group(1), re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in (ROOT / "promptkit").iterdir() if (path / "__init__.py").is_file())


def test_what_each_engine_can_apply_is_what_the_code_says() -> None:
    assert capabilities_table() in README


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 420
