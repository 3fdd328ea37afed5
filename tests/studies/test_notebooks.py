"""The notebooks run from the first cell to the last, and reproduce the numbers in their committed output."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.paths import ROOT

NOTEBOOKS = sorted(
    str(path.relative_to(ROOT)) for folder in ("evals/studies", "examples") for path in (ROOT / folder).glob("*.ipynb")
)


def figures(book: Any) -> list[float]:
    """All numbers with three decimals in the text output of the cells."""
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return [float(figure) for figure in re.findall(r"[-+]?\d\.\d\d\d\b", "\n".join(texts))]


@pytest.mark.real
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_reproduces_its_committed_output(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # an empty folder
    monkeypatch.setenv("TQDM_DISABLE", "1")  # progress bars are not a part of the output
    committed = nbformat.read(ROOT / name, 4)
    book = nbformat.read(ROOT / name, 4)
    NotebookClient(book, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert not [output for cell in book.cells for output in cell.get("outputs", ()) if output.get("name") == "stderr"]
    assert len(figures(committed)) > 10
    assert figures(book) == pytest.approx(figures(committed), abs=0.02)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_committed_with_output_and_without_local_paths(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    book = nbformat.reads(text, 4)
    assert all(cell.execution_count for cell in book.cells if cell.cell_type == "code")
    assert not re.search(r"/(?:root|home|work|tmp)/", text)
