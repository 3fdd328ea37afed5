"""The generated pages of the documentation site; `make docs` builds it and checks all links."""

from __future__ import annotations

import ast
import sys
from pathlib import PurePosixPath

import pytest

from promptkit.config.kinds import named_kinds
from tests.support.paths import ROOT

sys.path.append(str(ROOT / "docs" / "generate"))

from commands import command_page
from comparisons import compared
from errors import errors_in
from links import linked_files, site_link
from techniques import TITLES, technique_page


@pytest.mark.parametrize(
    ("link", "page", "expected"),
    [
        ("docs/runs.md", "index.md", "runs.md"),
        ("benchmarks/tune/README.md", "index.md", "benchmarks/tune/README.md"),
        ("../README.md", "runs.md", "index.md"),
        ("../benchmarks/tune/README.md", "tuning.md", "benchmarks/tune/README.md"),
        ("metrics.md", "tuning.md", "metrics.md"),
        ("../../docs/metrics.md", "benchmarks/tune/README.md", "../../metrics.md"),
        ("../predict/README.md", "benchmarks/tune/README.md", "../predict/README.md"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(link: str, page: str, expected: str) -> None:
    assert site_link(link, PurePosixPath(page)) == expected


def test_copied_files_exist() -> None:
    files = linked_files(ROOT)
    assert files
    assert all((ROOT / file).is_file() and not file.startswith("docs/") for file in files)


def test_every_technique_has_a_row() -> None:
    page = technique_page(ROOT)
    named = [each.name for each in named_kinds() if each.kind in TITLES]
    assert all(f"\n| `{name}` |" in page for name in named)


def test_counts_of_benchmarks_are_those_of_their_results() -> None:
    found = compared(ROOT / "benchmarks")
    assert set(found) >= {"contextual", "batch", "linear", "soft", "similar"}
    assert all(each.better + each.worse + each.undecided > 0 for each in found.values())


def test_errors_are_found_in_statements() -> None:
    program = "raise InputError(f'There is no {name}', code='unknown-name', got=name, hint='Look', name=name)"
    (found,) = errors_in(ast.parse(program))
    assert found == ("unknown-name", "InputError", "There is no {name}", ("name",))


def test_every_command_has_a_section() -> None:
    page = command_page()
    assert all(f"\n## promptkit {name}\n" in page for name in ("eval", "predict", "tune", "task init"))
