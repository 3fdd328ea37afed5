"""The way out of the formula: the aligner that reads labels or answers, then a calibration or a vote of them.

A chain is made from aligners, from what a task calls for, or again from what a run has recorded of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from promptkit.align.calibrate import CALIBRATIONS as CORRECTIONS
from promptkit.align.choices import Choices
from promptkit.align.extract.rules import EXTRACTIONS, Extraction
from promptkit.align.labelmap import LABEL_MAPPINGS
from promptkit.align.probes import PROBES
from promptkit.align.verbalizer import Verbalizer
from promptkit.align.vote import Majority
from promptkit.core.alignment import Calibration, Extractor, Needs, Scorer
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.registry import build_from, parse, settings_of, spelling
from promptkit.tasks.task import Task

Reader = Scorer | Extractor
"""What may begin a chain of aligners."""
Aligners = Reader | type[Extraction] | Mapping[str, str] | Sequence[Reader | type[Extraction] | Majority | Calibration]
"""What a chain is made from."""
CALIBRATIONS: Mapping[str, type] = {**CORRECTIONS, **PROBES, **LABEL_MAPPINGS}
"""What may follow a scorer, by name: corrections of its label log-probabilities, and read-outs that are learned."""
SCORERS: Mapping[str, Callable[..., Scorer]] = {Verbalizer.name: Verbalizer, Choices.name: Choices}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """How a predictor's output is read."""

    reader: Reader
    """Reads labels or answers from what the model gives."""
    calibration: Calibration | None = None
    """What corrects the scores of a reading, if anything does."""

    @property
    def name(self) -> str:
        """The chain's last word: `verbalizer`, `majority`, or the calibration as the command line spells it."""
        if self.calibration:
            return spelling(self.calibration)
        return Majority.name if isinstance(self.reader, Extractor) and self.reader.samples > 1 else self.reader.name

    def settings(self) -> list[dict[str, object]]:
        """Everything about it that determines a result."""
        return [dict(self.reader.settings()), *([settings_of(self.calibration)] if self.calibration else [])]


def make_chain(align: Aligners) -> Chain:
    """The chain of an aligner, of words for labels, or of several aligners; an extraction may be given as its class.

    Raises PromptkitError for one that does not begin with a verbalizer, choices or an extraction.
    """
    parts = _parts(align)
    uncalled = next((part for part in parts if isinstance(part, type)), None)
    if uncalled is not None:
        raise InputError(
            "An aligner was given as a class, and an object is needed",
            code="class-not-object",
            got=uncalled.__name__,
            hint=f"Write {uncalled.__name__}(), with parentheses",
            aligner=uncalled.__name__,
        )
    if not parts or not isinstance(parts[0], (Scorer, Extractor)):
        raise InputError(
            "The first aligner must score labels or extract answers",
            code="invalid-first-aligner",
            got=[type(a).__name__ for a in parts],
            hint="Begin with a Verbalizer, Choices or an extraction",
            aligners=tuple(type(a).__name__ for a in parts),
        )
    calibrations = tuple(aligner for aligner in parts[1:] if isinstance(aligner, Calibration))
    if len(calibrations) < len(parts) - 1:
        raise InputError(
            "Only a calibration, or one vote, can follow the first aligner",
            code="invalid-second-aligner",
            got=[type(a).__name__ for a in parts],
            aligners=tuple(type(a).__name__ for a in parts),
        )
    if len(calibrations) > 1:
        raise InputError(
            "A predictor can have only one calibration: a second would correct what the first has already corrected",
            code="several-calibrations",
            got=[type(a).__name__ for a in parts],
            hint="Make one predictor for each calibration",
            aligners=tuple(type(a).__name__ for a in parts),
        )
    calibration = next(iter(calibrations), None)
    by_premise = isinstance(parts[0], Scorer) and calibration and calibration.needs == Needs(premise=True)
    if calibration and not (parts[0].labels or by_premise):
        raise Unsupported(
            f"The calibration {calibration.name} needs the same labels for every row",
            code="no-fixed-labels",
            got=f"{parts[0].name}, whose answers differ from row to row",
            hint="Leave out the calibration, or give the task labels",
            calibration=calibration.name,
            aligner=parts[0].name,
        )
    return Chain(reader=parts[0], calibration=calibration)


def _parts(align: Aligners) -> list[Any]:
    """The aligners, the class of an extraction made one, and a vote made a part of the extraction before it."""
    parts: list[Any] = [align]
    if isinstance(align, Mapping | Sequence):
        parts = [Verbalizer(align)] if isinstance(align, Mapping) else list(align)
    if parts and isinstance(parts[0], type) and issubclass(parts[0], Extraction):
        parts[0] = parts[0]()
    if parts[1:] and isinstance(parts[1], Majority):
        if not isinstance(parts[0], Extraction):
            raise InputError(
                "A vote needs an extraction before it, as it counts answers extracted from several texts",
                code="vote-without-extraction",
                got=f"{type(parts[0]).__name__} before the vote",
                hint="Begin with an extraction, such as pk.extract.final_number",
                aligner=type(parts[0]).__name__,
            )
        parts[:2] = [parts[1].bind(parts[0])]
    return parts


def chain_from_settings(settings: Sequence[Mapping[str, Any]]) -> Chain:
    """The chain whose `settings` a run has recorded."""
    first, *rest = ({**part} for part in settings)
    name = first.pop("name")
    reading: Reader = SCORERS[name](**first) if name in SCORERS else build_from("extraction", EXTRACTIONS, name, first)
    return make_chain([reading, *(build_from("calibration", CALIBRATIONS, each.pop("name"), each) for each in rest)])


def reader_for(task: Task, *, score: Literal["sum", "mean"] = "sum", extract: str | None = None, **keywords: object) -> Reader:
    """The first aligner that a task calls for: a verbalizer of its labels, choices, or an extraction.

    `score` is of label words and choices; `extract` (`name:key=value`) and `keywords` are of an extraction, and go before
    what the task says; several `samples` are drawn at a vote's temperature unless another is given. Raises for what belongs
    to another kind of task.
    """
    spec = task.spec
    if spec.answer is None:
        foreign = next((name for name in ("extract", *keywords) if name != "extract" or extract is not None), None)
        if foreign is not None:
            raise InputError(
                f"The option {foreign} is for generated texts, and the task {task.name} scores its answers",
                code="option-not-applicable",
                hint="Leave it out",
                option=foreign,
                task=task.name,
            )
        return Choices(score=score) if spec.labels is None else Verbalizer(spec.labels, score=score)
    if score != "sum":
        raise InputError(
            f"The option score is for scored answers, and the task {task.name} generates texts",
            code="option-not-applicable",
            hint="Leave it out",
            option="score",
            task=task.name,
        )
    (name, told), *_ = spec.answer.items() if isinstance(spec.answer, dict) else {spec.answer: None}.items()
    if extract is not None:
        other, more = parse(extract)
        name, told = other, {**(told or {}), **more} if other == name else more
    drawn = {"temperature": Majority.temperature} if keywords.get("samples", 1) != 1 else {}
    built: Reader = build_from("extraction", EXTRACTIONS, name, {**drawn, **(told or {}), **keywords})
    return built
