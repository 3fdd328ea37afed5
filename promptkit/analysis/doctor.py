"""The same rows on two engines: whether they read the same tokens and give the same answers, and how fast each is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from promptkit.align.chain import Reader
from promptkit.core.alignment import Scorer
from promptkit.core.examples import Example
from promptkit.core.manipulation import Manipulation
from promptkit.core.model import Card, Model
from promptkit.core.requests import GenerateOutput, Output, ScoreOutput
from promptkit.predictor.predictor import BoundPredictor, Predictor
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task

TOLERANCE = 2e-3
"""Of a label's log-probability, natural log; for float32. In 16 bits, rounding alone moves it by some tenths."""
TURNS = (("user", "a"), ("assistant", "b"), ("user", "c"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A row that the two predict differently."""

    id: str
    first: str
    second: str
    margin: float
    """Log-probability, by the first, of its prediction less that of its next label; 0 for texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found."""

    first: str
    second: str
    task: str
    n: int
    tolerance: float
    largest: float | None
    """The largest difference of a label's log-probability; None for texts."""
    mean: float | None
    flips: tuple[Disagreement, ...]
    differences: tuple[str, ...]
    """Of their tokenizers, their beginnings of text and their chat templates."""
    seconds: tuple[float, float]
    """Of each one's work, loading not counted."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why they are not the same; none if they are."""
        reasons = []
        if self.largest is not None and not self.largest <= self.tolerance:
            reasons.append(f"a label's log-probability differs by {self.largest:.2g}, and {self.tolerance:g} is tolerated")
        wide = [flip for flip in self.flips if flip.margin > self.tolerance or self.largest is None]
        if wide:
            what = "texts differ" if self.largest is None else f"predictions flip by a margin above {self.tolerance:g}"
            reasons.append(f"{len(wide)} of {self.n} {what}")
        return tuple(reasons)

    @property
    def verdict(self) -> str:
        """In one sentence."""
        if not self.reasons:
            return f"{self.first} and {self.second} agree"
        causes = f" (perhaps because {'; '.join(self.differences)})" if self.differences else ""
        return f"{self.first} and {self.second} do not agree: {'; '.join(self.reasons)}{causes}"

    def to_json(self) -> dict[str, object]:
        """What `promptkit doctor --json` prints."""
        return {**asdict(self), "agree": not self.reasons, "verdict": self.verdict}

    def __str__(self) -> str:
        """As the command line shows it."""
        lines = [f"{self.task}, {self.n} rows, tolerance {self.tolerance:g}"]
        if self.largest is not None and self.mean is not None:
            lines.append(f"label log-probabilities differ by {self.mean:.2g} on average and {self.largest:.2g} at most")
        lines.append(f"{len(self.flips)} of {self.n} rows are answered differently")
        lines += [f"  {flip.id}  {flip.first!r} -> {flip.second!r}, margin {flip.margin:.3f}" for flip in self.flips[:10]]
        lines += [f"difference: {each}" for each in self.differences]
        for name, seconds in zip((self.first, self.second), self.seconds, strict=True):
            lines.append(f"{name}: {self.n / seconds:.1f} rows/s")
        return "\n".join([*lines, self.verdict])


def diagnose(
    first: Model,
    second: Model,
    task: Task,
    manipulate: Manipulation,
    reading: Reader,
    *,
    limit: int,
    tolerance: float = TOLERANCE,
) -> Diagnosis:
    """Ask both models about the `limit` rows with the smallest hash of id; no cache is read, nothing is kept."""
    rows = [row.unlabeled() for row in by_hash(task.rows(task.spec.split), limit)]
    bound = [Predictor(model, manipulate, reading).bind(task) for model in (first, second)]
    (outputs, one), (others, other) = (_answered(each, rows) for each in bound)
    gaps, flips = [], []
    for row, a, b in zip(rows, outputs, others, strict=True):
        if isinstance(reading, Scorer):
            gaps += _gaps(reading, a, b)
        flip = _flip(row, reading, a, b)
        if flip is not None:
            flips.append(flip)
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
        seconds=(one, other),
    )


def _answered(bound: BoundPredictor, rows: Sequence[Example]) -> tuple[list[Output], float]:
    requests = bound.requests(rows)
    bound.model.load()
    began = time.perf_counter()
    found: dict[int, Output] = {}
    for indices, outputs in bound.model.answer(requests):
        found |= dict(zip(indices, outputs, strict=True))
    seconds = time.perf_counter() - began
    bound.model.close()  # the other engine may need its memory
    return [found[index] for index in range(len(rows))], seconds


def _gaps(reading: Scorer, a: Output, b: Output) -> list[float]:
    assert isinstance(a, ScoreOutput)
    assert isinstance(b, ScoreOutput)
    return [abs(x - y) for x, y in zip(reading.align(a), reading.align(b), strict=True)]


def _flip(row: Example, reading: Reader, a: Output, b: Output) -> Disagreement | None:
    if isinstance(reading, Scorer):
        assert isinstance(a, ScoreOutput)
        assert isinstance(b, ScoreOutput)
        scores = reading.align(a)
        labels = reading.candidates(row)
        first, second = (labels[max(range(len(x)), key=x.__getitem__)] for x in (scores, reading.align(b)))
        best, next_ = sorted(scores)[-1:-3:-1]
        margin = best - next_
    else:
        assert isinstance(a, GenerateOutput)
        assert isinstance(b, GenerateOutput)
        first, second = a.generations[0].text, b.generations[0].text
        margin = 0.0
    return None if first == second else Disagreement(id=row.id, first=first, second=second, margin=margin)


def _differences(bound: Sequence[BoundPredictor], rows: Sequence[Example]) -> list[str]:
    one, other = (each.model.card for each in bound)
    prompts = [[request.input.ids for request in each.requests(rows)] for each in bound]
    told = []
    apart = sum(a != b for a, b in zip(*prompts, strict=True))
    if apart:
        told.append(f"{apart} of {len(rows)} prompts are other tokens")
    if _beginning(one) != _beginning(other):
        told.append(f"a text begins with {_beginning(one)} for the first and {_beginning(other)} for the second")
    if one.tokenizer.chat(TURNS) != other.tokenizer.chat(TURNS):
        told.append("their chat templates differ")
    return told


def _beginning(card: Card) -> str:
    return " ".join(map(card.tokenizer.name, card.tokenizer.bos)) or "no special token"
