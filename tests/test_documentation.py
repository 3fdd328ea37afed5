"""README and guides: their programs print the documented output, and their commands and links exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from promptkit.models.support import capabilities_table
from promptkit.predictor.taxonomy import aligners_table, manipulations_table
from tests.extensions.conftest import TABLES
from tests.support.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.name: page.read_text("utf-8") for page in PAGES}
README = TEXTS["README.md"]
PROGRAMS = [
    pytest.param(program, printed, id=f"{name}-{number}")
    for name, text in TEXTS.items()
    for number, (program, printed) in enumerate(re.findall(r"```python\n(.*?)```\n+(?:```text\n(.*?)```)?", text, re.DOTALL))
]
"""The programs of a page with the output that it documents, if any."""
COMMANDS = sorted(
    {
        command
        for text in TEXTS.values()
        for block in re.findall(r"(?:^    .*\n)+|^```sh\n(?:.*\n)*?```$", text, re.MULTILINE)
        for command in re.findall(r"^ *(promptkit [a-z]+ .*)$", block, re.MULTILINE)
    }
)
ANCHORS = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^):]*#[^)]+)\)", TEXTS[page.name])]
LINKS = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)#:]+)\)", TEXTS[page.name])]


def figures(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"[-+]?\d\.\d\d\d\b", text)]


@pytest.mark.real
@pytest.mark.parametrize(("program", "printed"), PROGRAMS)
def test_programs_print_the_documented_output(program: str, printed: str, tmp_path: Path) -> None:
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


def test_every_guide_is_linked_and_most_have_programs() -> None:
    assert PROGRAMS
    assert COMMANDS
    assert {path.name for path in (ROOT / "docs").glob("*.md")} == {
        Path(link).name for page, link in LINKS if link.startswith("docs/")
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_of_a_command_exist(command: str) -> None:
    name = re.findall(r"\S+", command)[1 : 3 if command.startswith("promptkit task ") else 2]
    done = subprocess.run([sys.executable, "-m", "promptkit", *name, "--help"], capture_output=True, text=True, check=True)
    for option in re.findall(r"--[a-z][a-z-]*", command.partition("  #")[0]):
        assert option in done.stdout


IMAGE_COMMANDS = [command.partition("  #")[0] for command in COMMANDS if command in README and "vision:demo" in command]


@pytest.mark.real
@pytest.mark.parametrize("command", IMAGE_COMMANDS)
def test_the_image_examples_of_the_readme_run(command: str, tmp_path: Path) -> None:
    words = [*shlex.split(command)[1:], "--limit", "20", "--out", str(tmp_path), "--json"]
    done = subprocess.run([sys.executable, "-m", "promptkit", *words], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 20


def test_the_readme_has_an_example_of_images() -> None:
    assert IMAGE_COMMANDS


@pytest.mark.parametrize(("page", "link"), LINKS, ids=lambda value: value if isinstance(value, str) else value.name)
def test_links_point_to_existing_files(page: Path, link: str) -> None:
    assert (page.parent / link).exists()


@pytest.mark.parametrize(("page", "link"), ANCHORS, ids=lambda value: value if isinstance(value, str) else value.name)
def test_links_to_sections_point_to_existing_ones(page: Path, link: str) -> None:
    file, _, anchor = link.partition("#")
    titles = re.findall(r"^#+ (.*)$", (page.parent / file if file else page).read_text("utf-8"), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w\s-]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_tree_has_one_line_for_each_package() -> None:
    block = re.search(r"## The tree\n.*?```text\n(.*?)```", README, re.DOTALL)
    assert block is not None
    named = re.findall(r"^  ([a-z]+)/", block.group(1), re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in (ROOT / "promptkit").iterdir() if (path / "__init__.py").is_file())


def test_the_table_of_engines_matches_the_code() -> None:
    assert capabilities_table() in TEXTS["engines.md"]


def test_the_tables_of_techniques_match_the_code() -> None:
    assert manipulations_table() in README
    assert aligners_table() in README


def test_every_table_is_in_the_guide_to_extensions() -> None:
    for table in TABLES:
        assert f"`{table.group}`" in TEXTS["extending.md"]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 200
