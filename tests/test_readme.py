"""The programs and commands of the README run, and print what the README shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from promptkit.models.registry import abilities_table
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```\n+(?:```text\n(.*?)```)?", README, re.DOTALL)
"""Each program with its output, if the README shows it."""
COMMANDS = sorted(set(re.findall(r"^(?:    )?(promptkit (?!\w*/).*)$", README, re.MULTILINE)))


def decimals(text: str) -> list[float]:
    """The numbers with three decimals in a text."""
    return [float(x) for x in re.findall(r"[-+]?\d\.\d\d\d\b", text)]


@pytest.mark.real
@pytest.mark.parametrize(("program", "expected"), PROGRAMS)
def test_a_program_prints_the_output_in_the_readme(program: str, expected: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if not expected:
        return
    numbers_and_spaces = re.compile(r"[-+\d.–]+|\s+|─+")
    assert numbers_and_spaces.sub(" ", done.stdout).split() == numbers_and_spaces.sub(" ", expected).split()
    assert decimals(done.stdout) == pytest.approx(decimals(expected), abs=0.02)


def test_the_readme_has_programs_and_commands() -> None:
    assert PROGRAMS
    assert COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_of_a_command_exist(command: str) -> None:
    name = command.split()[1]
    done = subprocess.run([sys.executable, "-m", "promptkit", name, "--help"], capture_output=True, text=True, check=True)
    for option in re.findall(r"--[a-z]+", command):
        assert option in done.stdout


def test_the_tree_has_one_line_for_each_package() -> None:
    block = re.search(r"## The tree\n.*?```text\n(.*?)```", README, re.DOTALL)
    assert block is not None
    packages = re.findall(r"^  ([a-z]+)/", block.group(1), re.MULTILINE)
    assert sorted(packages) == sorted(path.name for path in (ROOT / "promptkit").iterdir() if (path / "__init__.py").is_file())


def test_the_table_of_engines_is_generated_from_the_code() -> None:
    assert abilities_table() in README


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 420
