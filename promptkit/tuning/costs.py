"""What the answers of a prompt cost, in requests and tokens.

A few rows of each fold are rendered, and all requests for them are planned as they will be sent. No model answers: where
demonstrations are chosen by the model, as many random ones are shown instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

from promptkit.collect.queries import Pass, build_queries
from promptkit.collect.read_records import row_read_id
from promptkit.collect.records import Query
from promptkit.core.examples import LabeledExample
from promptkit.core.manipulation import BindContext, Encode, Manipulation
from promptkit.core.model import text_card
from promptkit.core.requests import Generate, Read, Request
from promptkit.inputs.text.encoding import encode_text
from promptkit.manipulate.compose import composed, without_modifiers
from promptkit.manipulate.demos import RandomEach
from promptkit.manipulate.demos.ranking import EmbeddingSelector
from promptkit.manipulate.prompt import Prompt
from promptkit.manipulate.prompting.rows import inputs_text
from promptkit.manipulate.prompting.similarity import THIS_MODEL
from promptkit.models.batching import make_plan, tree_of
from promptkit.models.client import DryRunModel, NeedsAnswer
from promptkit.models.registry import load
from promptkit.searches.proposals import MAX_TOKENS
from promptkit.tasks.task import Task
from promptkit.tuning.budget import Unit
from promptkit.tuning.candidates import PromptCandidate
from promptkit.tuning.folds import TuningRows
from promptkit.tuning.training import most_rows, training_requests

SAMPLED = 4
"""The number of rows of a fold that are rendered."""
BLOCK = 16
"""The number of rows that a prompt answers at once."""
NO_LIMIT = 1 << 40
"""The tokens of a batch, so that a plan has one batch for each shared prefix."""
READ = Read()
"""A request for nothing, by which the tokens of a prompt are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What answers cost."""

    requests: int
    tokens: int
    """The tokens of the prompts, each counted once and completely."""
    computed: int
    """The tokens that are computed; a prefix that prompts share is computed once for each fold and block."""
    seconds: float | None
    """The predicted time; None if the size of the model is not known."""

    def of(self, unit: Unit) -> float | None:
        """Returns the amount in a unit; None for seconds that cannot be predicted."""
        return {"requests": self.requests, "tokens": self.tokens, "seconds": self.seconds}[unit]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptCost:
    """What the answers of one prompt cost."""

    requests_per_row: float
    """The number of requests for a row: its answer, and what alignments read."""
    further_requests: int
    """The number of requests of a fold that do not depend on its rows, such as content-free inputs."""
    tokens_per_row: float
    """The mean number of tokens of a prompt."""
    computed_per_row: float
    """The mean number of tokens that the requests for a row compute, without the prefix that prompts share."""
    computed_per_call: float
    """The mean number of tokens that are computed once for all rows of a fold in a block: the prefix that prompts share."""
    further_tokens: float
    """The mean number of tokens of the further requests of a fold."""
    setup_requests: int = 0
    """The number of requests before the first row is answered: embeddings of all rows, to choose demonstrations by."""
    setup_tokens: float = 0.0
    """The tokens that these requests compute."""
    training_requests: int = 0
    """The most requests that the training of its manipulations counts as: in all folds, and for new rows."""

    def without_setup(self) -> PromptCost:
        """Returns the cost of a prompt whose first requests were answered for another prompt."""
        return replace(self, setup_requests=0, setup_tokens=0.0)

    def requests(self, rows: int, folds: int) -> int:
        """Returns the number of requests for rows."""
        once = self.setup_requests + self.training_requests
        return once + round(self.requests_per_row * rows) + self.further_requests * min(folds, rows)

    def tokens(self, rows: int) -> int:
        """Returns the number of tokens of the prompts of rows, each counted once and completely, and those of training."""
        return round(self.tokens_per_row * (rows + self.training_requests))

    def computed(self, rows: int, folds: int) -> int:
        """Returns the number of tokens that are computed for rows: a shared prefix once for a fold in each block."""
        calls = sum(min(folds, BLOCK, rows - start) for start in range(0, rows, BLOCK))
        once = self.setup_tokens + self.training_requests * self.tokens_per_row
        return round(
            self.computed_per_row * rows + self.computed_per_call * calls + self.further_tokens * min(folds, rows) + once
        )


def prompt_cost(prompt: PromptCandidate, rows: TuningRows) -> PromptCost:
    """Returns what the answers of a prompt cost.

    Args:
        prompt: The prompt.
        rows: The labeled rows and their folds.

    Raises:
        PromptkitError: A row cannot be rendered.
    """
    samples = [_sample(prompt, rows, fold) for fold in sorted({*rows.folds})]
    embedded = _embedded_tokens(prompt, rows)
    answered = sum(each.rows for each in samples)
    training = 0 if prompt.training is None else sum(map(training_requests, most_rows(prompt, rows)))
    instruction = 0 if prompt.proposed is None else MAX_TOKENS
    learned = sum(modifier.context_tokens for modifier in prompt.predictor.manipulate.modifiers) if training else 0
    return PromptCost(
        requests_per_row=sum(len(each.of_rows) for each in samples) / answered,
        further_requests=max(len(each.further) for each in samples),
        tokens_per_row=sum(each.prompt_tokens for each in samples) / answered + learned + instruction,
        computed_per_row=sum(each.computed for each in samples) / answered,
        computed_per_call=mean(each.shared for each in samples) + instruction,
        further_tokens=mean(sum(map(_computed, _by_prompt(each.further))) for each in samples),
        setup_requests=len(rows.labeled) if embedded else 0,
        setup_tokens=embedded * len(rows.labeled),
        training_requests=training,
    )


def _embedded_tokens(prompt: PromptCandidate, rows: TuningRows) -> float:
    """Returns the mean number of tokens of a text that the model embeds to choose demonstrations; 0 if it embeds none."""
    first = without_modifiers(prompt.predictor.manipulate)
    selector = first.selector if isinstance(first, Prompt) else None
    if not isinstance(selector, EmbeddingSelector) or selector.encoder != THIS_MODEL or not selector.k:
        return 0.0
    card = text_card(prompt.predictor.model.card)
    return mean(len(encode_text(inputs_text(row) or " ", card)) for row in rows.rows[: SAMPLED * rows.of])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """The requests for a few rows of one fold."""

    rows: int
    prompt_tokens: int
    of_rows: Sequence[Request]
    further: Sequence[Request]
    shared: int
    """The number of tokens of the prefix that the requests share."""
    computed: int
    """The number of tokens that are computed besides this prefix."""


def _sample(prompt: PromptCandidate, rows: TuningRows, fold: int) -> _Sample:
    chosen = [row for row, number in zip(rows.rows, rows.folds, strict=True) if number == fold][:SAMPLED]
    encode, queries = _rendered(prompt, chosen, rows.task_of_fold(fold))
    sent = [query for query in queries if not query.rendered.skipped]
    if not sent:
        return _Sample(rows=len(chosen), prompt_tokens=0, of_rows=(), further=(), shared=0, computed=0)
    model = prompt.predictor.model
    purpose = Pass(model=model, chains=prompt.chains, encode=encode, ask=DryRunModel(model.card), fold=fold)
    planned = build_queries(purpose, sent)
    reads = range(len(planned.read_plan.rows))
    ids = {query.id for query in sent}.union(row_read_id(number, query.id) for number in reads for query in sent)
    pairs = [*zip(planned.queries, planned.requests, strict=True)]
    of_rows = [*dict.fromkeys(request for query, request in pairs if query.id in ids)]  # equal ones are sent once
    shared, computed = _shared_and_computed(of_rows)
    return _Sample(
        rows=len(chosen),
        prompt_tokens=sum(_tokens(query.rendered.request(READ)) for query in sent),
        of_rows=of_rows,
        further=[request for query, request in pairs if query.id not in ids],
        shared=shared,
        computed=computed,
    )


def _rendered(prompt: PromptCandidate, rows: Sequence[LabeledExample], task: Task) -> tuple[Encode, list[Query]]:
    """Renders rows, with random demonstrations and no reasoning if the prompt depends on answers of a model."""
    manipulation = prompt.predictor.manipulate
    if prompt.training is not None:  # its manipulations have no parameters yet
        manipulation = without_modifiers(manipulation)
    try:
        return _render(prompt, manipulation, rows, task)
    except NeedsAnswer:
        return _render(prompt, _without_answers(manipulation), rows, task)


def _render(
    prompt: PromptCandidate, manipulation: Manipulation, rows: Sequence[LabeledExample], task: Task
) -> tuple[Encode, list[Query]]:
    other = DryRunModel(load("fake").card)
    encode = manipulation.bind(
        BindContext(
            ask=DryRunModel(prompt.predictor.model.card),
            reader=prompt.predictor.reader,
            rows={part: task.part(part) for part in manipulation.parts},
            other_models=dict.fromkeys(manipulation.models, other),
        )
    )
    examples = [row.unlabeled() for row in rows]
    return encode, [
        Query(file="samples", id=example.id, example=example, rendered=rendered)
        for example, rendered in zip(examples, encode(examples), strict=True)
    ]


def _without_answers(manipulation: Manipulation) -> Manipulation:
    """Returns a prompt of about the same length that can be rendered without a model."""
    first = without_modifiers(manipulation)
    if not isinstance(first, Prompt):
        return manipulation
    demos = RandomEach(k=first.selector.k or 0)
    return composed([replace(first, demos=demos, order=None, cot=None), *manipulation.modifiers])


def _shared_and_computed(requests: Sequence[Request]) -> tuple[int, int]:
    """Returns the number of tokens of the prefix that requests share, and of the tokens that they compute besides it."""
    if any(request.input.modality != "text" for request in requests):
        return 0, 0
    plan = make_plan(requests, batch_tokens=NO_LIMIT, batch_pairs=NO_LIMIT**2, share=True)
    computed = sum(
        _computed(together) - batch.reuse
        for batch in plan.batches
        for together in _by_prompt([requests[index] for index in batch.requests])
    )
    return max((batch.reuse for batch in plan.batches), default=0), computed


def _tokens(request: Request) -> int:
    """Returns the number of tokens of a prompt; 0 for an image."""
    return len(request.text.ids) if request.input.modality == "text" else 0


def _by_prompt(requests: Sequence[Request]) -> list[list[Request]]:
    """Returns the requests of each prompt, which a model computes together, except generated texts."""
    found: dict[object, list[Request]] = {}
    for index, request in enumerate(requests):
        found.setdefault(index if isinstance(request.verb, Generate) else request.text.ids, []).append(request)
    return [*found.values()]


def _computed(requests: Sequence[Request]) -> int:
    """Returns the number of tokens that requests with one prompt compute: it, and their continuations or the longest text."""
    verb = requests[0].verb
    if isinstance(verb, Generate):
        return _tokens(requests[0]) + verb.n * verb.max_tokens
    return _tokens(requests[0]) + len(tree_of(requests).tokens)
