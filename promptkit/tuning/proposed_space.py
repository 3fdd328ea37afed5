"""Replaces the prompts of a space whose instructions are proposed, when the models have proposed them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from promptkit.core.examples import LabeledExample
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.tuning.candidates import PromptCandidate
from promptkit.tuning.folds import TuningRows
from promptkit.tuning.names import prompt_names
from promptkit.tuning.proposals import prompt_of, proposals_of
from promptkit.tuning.race_log import ProposedRecord
from promptkit.tuning.space import Space


def propose(space: Space, rows: TuningRows, cache: ScoreCache | None) -> ProposedRecord:
    """Generates instructions with the models of a space; returns them with what they cost.

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
    return {"proposed": found, "requests": requests, "tokens": tokens}


def with_instructions(space: Space, instructions: Sequence[Sequence[str]]) -> Space:
    """Returns a space with the instructions that its models proposed; prompts for which there is none are left out.

    Args:
        space: The space.
        instructions: The texts of each of `proposals_of(space.prompts)`.
    """
    found: dict[int, str] = {}
    for each, texts in zip(proposals_of(space.prompts), instructions, strict=True):
        proposed = {number: space.prompts[number].proposed for number in each.prompts}
        found |= {number: texts[place] for number, place in proposed.items() if place is not None and place < len(texts)}
    prompts = [
        _with_instruction(each, found.get(number), space.apart)
        for number, each in enumerate(space.prompts)
        if each.proposed is None or number in found
    ]
    by_identity: dict[str, PromptCandidate] = {}
    for prompt in prompts:
        by_identity.setdefault(json.dumps(dict(prompt.predictor.identity()), default=str), prompt)
    distinct = [*by_identity.values()]
    names = prompt_names([each.predictor for each in distinct])
    missing = len(space.prompts) - len(distinct)
    left_out = "1 prompt" if missing == 1 else f"{missing} prompts"
    note = [f"left out because a proposed instruction was cut off or repeated: {left_out}"] if missing else []
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
