"""The search for an instruction: proposed by the model or given, chosen on dev by successive halving, confirmed on test.

Proposals see rows of the pool, the choice sees rows of dev, and the confirmation alone sees the labels of the evaluated split;
rows of the pool or of dev whose inputs are evaluated too are left out. All that the model answers is kept in the score cache,
and the confirmation is two ordinary runs, so that a search which was broken off goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from promptkit.analysis.compare import compare
from promptkit.core.alignment import OutputReader
from promptkit.core.errors import InputError, Unsupported, unknown
from promptkit.core.examples import LabeledExample
from promptkit.evaluation.evaluate import OUT
from promptkit.evaluation.execution import Progress
from promptkit.inputs.text.template import LABEL
from promptkit.manipulate.instructions import statements
from promptkit.manipulate.prompt import Prompt
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.predictor.predictor import Predictor
from promptkit.searches.halving import By, halve, sizes
from promptkit.searches.proposals import Proposer
from promptkit.searches.result import SearchResult
from promptkit.searches.trial import InstructionScorer
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task, untested

Method = Literal["ape", "opro", "list"]
STEP = 8
"""Instructions that OPRO asks for at a time (2309.03409, section 5.1)."""
OWN, FOUND = "own instruction", "found instruction"
"""The names of the two that are compared."""


def search(
    predictor: Predictor,
    task: Task,
    *,
    method: Method | None = None,
    instructions: Sequence[str] = (),
    candidates: int = 32,
    by: By = "accuracy",
    dev: int | None = 128,
    test: int | None = None,
    split: str | None = None,
    seed: int = 0,
    out: str | Path = OUT,
    cache: bool = True,
    progress: Progress | None = None,
) -> SearchResult:
    """The best instruction for a predictor's prompt.

    `method`: `ape` or `opro` have the model propose `candidates` texts besides the `instructions` given; `list` tries those
    alone, and is meant where there are any. The prompt's own instruction, none, and what can be said of the labels are always
    tried. `dev` and `test` are how many rows choose and confirm, those with the smallest hash of id. `by` says which score
    goes first. Raises PromptkitError for a task without rows to choose by, or if there is nothing to try.
    """
    prompt = _prompt(predictor)
    method = method or ("list" if instructions else "ape")
    rows = check(task, method=method, instructions=instructions, candidates=candidates, by=by, dev=dev, split=split)
    if method != "list" and "Generate" not in predictor.model.verbs:
        hint = "Give a list of instructions, or use an hf model"
        name = predictor.model.name
        reason = f"The model {name} cannot generate text, so it cannot propose instructions"
        raise Unsupported(reason, code="cannot-generate", hint=hint, model=name)
    split = split or task.spec.split
    kept = ScoreCache() if cache else None
    trial = InstructionScorer(predictor, prompt, task, rows, kept)
    origins = _given(prompt, predictor.reading, instructions)
    if method != "list":
        proposer = _proposer(predictor, prompt, task, split, kept, seed)
        origins |= _proposed(proposer, trial, origins, method, candidates, len(rows))
    rungs = halve([*origins], len(rows), trial, by=by)
    found = _with(predictor, prompt, rungs[-1].best)
    pair = {OWN: predictor, FOUND: found}
    comparison = compare(task, split=split, limit=test, out=out, cache=cache, progress=progress, **pair)
    told = {"method": method, "candidates": len(origins), "by": by, "seed": seed, "dev_rows": len(rows)}
    notes = _notes(origins, method, candidates)
    return SearchResult(
        task=task.name,
        model=predictor.model.name,
        settings=told,
        origins=origins,
        rungs=tuple(rungs),
        predictor=found,
        comparison=comparison,
        notes=notes,
    )


def check(
    task: Task, *, method: str | None, instructions: Sequence[str], candidates: int, by: str, dev: int | None, split: str | None
) -> list[LabeledExample]:
    """The rows that a search would choose by; raises what it would raise before it has a model."""
    if not isinstance(task, Task):
        reason, hint = "A search needs a task object, not a name", 'Write pk.task("sentiment")'
        raise InputError(reason, code="not-a-task", got=repr(task)[:100], hint=hint, value=repr(task)[:100])
    if method is not None and method not in get_args(Method):
        raise unknown("search method", method, get_args(Method))
    if by not in get_args(By):
        raise unknown("selection score", by, get_args(By))
    if isinstance(instructions, str) or not all(isinstance(text, str) for text in instructions):
        shown = repr(instructions)[:100]
        raise InputError("The instructions must be a list of texts", code="not-a-list-of-texts", got=shown, instructions=shown)
    if method == "list" and not instructions:
        reason = "The search method list needs a list of instructions"
        hint = "Give one, or let the model propose instructions: ape, opro"
        raise InputError(reason, code="no-instructions", hint=hint, method=method)
    if candidates < 1:
        reason = "The number of candidates must be at least 1"
        raise InputError(reason, code="out-of-range", got=f"candidates={candidates}", candidates=candidates)
    rows = by_hash(untested(task.part("dev"), task.rows(split or task.spec.split)), dev)
    if not rows:
        raise task.without_rows("to choose an instruction by", "dev")
    return rows


def _prompt(predictor: Predictor) -> Prompt:
    prompt = predictor.manipulate
    if not isinstance(prompt, Prompt):
        kind = type(prompt).__name__
        raise InputError("A search needs a predictor with a Prompt", code="not-a-prompt", got=kind, manipulation=kind)
    if predictor.chain.calibration:
        hint = "Search without the calibration, then evaluate the instruction with it"
        name = predictor.name
        raise InputError("A search needs uncalibrated scores", code="calibrated-predictor", got=name, hint=hint, predictor=name)
    return prompt


def _given(prompt: Prompt, reading: OutputReader, instructions: Sequence[str]) -> dict[str, str]:
    """The instructions that need no proposing, with where they are from."""
    own = prompt.loaded.render("instruction", _labels(reading)) if prompt.instruction is None else prompt.instruction
    return dict.fromkeys(instructions, "list") | dict.fromkeys(statements(reading), "labels") | {"": "none"} | {own: "own"}


def _proposer(predictor: Predictor, prompt: Prompt, task: Task, split: str, cache: ScoreCache | None, seed: int) -> Proposer:
    words, labels, template = predictor.reading.label_words(), _labels(predictor.reading), prompt.loaded
    pairs = {}
    for row in untested(task.part("pool"), task.rows(split)):
        told = {**labels, **row.inputs}
        answer = {**told, **row.rationale, LABEL: words.get(row.label, row.label)}
        pairs[row.id] = template.render("input", told) + template.render("target", answer)
    if not pairs:
        raise task.without_rows("to propose an instruction from", "pool")
    return Proposer(ask=CachedModel(predictor.model, cache), pairs=pairs, chat=prompt.chat, seed=seed)


def _proposed(
    proposer: Proposer, trial: InstructionScorer, given: dict[str, str], method: Method, candidates: int, rows: int
) -> dict[str, str]:
    """The different instructions that the model writes, and that are not given."""
    if method == "ape":
        return {text: "ape" for text in proposer.from_pairs(candidates) if text not in given}
    first, *_ = sizes(len(given) + candidates, rows)
    tried = {text: origin for text, origin in given.items() if text}
    for step, begin in enumerate(range(0, candidates, STEP)):
        scores = trial([*tried], first)
        accuracies = {text: score.accuracy for text, score in zip(tried, scores, strict=True)}
        fresh = proposer.from_history(accuracies, min(STEP, candidates - begin), step)
        tried |= {text: "opro" for text in fresh if text not in tried}
    return {text: origin for text, origin in tried.items() if text not in given}


def _with(predictor: Predictor, prompt: Prompt, instruction: str) -> Predictor:
    return Predictor(predictor.model, replace(prompt, instruction=instruction), predictor.reading)


def _labels(reading: OutputReader) -> dict[str, object]:
    words = reading.label_words()
    return {"labels": tuple(words.values())} if words else {}


def _notes(origins: dict[str, str], method: Method, candidates: int) -> tuple[str, ...]:
    usable = sum(origin == method for origin in origins.values())
    if method == "list" or usable == candidates:
        return ()
    return (
        f"{usable} of the {candidates} instructions that the model wrote are tried: the others are broken off or there twice",
    )
