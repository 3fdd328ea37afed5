"""Searches for an instruction: proposed by the model or given, chosen on dev by successive halving, confirmed on a test split.

Proposals see pool rows, the choice sees dev rows, and only the confirmation sees the labels of the evaluated split; pool and
dev rows whose inputs occur in that split are left out. The score cache keeps all outputs of the model, and the confirmation
consists of two ordinary runs, so that an interrupted search continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from promptkit.analysis.compare import compare
from promptkit.analysis.comparison import Comparison
from promptkit.core.arguments import check_arguments
from promptkit.core.errors import InputError, needs_single_label, unknown
from promptkit.core.examples import LabeledExample
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.output_reader import OutputReader
from promptkit.core.paths import OUT
from promptkit.display.progress import Progress
from promptkit.evaluation.metric_checks import requested_metrics
from promptkit.manipulate.instructions import statements
from promptkit.manipulate.prompt import Prompt
from promptkit.metrics.requested import MetricLike
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.models.support import check_supports
from promptkit.predictor.predictor import Predictor
from promptkit.searches.halving import By, Rung, halve, sizes
from promptkit.searches.optimism import corrected_metric
from promptkit.searches.proposals import Proposer, formatted_pairs
from promptkit.searches.result import SearchResult
from promptkit.searches.scorer import InstructionScorer, as_shares
from promptkit.tasks.sampling import by_hash, check_limit
from promptkit.tasks.task import Task, untested

Method = Literal["ape", "opro", "list"]
STEP = 8
"""Number of instructions that OPRO requests in each round (arXiv 2309.03409, section 5.1)."""
OWN, FOUND = "own instruction", "found instruction"
"""Names of the two predictors that are compared."""


@check_arguments("search")
def search(
    predictor: Predictor,
    task: Task,
    *,
    method: Method | None = None,
    instructions: Sequence[str] = (),
    candidates: int = 32,
    by: By = "metric",
    metrics: Sequence[MetricLike] | MetricLike | None = None,
    dev: int | None = 128,
    test: int | None = None,
    split: str | None = None,
    seed: int = 0,
    out: str | Path = OUT,
    cache: bool = True,
    progress: Progress | Literal[False] | None = None,
) -> SearchResult:
    """Searches for the best instruction of a predictor's prompt.

    The prompt's own instruction, no instruction, and statements of the labels are always among the candidates.

    Args:
        predictor: A predictor with a `Prompt` and without calibration.
        task: The task, with train rows.
        method: `ape` or `opro`: the model proposes instructions, in addition to those given. `list`: only those given. The
            default is `list` if `instructions` are given, otherwise `ape`.
        instructions: Instructions to include.
        candidates: Number of instructions that the model generates.
        by: The score to choose by: `metric`, the main metric, or `logprob` of the correct answer; the other one breaks ties.
        metrics: Metrics besides the default ones, as for `evaluate`; by default those of the task. The first is the main one.
        dev: Maximum number of dev rows to choose by, those with the smallest hash of id; None for all.
        test: Maximum number of rows of the split to confirm on; None for all.
        split: The split to confirm on; the task's default split by default.
        seed: Seed of the proposals.
        out: Folder that contains the run folders.
        cache: Whether to keep the model's outputs in the score cache.
        progress: Called as rows are evaluated.

    Returns:
        The best instruction, with its scores and the confirmation.

    Raises:
        InputError: A setting is invalid, or the predictor is calibrated or has no `Prompt`.
        TaskError: The task has no rows to choose by or to propose from.
        Unsupported: The model cannot generate text, so it cannot propose instructions.
    """
    check_limit(test, "test")
    prompt = _prompt(predictor)
    method = method or ("list" if instructions else "ape")
    rows = check(task, method=method, instructions=instructions, candidates=candidates, by=by, dev=dev, split=split)
    named = requested_metrics(metrics, task)
    settings = _Search(predictor, prompt, task, method, candidates, by, rows, seed)
    scorer = InstructionScorer(predictor, prompt, task, rows, ScoreCache() if cache else None, named)
    split = task.spec.split if split is None else split
    origins, rungs = settings.choose(instructions, split, scorer)
    pair = {OWN: predictor, FOUND: settings.with_instruction(rungs[-1].best, settings.rows_used(split))}
    comparison = compare(
        task, split=split, limit=test, folds=1, allow_seen=False, metrics=named, out=out, cache=cache, progress=progress, **pair
    )
    return settings.result(origins, rungs, pair[FOUND], comparison, scorer)


@dataclass(frozen=True, slots=True)
class _Search:
    """The validated settings of a search."""

    predictor: Predictor
    prompt: Prompt
    task: Task
    method: Method
    candidates: int
    by: By
    rows: Sequence[LabeledExample]
    """The dev rows to choose by."""
    seed: int

    def choose(
        self, instructions: Sequence[str], split: str, scorer: InstructionScorer
    ) -> tuple[dict[str, str], tuple[Rung, ...]]:
        """Collects the candidates and runs successive halving; returns the origin of each candidate, and the rungs."""
        origins = _fixed_origins(self.prompt, self.predictor.reader, instructions)
        if self.method != "list":
            _check_generates(self.predictor)
            proposer = _proposer(self.predictor, self.prompt, self.task, split, scorer.cache, self.seed)
            origins |= _proposed(proposer, scorer, origins, self.method, self.candidates, len(self.rows))
        return origins, tuple(
            halve([*origins], len(self.rows), scorer, by=self.by, higher_is_better=scorer.metric.higher_is_better)
        )

    def rows_used(self, split: str) -> frozenset[Fingerprint]:
        """Returns the rows that the instruction was chosen by, and those that the model proposed it from."""
        proposed_from = [] if self.method == "list" else _pool_rows(self.task, split)
        return frozenset(row.content for row in (*self.rows, *proposed_from))

    def with_instruction(self, instruction: str, fitted_on: frozenset[Fingerprint]) -> Predictor:
        """Returns the predictor with another instruction, which carries the rows that it was chosen by."""
        prompt = replace(self.prompt, instruction=instruction, fitted_on=self.prompt.fitted_on | fitted_on)
        return Predictor(self.predictor.model, prompt, self.predictor.reader)

    def result(
        self,
        origins: Mapping[str, str],
        rungs: tuple[Rung, ...],
        best: Predictor,
        comparison: Comparison,
        scorer: InstructionScorer,
    ) -> SearchResult:
        return SearchResult(
            task=self.task.name,
            model=self.predictor.model.name,
            settings={
                "method": self.method,
                "candidates": len(origins),
                "by": self.by,
                "seed": self.seed,
                "dev_rows": len(self.rows),
            },
            origins=origins,
            metric=scorer.metric,
            rungs=rungs,
            corrected=corrected_metric(rungs, scorer, self.by),
            predictor=best,
            comparison=comparison,
            notes=(*_notes(origins, self.method, self.candidates), *_unanswered_notes(rungs[-1])),
        )


def check(
    task: Task, *, method: str | None, instructions: Sequence[str], candidates: int, by: str, dev: int | None, split: str | None
) -> list[LabeledExample]:
    """Checks the settings of a search before a model is loaded.

    The arguments are those of `search`.

    Returns:
        The dev rows to choose by.

    Raises:
        InputError: A setting is invalid, or the task has images.
        TaskError: The task has no dev rows.
    """
    if task.spec.modality != "text":
        hint = "Train a program instead, with promptkit train"
        reason = f"An instruction is part of a prompt, and the task {task.name} has images"
        raise InputError(reason, code="needs-text-task", hint=hint, task=task.name)
    if method is not None and method not in get_args(Method):
        raise unknown("search method", method, get_args(Method))
    if by not in get_args(By):
        raise unknown("selection score", by, get_args(By))
    _check_instructions(instructions, method)
    if candidates < 1:
        reason = "The number of candidates must be at least 1"
        raise InputError(reason, code="out-of-range", got=f"candidates={candidates}", candidates=candidates)
    rows = by_hash(untested(task.part("dev"), task.rows(task.spec.split if split is None else split)), dev)
    if not rows:
        raise task.no_rows_error("to choose an instruction by", "dev")
    return rows


def _check_instructions(instructions: Sequence[str], method: str | None) -> None:
    if method == "list" and not instructions:
        reason = "The search method list needs a list of instructions"
        hint = "Give one, or let the model propose instructions: ape, opro"
        raise InputError(reason, code="no-instructions", hint=hint, method=method)


def _check_generates(predictor: Predictor) -> None:
    model = predictor.model
    check_supports(
        model.name,
        model.capabilities,
        "Generate",
        together=predictor.needed_features,
        needed_by="the proposal of instructions",
        alternative="give a list of instructions",
    )


def _prompt(predictor: Predictor) -> Prompt:
    """Returns the predictor's prompt; raises InputError if the predictor has none or is calibrated."""
    prompt = predictor.manipulate
    if not isinstance(prompt, Prompt):
        kind = type(prompt).__name__
        raise InputError("A search needs a predictor with a Prompt", code="not-a-prompt", got=kind, manipulation=kind)
    if predictor.reader.task_kind == "multi-label":
        raise needs_single_label("The search of instructions")
    if predictor.chain.calibration:
        hint = "Search without the calibration, then evaluate the instruction with it"
        name = predictor.name
        raise InputError("A search needs uncalibrated scores", code="calibrated-predictor", got=name, hint=hint, predictor=name)
    return prompt


def _fixed_origins(prompt: Prompt, reader: OutputReader, instructions: Sequence[str]) -> dict[str, str]:
    """Returns the instructions that are not proposed by the model -> their origins."""
    instruction = prompt.instruction
    if instruction is None:
        instruction = prompt.resolved_template.render("instruction", reader.template_values())
    return (
        dict.fromkeys(instructions, "list") | dict.fromkeys(statements(reader), "labels") | {"": "none"} | {instruction: "own"}
    )


def _proposer(predictor: Predictor, prompt: Prompt, task: Task, split: str, cache: ScoreCache | None, seed: int) -> Proposer:
    pairs = formatted_pairs(prompt, predictor.reader, _pool_rows(task, split))
    if not pairs:
        raise task.no_rows_error("to propose an instruction from", "pool")
    ask = CachedModel(predictor.model, cache)
    return Proposer(ask=ask, pairs=pairs, chat=prompt.chat, seed=seed, chat_options=prompt.chat_options)


def _pool_rows(task: Task, split: str) -> Sequence[LabeledExample]:
    """Returns the rows that instructions are proposed from."""
    return untested(task.part("pool"), task.rows(split))


def _proposed(
    proposer: Proposer, scorer: InstructionScorer, fixed: Mapping[str, str], method: Method, candidates: int, rows: int
) -> dict[str, str]:
    """Returns the distinct instructions that the model proposes in addition to the fixed ones -> the method."""
    if method == "ape":
        return {text: "ape" for text in proposer.from_pairs(candidates) if text not in fixed}
    first, *_ = sizes(len(fixed) + candidates, rows)
    tried = {text: origin for text, origin in fixed.items() if text}
    for step, begin in enumerate(range(0, candidates, STEP)):
        scores = scorer([*tried], first)
        figures = {text: score.metric for text, score in zip(tried, scores, strict=True)}
        proposals = proposer.from_history(as_shares(figures, scorer.metric), min(STEP, candidates - begin), step)
        tried |= {text: "opro" for text in proposals if text not in tried}
    return {text: origin for text, origin in tried.items() if text not in fixed}


def _notes(origins: Mapping[str, str], method: Method, candidates: int) -> tuple[str, ...]:
    usable = sum(origin == method for origin in origins.values())
    if method == "list" or usable == candidates:
        return ()
    return (f"{usable} of {candidates} proposed instructions were scored: the others were truncated or repeated",)


def _unanswered_notes(last: Rung) -> tuple[str, ...]:
    """Notes on the dev rows that have no answer with the best instruction."""
    best = last.standings[last.best]
    causes = {
        "were skipped because the prompt would not fit the model's context": best.skipped,
        "have no answer, because the model's reply names no label": best.no_answer,
    }
    return tuple(f"{count} of {last.rows} dev rows {cause}" for cause, count in causes.items() if count)
