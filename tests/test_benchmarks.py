"""The tables in the READMEs of benchmarks are those of their results."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
WITH_TABLES = sorted(
    file.parent.name
    for file in BENCHMARKS.glob("*/run.py")
    if '"--readme"' in file.read_text("utf-8") and (file.parent / "results.json").is_file()
)


@pytest.mark.parametrize("name", WITH_TABLES)
def test_the_readme_has_the_tables_of_the_results(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(BENCHMARKS, tmp_path / "benchmarks")
    script = tmp_path / "benchmarks" / name / "run.py"
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [str(script), "--readme"])
    runpy.run_path(str(script), run_name="__main__")
    assert (script.parent / "README.md").read_text("utf-8") == (BENCHMARKS / name / "README.md").read_text("utf-8")


def test_benchmarks_with_tables_are_found() -> None:
    assert {"guarantees", "out_of_fold", "selection"} <= set(WITH_TABLES)
