"""Replaces the prompts of a space whose instructions are proposed, when the models have proposed them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from promptkit.core.examples import LabeledExample
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.tuning.budget import Spent
from promptkit.tuning.candidates import PromptCandidate
from promptkit.tuning.folds import TuningRows
from promptkit.tuning.names import prompt_names
from promptkit.tuning.proposals import prompt_of, proposals_of
from promptkit.tuning.space import Space

PROPOSED = "proposed"
"""The key of the line of the race with the proposed instructions."""


def propose(space: Space, rows: TuningRows, cache: ScoreCache | None) -> dict[str, object]:
    """Asks the models for instructions; returns the line of the race with them, and with what they cost.

    Args:
        space: The space.
        rows: The labeled rows, some of which are set apart.
        cache: The score cache; None for none.
    """
    found, requests, tokens = [], 0, 0
    for each in proposals_of(space.prompts):
        ask = CachedModel(each.predictor.model, cache, purpose=None)
        texts = each.proposer(ask, rows.apart, space.seed).from_pairs(each.count)
        found.append([*dict.fromkeys(texts)])
        cost = each.amounts(rows.apart, space.seed, None)
        requests, tokens = requests + cost.requests, tokens + cost.tokens
    return {PROPOSED: found, "requests": requests, "tokens": tokens}


def spent_on(line: Mapping[str, object]) -> Spent:
    """Returns what the proposals of a line cost."""
    requests, tokens = cast("int", line["requests"]), cast("int", line["tokens"])
    return Spent(rows=1, seconds=0.0, requests=requests, tokens=tokens)


def with_instructions(space: Space, line: Mapping[str, object]) -> Space:
    """Returns a space with the proposed instructions of a line; prompts for which there is none are left out."""
    found: dict[int, str] = {}
    proposals = proposals_of(space.prompts)
    for each, texts in zip(proposals, cast("list[list[str]]", line[PROPOSED]), strict=True):
        proposed = {number: space.prompts[number].proposed for number in each.prompts}
        found |= {number: texts[place] for number, place in proposed.items() if place is not None and place < len(texts)}
    prompts = [
        _with_instruction(each, found.get(number), space.apart)
        for number, each in enumerate(space.prompts)
        if each.proposed is None or number in found
    ]
    distinct = [*{json.dumps(dict(each.predictor.identity()), default=str): each for each in reversed(prompts)}.values()][::-1]
    names = prompt_names([each.predictor for each in distinct])
    missing = len(space.prompts) - len(distinct)
    note = [f"{missing} prompts with a proposed instruction were left out: the text was cut off or repeated"] if missing else []
    named = tuple(replace(each, name=name) for each, name in zip(distinct, names, strict=True))
    return replace(space, prompts=named, notes=(*space.notes, *note))


def _with_instruction(prompt: PromptCandidate, text: str | None, apart: Sequence[LabeledExample]) -> PromptCandidate:
    """Returns a prompt with an instruction, which carries the rows that it was proposed from."""
    if text is None:
        return prompt
    predictor = prompt.predictor
    first = prompt_of(predictor)
    seen = first.fitted_on | {row.content for row in apart}
    changed = replace(first, instruction=text, fitted_on=seen)
    return replace(prompt, predictor=predictor.with_stages(changed, predictor.chain, predictor.columns))
