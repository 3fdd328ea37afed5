"""What tuning will cost, before the first request and without the weights of a model: `promptkit tune --plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor, log10

from promptkit.core.caller import by_caller, setting
from promptkit.core.errors import InputError
from promptkit.display.notes import note_lines
from promptkit.display.table import Entry, Table
from promptkit.models.planned import Size
from promptkit.tuning.budget import Budget, Unit
from promptkit.tuning.candidates import PromptCandidate
from promptkit.tuning.costs import BLOCK, Amounts, PromptCost, prompt_cost
from promptkit.tuning.folds import TuningRows
from promptkit.tuning.proposals import proposals_of
from promptkit.tuning.space import Space
from promptkit.tuning.speed import predicted_seconds

CAPTION = (
    "The most that is sent; prompts that are dropped early cost less. computed: the tokens that the model computes, a prefix "
    "that prompts share only once. seconds: predicted, without the fits of alignments"
)
TOLERANCE: Mapping[Unit, float] = {"requests": 1.0, "tokens": 1.1, "seconds": 3.0}
"""How many times larger than a budget a prediction must be for the budget to be refused; a time is predicted only roughly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPrompt:
    """A prompt of the space, and what its answers cost."""

    prompt: PromptCandidate
    cost: PromptCost
    size: Size | None
    """The size of its model; None if it is not known, so that no time is predicted."""

    @property
    def model(self) -> str:
        """The name of its model."""
        return self.prompt.predictor.model.name

    def amounts(self, rows: int, folds: int) -> Amounts:
        """Returns what the answers to rows cost."""
        requests, computed = self.cost.requests(rows, folds), self.cost.computed(rows, folds)
        seconds = None if self.size is None else predicted_seconds(self.size, tokens=computed, answers=requests)
        return Amounts(requests=requests, tokens=self.cost.tokens(rows), computed=computed, seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the prompts of a space cost, if they answer all rows, and the first block of rows. Prints as a table."""

    task: str
    """The name of the task."""
    rows: int
    """The number of labeled rows."""
    folds: int
    """The number of folds."""
    baselines: tuple[str, ...]
    """The names of the baselines."""
    prompts: tuple[PlannedPrompt, ...]
    """The prompts, cheapest first."""
    learned: tuple[PlannedPrompt, ...]
    """The prompts that are trained in each fold."""
    proposals: tuple[Amounts, ...]
    """What the proposals of instructions cost, before the first row is answered."""
    budgets: tuple[Budget, ...]
    """The limits."""
    notes: tuple[str, ...]
    """What is left out, and why."""

    @property
    def first_block(self) -> int:
        """The number of rows of the first block."""
        return min(BLOCK, self.rows)

    @property
    def candidates(self) -> int:
        """The number of candidates: the baselines, and every alignment of every prompt."""
        return len(self.baselines) + sum(len(each.prompt.chains) for each in self.prompts)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models."""
        return tuple(dict.fromkeys(each.model for each in self.prompts))

    def total(self, rows: int, model: str | None = None) -> Amounts:
        """Returns what the answers of all prompts and the proposals of instructions cost, or the answers of one model."""
        each = [prompt.amounts(rows, self.folds) for prompt in self.prompts if model in (None, prompt.model)]
        each += self.proposals if model is None else ()
        seconds = [amounts.seconds for amounts in each if amounts.seconds is not None]
        return Amounts(
            requests=sum(amounts.requests for amounts in each),
            tokens=sum(amounts.tokens for amounts in each),
            computed=sum(amounts.computed for amounts in each),
            seconds=sum(seconds) if len(seconds) == len(each) else None,
        )

    def shortage(self) -> InputError | None:
        """Returns the error for a budget that does not suffice for the first block of a single prompt; None if all do."""
        for budget in self.budgets:
            amounts = [each.amounts(self.first_block, self.folds).of(budget.unit) for each in self.prompts]
            least = min((amount for amount in amounts if amount is not None), default=0.0)
            if least > budget.amount * TOLERANCE[budget.unit]:
                return _too_small(budget, least, self.first_block)
        return None

    def check_budgets(self) -> None:
        """Refuses a budget that does not suffice for the first block of a single prompt.

        Raises:
            InputError: With the least amount that would (`budget-too-small`).
        """
        error = self.shortage()
        if error is not None:
            raise error

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes, first the one on a budget that does not suffice."""
        shortage = self.shortage()
        return (*([] if shortage is None else [str(shortage)]), *self.notes)

    def table(self) -> Table:
        """Returns a row for each prompt, then the sums."""
        rows = [_row(each.prompt, each.amounts(self.rows, self.folds)) for each in self.prompts]
        learned = [_row(each.prompt, each.amounts(self.rows, self.folds), "trained: ") for each in self.learned]
        proposals = [("instructions are proposed", 0, *_entries(each)) for each in self.proposals]
        alignments = self.candidates - len(self.baselines)
        of_models = [
            (f"all prompts of {model}", self._alignments(model), *_entries(self.total(self.rows, model)))
            for model in (self.models if len(self.models) > 1 else ())
        ]
        sums = [
            *of_models,
            ("all prompts", alignments, *_entries(self.total(self.rows))),
            (f"the first {self.first_block} rows", alignments, *_entries(self.total(self.first_block))),
        ]
        return Table(
            title=f"{self.task} · {self.rows} labeled rows · {self.folds} folds · {self.candidates} candidates",
            columns=("prompt", "alignments", "requests", "tokens", "computed", "seconds"),
            rows=(*rows, *proposals, *sums, *learned),
            names=1,
            caption=f"baselines: {', '.join(self.baselines)}. {CAPTION}",
        )

    def _alignments(self, model: str) -> int:
        """Returns the number of candidates of one model."""
        return sum(len(each.prompt.chains) for each in self.prompts if each.model == model)

    def to_json(self) -> dict[str, object]:
        """Returns the plan as JSON values, as `promptkit tune --plan --json` prints it."""

        def listed(prompts: Sequence[PlannedPrompt]) -> list[dict[str, object]]:
            return [
                {
                    "name": each.prompt.name,
                    "model": each.model,
                    "alignments": [chain.name for chain in each.prompt.chains],
                    **asdict(each.amounts(self.rows, self.folds)),
                }
                for each in prompts
            ]

        return {
            "task": self.task,
            "rows": self.rows,
            "folds": self.folds,
            "candidates": self.candidates,
            "baselines": list(self.baselines),
            "prompts": listed(self.prompts),
            "learned": listed(self.learned),
            "proposals": [asdict(each) for each in self.proposals],
            "all_rows": asdict(self.total(self.rows)),
            "models": {model: asdict(self.total(self.rows, model)) for model in self.models},
            "first_block": {"rows": self.first_block, **asdict(self.total(self.first_block))},
            "budgets": [{"amount": budget.amount, "unit": budget.unit} for budget in self.budgets],
            "notes": list(self.all_notes),
        }

    def __str__(self) -> str:
        return "\n".join([str(self.table()), *note_lines(self.all_notes)])


def make_plan(space: Space, rows: TuningRows, sizes: Mapping[str, Size | None], budgets: Sequence[Budget] = ()) -> Plan:
    """Returns what the prompts of a space cost.

    Args:
        space: The space. Its models need not be loaded.
        rows: The labeled rows and their folds.
        sizes: Name of a model -> its size, if it is known.
        budgets: The limits.

    Raises:
        PromptkitError: A row cannot be rendered.
    """
    embedded: set[str] = set()

    def planned(each: PromptCandidate) -> PlannedPrompt:
        name, cost = each.predictor.model.name, prompt_cost(each, rows)
        if cost.setup_requests and name in embedded:  # the embeddings of rows are computed once
            cost = cost.without_setup()
        embedded.update([name] if cost.setup_requests else [])
        return PlannedPrompt(prompt=each, cost=cost, size=sizes.get(name))

    return Plan(
        task=rows.task.name,
        rows=len(rows),
        folds=rows.of,
        baselines=tuple(each.name for each in space.baselines),
        prompts=tuple(map(planned, space.prompts)),
        learned=tuple(map(planned, space.learned)),
        proposals=tuple(
            each.amounts(rows.apart, space.seed, sizes.get(each.predictor.model.name)) for each in proposals_of(space.prompts)
        ),
        budgets=tuple(budgets),
        notes=space.notes,
    )


def _too_small(budget: Budget, least: float, rows: int) -> InputError:
    enough = _rounded_up(least)
    return InputError(
        f"The budget does not suffice for one block of {rows} rows of the cheapest prompt",
        code="budget-too-small",
        got=str(budget),
        hint=f"Give at least {setting('budget', Budget(enough, budget.unit).spelling)}, or fewer alignments with "
        + setting("space")
        + by_caller(command="; --plan shows what each prompt costs", python=""),
        budget=budget.amount,
        unit=budget.unit,
        least=enough,
    )


def _rounded_up(amount: float) -> float:
    """Returns an amount rounded up to two significant digits, but at least 1."""
    if amount <= 1:
        return 1.0
    step = 10 ** max(0, floor(log10(amount)) - 1)
    return float(ceil(amount / step) * step)


def _row(prompt: PromptCandidate, amounts: Amounts, prefix: str = "") -> tuple[Entry, ...]:
    return (f"{prefix}{prompt.name}", len(prompt.chains), *_entries(amounts))


def _entries(amounts: Amounts) -> tuple[Entry, ...]:
    seconds = amounts.seconds
    return (amounts.requests, amounts.tokens, amounts.computed, None if seconds is None else _shown(seconds))


def _shown(seconds: float) -> float | int:
    return round(seconds, 1) if seconds < 10 else round(seconds)
