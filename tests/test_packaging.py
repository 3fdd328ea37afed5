"""The wheel contains everything that a run needs, without a checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from promptkit.core.distribution import DISTRIBUTION, install_command, packages_of
from promptkit.core.version import __version__
from tests.support.paths import ROOT

TEXTS = (".py", ".md", ".yaml", ".ipynb", ".j2", ".sh", ".txt")
"""The suffixes of files that users read."""


def test_the_wheel_evaluates_a_bundled_task_outside_the_checkout(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    wheel = next(iter(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    assert not (site / "tests").exists()
    sources = ROOT / "promptkit" / "reports" / "templates"
    assert {file.name for file in sources.iterdir()} == {file.name for file in (site / sources.relative_to(ROOT)).iterdir()}
    working_directory = tmp_path / "working_directory"
    working_directory.mkdir()
    code = (
        "import sys, promptkit; assert promptkit.__file__.startswith(sys.argv[1]), promptkit.__file__; "
        "sys.argv[1:] = sys.argv[2:]; from promptkit.cli.main import main; main()"
    )
    command = ["eval", "sentiment", "--model", "fake", "--limit", "5", "--json"]
    result = subprocess.run(
        [sys.executable, "-c", code, str(site), *command],
        cwd=working_directory,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["n"] == 5


def test_the_distribution_has_its_own_name_and_license() -> None:
    installed = metadata(DISTRIBUTION)
    assert (installed["Name"], installed["Version"]) == (DISTRIBUTION, __version__)
    assert installed["License-Expression"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")


def test_nobody_is_told_to_install_the_distribution_of_another_project() -> None:
    folders = ("promptkit", "templates", "evals", "tests", "docs", "examples", "benchmarks")
    within = (file for folder in folders for file in (ROOT / folder).rglob("*") if file.suffix in TEXTS)
    files = [file for file in (*ROOT.glob("*.md"), ROOT / "Makefile", *within) if file != Path(__file__)]
    assert len(files) > 800
    wrong = re.compile(r"pip install[^\n]*?[\s'\"]promptkit(\[|[\s'\"`]|$)", re.MULTILINE)
    assert wrong.search("pip install -U promptkit")
    assert wrong.search("pip install 'promptkit[demo]'")
    found = [str(file) for file in files if wrong.search(file.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize("extra", ["demo", "vision", "vllm", "http", "json", "xlsx", "studies", "metrics", "service", "report"])
def test_messages_name_the_packages_of_an_extra(extra: str) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"][extra]
    assert {Requirement(text) for text in packages_of(extra)} == {Requirement(text) for text in declared}
    assert install_command(extra).startswith("pip install ")


def test_the_command_prints_the_version() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "promptkit", "--version"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout == f"promptkit {__version__}\n"
