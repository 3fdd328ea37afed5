"""Instructions that the model proposes from rows that no candidate is scored on."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

import promptkit as pk
from promptkit.config.tune import TuneConfig
from promptkit.models.registry import load
from promptkit.searches.proposals import PAIRS
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task
from promptkit.tuning.baseline_predictor import BaselinePredictor, load_predictor
from promptkit.tuning.folds import stratified
from promptkit.tuning.proposals import proposals_of, set_apart
from promptkit.tuning.result import Tuned
from promptkit.tuning.rows import labeled_rows
from tests.tuning.test_tune import files

TASK = pk.task("sentiment")
ROWS = by_hash(TASK.rows("test"), 60)


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    file = tmp_path / "tickets.csv"
    words = ("late parcel", "broken again", "refund unpaid", "all fine")
    lines = [f"{words[number % 4]} of order {number},{'ab'[number % 2]}" for number in range(48)]
    file.write_text("\n".join(["text,queue", *lines]))
    return file


def config(
    tickets: Path, space: str = "grid: {shots: [0, 2]}\nproposed: 6\ncalibrate: [batch]", **options: object
) -> TuneConfig:
    (tickets.parent / "space.yaml").write_text(space)
    values = {"task": str(tickets), "label_column": "queue", "model": ["fake"], "space": str(tickets.parent / "space.yaml")}
    return TuneConfig(**{**values, **options})


def tuned(tickets: Path, out: str = "tuned", **options: object) -> Tuned:
    return config(tickets, **options).run(out=tickets.parent / out, cache=False)


def test_a_few_rows_of_different_labels_are_set_apart() -> None:
    apart = set_apart(ROWS, 0)
    assert len(apart) == PAIRS
    assert len({row.label for row in apart}) == 2
    assert apart == set_apart(ROWS[::-1], 0)
    assert apart != set_apart(ROWS, 1)
    assert ROWS[0] not in set_apart([ROWS[0], *ROWS], 0)


def test_rows_set_apart_are_shown_and_never_answered() -> None:
    apart = set_apart(ROWS, 0)
    rows = stratified(TASK, ROWS, apart=apart)
    assert {row.id for row in rows.rows}.isdisjoint({row.id for row in apart})
    assert len(rows) == len(ROWS) - len(apart)
    for number in range(1, rows.of + 1):
        task = rows.task_of_fold(number)
        assert {row.id for row in apart} <= {row.id for row in task.pool()}
        assert {row.id for row in apart}.isdisjoint({row.id for row in task.rows(task.spec.split)})
    assert {row.id for row in rows.task_of_all().pool()} == {row.id for row in ROWS}


def test_no_row_is_scored_that_an_instruction_was_proposed_from(tickets: Path) -> None:
    result = tuned(tickets)
    assert result.result.rows == 48 - PAIRS
    assert any("not answered, because instructions are proposed" in note for note in result.result.notes)
    predictor = load_predictor(result.path / "predictor")
    if isinstance(predictor, BaselinePredictor):
        assert len(predictor.fitted_on_rows) == 48


def test_proposed_instructions_take_part_in_the_race(tickets: Path) -> None:
    result = tuned(tickets)
    names = [each.name for each in result.standings if "instruction" in each.name]
    assert names
    assert not any("proposed by the model" in name for name in names)
    assert any(name.startswith("0 shots, instruction") for name in names)
    assert any(name.startswith("balanced, k=2, instruction") for name in names)


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_a_report_without_texts_has_no_instruction(tickets: Path, name: str) -> None:
    pytest.importorskip("vl_convert")
    result = tuned(tickets)
    names = {words(each.name) for each in result.standings if "instruction '" in each.name}
    page = result.report(tickets.parent / name, text=False).read_text("utf-8")
    assert names
    assert not [each for each in names if each in words(page)]
    assert "instruction 1" in page
    assert "of order" not in page
    complete = words(result.report(tickets.parent / name).read_text("utf-8"))
    assert all(each in complete for each in names)


def words(text: str) -> str:
    """Returns the words of a text, without the characters that Markdown and HTML escape."""
    return " ".join(re.findall(r"\w+", unescape(text)))


def test_the_requests_and_tokens_of_a_plan_contain_the_proposals(tickets: Path) -> None:
    plan, result = config(tickets).plan(), tuned(tickets)
    (proposals,) = plan.proposals
    assert proposals.requests == 2  # 4 texts, and 2
    assert proposals.tokens > 0
    single = sum(each.amounts(plan.rows, plan.folds).requests for each in plan.prompts)
    assert plan.total(plan.rows).requests == single + proposals.requests
    assert plan.to_json()["proposals"]
    line = (result.path / "race.jsonl").read_text("utf-8").splitlines()[0]
    assert f'"requests":{proposals.requests},"tokens":{proposals.tokens}' in line.replace(" ", "")


def test_an_interrupted_run_has_the_same_instructions(tickets: Path) -> None:
    class Stopped(Exception):
        """Ends a run as a crash would."""

    def stop(*_: object) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        config(tickets).run(out=tickets.parent / "parts", cache=False, progress=stop)
    parts = tuned(tickets, "parts")
    renamed = {name: content.replace(b"/parts", b"/whole") for name, content in files(parts.path).items()}
    assert renamed == files(tuned(tickets, "whole").path)


def test_prompts_of_one_template_share_their_proposals(tickets: Path) -> None:
    setup = config(tickets)
    task = setup.load_task()
    space = setup.build_space(task, setup.labeled_rows(task))
    (proposals,) = proposals_of(space.prompts)
    assert proposals.count == 6
    assert len(proposals.prompts) == 12
    both = config(tickets, model=["fake:a", "fake:b"])
    assert len(proposals_of(both.build_space(task, setup.labeled_rows(task)).prompts)) == 2


def test_too_few_rows_propose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "few.csv"
    file.write_text("text,queue\n" + "\n".join(f"text {number},{'ab'[number % 2]}" for number in range(6)))
    setup = config(file)
    task: Task = setup.load_task()
    space = setup.build_space(task, labeled_rows(task), [load("fake")])
    assert space.apart == ()
    assert all(each.proposed is None for each in space.prompts)
    assert any("too few labeled rows" in note for note in space.notes)
