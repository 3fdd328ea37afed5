"""Compares two engines on the same rows: their tokens, their answers and their speed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, runtime_checkable

from promptkit.collect.queries import sent_rows
from promptkit.core.examples import Example
from promptkit.core.manipulation import Manipulation
from promptkit.core.model import Model, TextCard, text_card
from promptkit.core.output_reader import OutputReader
from promptkit.core.rendered import Rendered
from promptkit.core.requests import GenerateOutput, Output
from promptkit.predictor.bound import BoundPredictor
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.single_table import evaluated_rows
from promptkit.tasks.task import Task

TOLERANCE = 2e-3
"""The tolerated difference of a label's log-probability (natural log) in float32. In 16 bits, rounding alone changes it by some
tenths."""
TURNS = (("user", "a"), ("assistant", "b"), ("user", "c"))
"""The chat turns by which chat templates are compared."""
MOST_FLIPS_SHOWN = 10
NO_ANSWER = "(no answer)"
"""Shown in place of the label of a reply that names none."""


@runtime_checkable
class Closeable(Protocol):
    """A model whose engine keeps memory until it is closed."""

    def close(self) -> None:
        """Frees the memory of the engine."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A row that the two engines answer differently."""

    id: str
    first: str
    """Answer of the first engine."""
    second: str
    """Answer of the second engine."""
    margin: float
    """The first engine's log-probability of its prediction minus that of its second-best label; 0 for generated texts.

    Of the second engine if the first one has no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The differences between two engines."""

    first: str
    """Name of the first model."""
    second: str
    """Name of the second model."""
    task: str
    n: int
    """Number of rows."""
    tolerance: float
    """The tolerated difference of a label's log-probability."""
    largest: float | None
    """The largest difference of a label's log-probability; None if there are none, as for generated texts."""
    mean: float | None
    """The mean difference of a label's log-probability; None if there are none, as for generated texts."""
    flips: tuple[Disagreement, ...]
    """The rows that the engines answer differently."""
    differences: tuple[str, ...]
    """Differences in token ids, BOS tokens and chat templates."""
    seconds: tuple[float, float]
    """Seconds that each engine took, without loading."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the engines do not agree; empty if they do."""
        reasons = []
        if self.largest is not None and not self.largest <= self.tolerance:
            reasons.append(
                f"a label's log-probability differs by {self.largest:.2g}, more than the tolerance {self.tolerance:g}"
            )
        beyond_tolerance = [flip for flip in self.flips if flip.margin > self.tolerance or self.largest is None]
        if beyond_tolerance:
            kind = "answers differ" if self.largest is None else f"predictions differ with a margin above {self.tolerance:g}"
            reasons.append(f"{len(beyond_tolerance)} of {self.n} {kind}")
        return tuple(reasons)

    @property
    def verdict(self) -> str:
        """Whether the engines agree, in one sentence."""
        if not self.reasons:
            return f"{self.first} and {self.second} agree"
        causes = f" (possible causes: {'; '.join(self.differences)})" if self.differences else ""
        return f"{self.first} and {self.second} do not agree: {'; '.join(self.reasons)}{causes}"

    def to_json(self) -> dict[str, object]:
        """Returns what `promptkit doctor --json` prints."""
        return {**asdict(self), "agree": not self.reasons, "verdict": self.verdict}

    def __str__(self) -> str:
        lines = [f"{self.task}, {self.n} rows, tolerance {self.tolerance:g}"]
        if self.largest is not None and self.mean is not None:
            lines.append(f"label log-probabilities differ by {self.mean:.2g} on average and {self.largest:.2g} at most")
        lines.append(f"{len(self.flips)} of {self.n} rows are answered differently")
        lines += [
            f"  {flip.id}  {flip.first!r} -> {flip.second!r}, margin {flip.margin:.3f}"
            for flip in self.flips[:MOST_FLIPS_SHOWN]
        ]
        lines += [f"difference: {difference}" for difference in self.differences]
        for name, seconds in zip((self.first, self.second), self.seconds, strict=True):
            lines.append(f"{name}: {self.n / seconds:.1f} rows/s")
        return "\n".join([*lines, self.verdict])


def diagnose(
    first: Model,
    second: Model,
    task: Task,
    manipulate: Manipulation,
    reader: OutputReader,
    *,
    limit: int,
    tolerance: float = TOLERANCE,
) -> Diagnosis:
    """Compares two models on the same rows, without the score cache.

    Args:
        first: The first model.
        second: The second model.
        task: The task.
        manipulate: The manipulation.
        reader: The first aligner, which scores labels or reads answers.
        limit: Number of rows: those with the smallest hash of id.
        tolerance: The tolerated difference of a label's log-probability (natural log).
    """
    # of a run with folds, the first one: the demonstrations are chosen from the rows of the others
    first_fold = evaluated_rows(task, task.spec.split)[0]
    task, rows = first_fold.task, [row.unlabeled() for row in first_fold.rows[:limit]]
    bound = [Predictor(model, manipulate, reader).bind(task) for model in (first, second)]
    for predictor in bound:
        rows = [row for row, _ in sent_rows(rows, predictor.encode(rows))]
    (answers, seconds), (other_answers, other_seconds) = (_answers(predictor, rows) for predictor in bound)
    pairs = [*zip(answers, other_answers, strict=True)]
    gaps = [gap for a, b in pairs for gap in _gaps(a, b)]
    flips = [_flip(row, a, b) for row, (a, b) in zip(rows, pairs, strict=True) if a.text != b.text]
    return Diagnosis(
        first=first.name,
        second=second.name,
        task=task.name,
        n=len(rows),
        tolerance=tolerance,
        largest=max(gaps) if gaps else None,
        mean=sum(gaps) / len(gaps) if gaps else None,
        flips=tuple(flips),
        differences=tuple(_differences(bound, rows)),
        seconds=(seconds, other_seconds),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """The answer of one engine to a row."""

    text: str
    """The predicted label, or the generated text."""
    scores: tuple[float, ...]
    """The score of each label; empty for a generated text and for a reply that names no label."""


def _answers(predictor: BoundPredictor, rows: Sequence[Example]) -> tuple[list[_Answer], float]:
    """The answers to rows, and the seconds that they took."""
    prompts = predictor.encode(rows)
    requests = [predictor.request(row, rendered) for row, rendered in zip(rows, prompts, strict=True)]
    predictor.model.load()
    started = time.perf_counter()
    by_index: dict[int, Output] = {}
    for indices, outputs in predictor.model.answer(requests):
        by_index |= dict(zip(indices, outputs, strict=True))
    seconds = time.perf_counter() - started
    if isinstance(predictor.model, Closeable):
        predictor.model.close()
    return [_answer(predictor.reader, row, prompts[index], by_index[index]) for index, row in enumerate(rows)], seconds


def _answer(reader: OutputReader, row: Example, rendered: Rendered, output: Output) -> _Answer:
    if isinstance(output, GenerateOutput):  # texts are compared as they are, not by the answers that they contain
        return _Answer(text=output.generations[0].text, scores=())
    scores = reader.scores(rendered, output) or ()
    return _Answer(text=reader.prediction(row, rendered, output) or NO_ANSWER, scores=scores)


def _gaps(a: _Answer, b: _Answer) -> list[float]:
    """The absolute difference of each label's log-probability; empty if one of the answers has no scores."""
    return [abs(x - y) for x, y in zip(a.scores, b.scores, strict=True)] if a.scores and b.scores else []


def _flip(row: Example, a: _Answer, b: _Answer) -> Disagreement:
    best, runner_up = sorted(a.scores or b.scores or (0.0, 0.0))[-1:-3:-1]
    return Disagreement(id=row.id, first=a.text, second=b.text, margin=best - runner_up)


def _differences(bound: Sequence[BoundPredictor], rows: Sequence[Example]) -> list[str]:
    inputs = [[request.input for request in predictor.requests(rows)] for predictor in bound]
    differing = sum(a.fingerprint() != b.fingerprint() for a, b in zip(*inputs, strict=True))
    is_text = all(each.modality == "text" for row in inputs for each in row)
    what = "prompts have different tokens" if is_text else "inputs differ"
    differences = [f"{differing} of {len(rows)} {what}"] if differing else []
    return [*differences, *_text_differences(bound)] if is_text else differences


def _text_differences(bound: Sequence[BoundPredictor]) -> list[str]:
    """Differences in BOS tokens and chat templates."""
    one, other = (text_card(predictor.model.card) for predictor in bound)
    differences = []
    if _bos(one) != _bos(other):
        differences.append(f"the first begins texts with {_bos(one)}, the second with {_bos(other)}")
    if one.tokenizer.chat(TURNS) != other.tokenizer.chat(TURNS):
        differences.append("their chat templates differ")
    return differences


def _bos(card: TextCard) -> str:
    return " ".join(map(card.tokenizer.name, card.tokenizer.bos)) or "no special token"
