"""What is shown while tuning runs: on a terminal, in a notebook, and as lines."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from promptkit.tuning.live import LiveLeaderboard, NotebookLeaderboard
from promptkit.tuning.tuning import TuningProgress

LONG = "a candidate with a long name, k=16, instruction 'Say which of these it is' · prototypical and more"


def state(*leaders: tuple[str, float], prompts: int = 3, share: float = 0.25) -> TuningProgress:
    return TuningProgress(rows=32, of=60, prompts=prompts, leaders=leaders, share=share, metric="log_loss", of_prompts=13)


def shown(progress: TuningProgress, width: int = 80) -> list[str]:
    board = LiveLeaderboard(Console(file=StringIO(), width=width))
    with board:
        board(progress)
    console = Console(file=StringIO(), width=width)
    with console.capture() as captured:
        console.print(board.table())
    return captured.get().splitlines()


def test_during_the_first_block_there_is_no_empty_table() -> None:
    (line,) = shown(state(prompts=4))
    assert "first 32 of 60 rows: tried 4 of 13 prompts, 25% of the budget" in line


@pytest.mark.parametrize("width", [60, 80])
def test_each_candidate_has_one_line_also_with_a_long_name(width: int) -> None:
    lines = shown(state((LONG, 0.5), ("0 shots", 0.625)), width)
    assert len(lines) == 4
    assert all(len(line.rstrip()) <= width for line in lines)
    assert "log_loss" in lines[0]
    assert "0.500" in lines[1]
    assert "3 prompts left" in lines[3]


def test_the_line_names_the_best_candidate_and_counts_in_words() -> None:
    assert state(("0 shots", 0.5), prompts=1).line == "32 of 60 rows, 1 prompt left, best: 0 shots 0.500, 25% of the budget"
    assert "no prompt is left" in state(("majority", 0.5), prompts=0, share=0.0).line


def test_a_notebook_shows_names_as_text() -> None:
    html = NotebookLeaderboard.html(state(("<b>0 shots</b>", 0.5)))
    assert "<td>&lt;b&gt;0 shots&lt;/b&gt;</td><td>0.500</td>" in html
    assert "<table" not in NotebookLeaderboard.html(state())
