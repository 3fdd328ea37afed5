"""The plan of tuning counts requests and tokens as they will be sent, without a model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from promptkit.config.tune import TuneConfig
from promptkit.core.errors import InputError
from promptkit.models.planned import Size
from promptkit.tuning.answers import PromptAnswers, builder_of
from promptkit.tuning.budget import Budget
from promptkit.tuning.costs import BLOCK, PromptCost
from promptkit.tuning.folds import stratified
from promptkit.tuning.plan import Plan
from promptkit.tuning.speed import predicted_seconds
from tests.support import tiny
from tests.support.errors import refused

WORDS = ("late delivery of the parcel", "broken on arrival again", "refund was never paid", "thanks all fine now")


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    file = tmp_path / "tickets.csv"
    lines = [f"{WORDS[number % 4]} number {number},{'ab'[number % 2]}" for number in range(60)]
    file.write_text("\n".join(["text,queue", *lines]))
    return file


def planned(file: Path, **options: object) -> Plan:
    return TuneConfig(**{"task": str(file), "label_column": "queue", "model": ["fake"], **options}).plan()


def test_the_tokens_of_a_prompt_are_those_of_the_rendered_rows(tickets: Path) -> None:
    config = TuneConfig(task=str(tickets), label_column="queue", model=["fake"])
    task = config.load_task()
    rows = stratified(task, config.labeled_rows(task))
    space = config.build_space(task, rows.rows)
    plan = config.plan()
    for prompt, each in zip(space.prompts, plan.prompts, strict=True):
        if "similar" in prompt.name or "dpp" in prompt.name:  # chosen by the model
            continue
        lengths = []
        for fold in range(1, rows.of + 1):
            examples = [row.unlabeled() for row, number in zip(rows.rows, rows.folds, strict=True) if number == fold]
            encode = prompt.predictor.bind(rows.task_of_fold(fold)).encode
            lengths += [len(rendered.text.ids) for rendered in encode(examples)]
        assert each.amounts(len(rows), rows.of).tokens == pytest.approx(sum(lengths), rel=0.05), prompt.name


def test_a_shared_prefix_is_computed_once_for_each_fold_and_block() -> None:
    cost = PromptCost(
        requests_per_row=1, further_requests=2, tokens_per_row=110, computed_per_row=10, computed_per_call=100, further_tokens=7
    )
    assert cost.computed(BLOCK, 5) == 10 * BLOCK + 5 * 100 + 5 * 7
    assert cost.computed(2 * BLOCK, 5) == 20 * BLOCK + 10 * 100 + 5 * 7
    assert cost.tokens(BLOCK) == 110 * BLOCK
    assert cost.requests(BLOCK, 5) == BLOCK + 10


def test_balanced_demonstrations_share_a_prefix_and_others_do_not(tickets: Path) -> None:
    amounts = {each.prompt.name: each.amounts(60, 5) for each in planned(tickets).prompts}
    assert amounts["balanced, k=16"].computed < amounts["balanced, k=16"].tokens
    assert amounts["bm25, k=16"].computed > amounts["balanced, k=16"].computed
    assert amounts["balanced, k=4"].tokens < amounts["balanced, k=8"].tokens < amounts["balanced, k=16"].tokens


def test_embeddings_of_the_rows_are_counted_once(tickets: Path) -> None:
    setups = {each.prompt.name: each.cost.setup_requests for each in planned(tickets).prompts}
    assert setups["similar, k=4"] == 60
    assert setups["dpp, k=4"] == setups["similar, k=16"] == setups["bm25, k=4"] == 0


def test_the_sums_are_those_of_the_prompts(tickets: Path) -> None:
    plan = planned(tickets)
    values = json.loads(json.dumps(plan.to_json()))
    for unit in ("requests", "tokens", "computed"):
        assert values["all_rows"][unit] == sum(each[unit] for each in values["prompts"])
    assert values["candidates"] == len(values["baselines"]) + sum(len(each["alignments"]) for each in values["prompts"])
    assert values["first_block"]["rows"] == BLOCK


def test_a_budget_below_one_block_names_the_least(tickets: Path) -> None:
    plan = planned(tickets, budget="10 requests")
    with refused(InputError, "budget-too-small", unit="requests", budget=10.0) as raised:
        plan.check_budgets()
    least = raised.value.fields["least"]
    assert isinstance(least, float)
    assert plan.all_notes[0] == str(plan.shortage())
    enough = planned(tickets, budget=f"{least:.0f} requests")
    enough.check_budgets()
    assert enough.all_notes == enough.notes


def test_several_budgets_hold(tickets: Path) -> None:
    plan = planned(tickets, budget="10m, 100k tokens", max_requests=2000)
    assert plan.budgets == (Budget(600.0), Budget(100_000, "tokens"), Budget(2000, "requests"))


def test_the_time_grows_with_the_model_and_the_tokens() -> None:
    small, large = Size(per_token=10**8, per_answer=10**7), Size(per_token=10**9, per_answer=10**7)
    assert predicted_seconds(small, tokens=100, answers=1) < predicted_seconds(large, tokens=100, answers=1)
    assert predicted_seconds(small, tokens=100, answers=1) < predicted_seconds(small, tokens=200, answers=1)


def test_a_plan_imports_no_pytorch(tickets: Path, tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "model", "llama")
    code = (
        "import sys; from promptkit.config.tune import TuneConfig; "
        f"plan = TuneConfig(task={str(tickets)!r}, label_column='queue', model=[{str(folder)!r}]).plan(); "
        "assert plan.total(60).seconds > 0; assert plan.learned; "
        "print(*sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "promptkit.tuning.plan" in result.stdout.split()
    assert not {"torch", "transformers"} & {*result.stdout.split()}


def test_the_requests_of_a_plan_are_those_that_are_sent(tickets: Path) -> None:
    config = TuneConfig(task=str(tickets), label_column="queue", model=["fake"])
    task = config.load_task()
    rows = stratified(task, config.labeled_rows(task))
    space = config.build_space(task, rows.rows)
    builder = builder_of(space.prompts[0].predictor.model, None)
    before = 0
    for each in config.plan().prompts:
        answers = PromptAnswers(each.prompt.predictor, each.prompt.chains, rows, None, builder)
        for count in (BLOCK, 2 * BLOCK, len(rows)):
            answers.answer(count)
        own = answers.requests - before
        before = builder.computed
        assert own == each.amounts(len(rows), rows.of).requests, each.prompt.name
