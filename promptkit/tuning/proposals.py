"""Instructions that the model proposes from a few labeled rows, on which no candidate is scored.

A proposal must not be scored on rows that it was written from. Instructions are therefore proposed from a few rows (APE) before
the race, and these rows are set apart: they are not answered, but are available as demonstrations in every fold.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptkit.core.examples import LabeledExample
from promptkit.core.manipulation import Ask
from promptkit.core.seeding import hash_rank
from promptkit.manipulate.demos import Zero
from promptkit.manipulate.prompt import Prompt
from promptkit.models.client import DryRunModel
from promptkit.models.planned import Size
from promptkit.predictor.predictor import Predictor
from promptkit.searches.proposals import MAX_TOKENS, PAIRS, Proposer, formatted_pairs
from promptkit.tuning.candidates import PromptCandidate
from promptkit.tuning.costs import Amounts
from promptkit.tuning.speed import predicted_seconds

KEPT = 2
"""The minimum number of rows of each label that are not set apart."""


def set_apart(rows: Sequence[LabeledExample], seed: int) -> list[LabeledExample]:
    """Returns the rows that instructions are proposed from: a few rows of different labels, whose inputs occur only once.

    Args:
        rows: The labeled rows.
        seed: The seed of the draw.
    """
    repeated = {content for content, count in Counter(row.content for row in rows).items() if count > 1}
    by_label: dict[str, list[LabeledExample]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: hash_rank(seed, "propose", row.content.digest(row.choices), row.id)):
        by_label[row.label].append(row)
    of_labels = [
        [row for row in group if row.content not in repeated][: max(0, len(group) - KEPT)] for group in by_label.values()
    ]
    if len(by_label) == len(rows):  # texts instead of labels
        of_labels = [[row for group in by_label.values() for row in group if row.content not in repeated]]
    ranked = [(place, number, row) for number, group in enumerate(of_labels) for place, row in enumerate(group)]
    return [row for *_, row in sorted(ranked, key=lambda item: item[:2])][:PAIRS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """The instructions that one model proposes for one template."""

    predictor: Predictor
    """The model and the prompt."""
    prompts: tuple[int, ...]
    """The numbers of the prompts that have these instructions."""
    count: int
    """The number of texts that the model generates."""

    def proposer(self, ask: Ask, rows: Sequence[LabeledExample], seed: int) -> Proposer:
        """Returns the generator of instructions from rows."""
        prompt = prompt_of(self.predictor)
        pairs = formatted_pairs(prompt, self.predictor.reader, rows)
        return Proposer(ask=ask, pairs=pairs, chat=prompt.chat, seed=seed, chat_options=prompt.chat_options)

    def amounts(self, rows: Sequence[LabeledExample], seed: int, size: Size | None) -> Amounts:
        """Returns what the proposals cost."""
        proposer = self.proposer(DryRunModel(self.predictor.model.card), rows, seed)
        requests = proposer.pair_requests(self.count)
        tokens = sum(len(request.text.ids) for request in requests)
        written = self.count * MAX_TOKENS
        seconds = None if size is None else predicted_seconds(size, tokens=tokens + written, answers=written)
        return Amounts(requests=len(requests), tokens=tokens, computed=tokens + written, seconds=seconds)


def proposals_of(prompts: Sequence[PromptCandidate]) -> list[Proposals]:
    """Returns the proposals that prompts need: those of the same model with the same template share them."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number, prompt in enumerate(prompts):
        if prompt.proposed is not None:
            bare = replace(prompt_of(prompt.predictor), instruction=None, demos=Zero(), order=None)
            key = [prompt.predictor.model.name, dict(bare.settings())]
            groups[json.dumps(key, sort_keys=True, default=str)].append(number)
    return [
        Proposals(
            predictor=prompts[numbers[0]].predictor,
            prompts=tuple(numbers),
            count=1 + max(each for number in numbers if (each := prompts[number].proposed) is not None),
        )
        for numbers in groups.values()
    ]


def prompt_of(predictor: Predictor) -> Prompt:
    """Returns the prompt of a predictor without modifiers."""
    prompt = predictor.manipulate
    assert isinstance(prompt, Prompt), "instructions are proposed for prompts without modifiers only"
    return prompt
