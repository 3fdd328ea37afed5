"""The chain of aligners that turns a model's output into an answer.

The first aligner, the reader, scores labels or extracts an answer; a vote or a calibration can follow it. `make_chain` builds a
chain from aligners, and `chain_from_settings` from the settings that a run has recorded. `reader_for` builds the reader that a
task calls for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from promptkit.align import calibrate
from promptkit.align.aligners import FIRST_ALIGNERS
from promptkit.align.choices import Choices
from promptkit.align.classes import Classes
from promptkit.align.extract import EXTRACTIONS, Extraction
from promptkit.align.fitted import ContextCalibration, FittedCalibration, Fix, fit_calibration
from promptkit.align.labelmap import LABEL_MAPPINGS
from promptkit.align.multi_label import MultiLabel
from promptkit.align.probes import PROBES
from promptkit.align.token_scores import SequenceScore
from promptkit.align.verbalizer import Verbalizer
from promptkit.align.vote import Majority
from promptkit.core.calibration import Calibration, DeclaresLogOdds, DeclaresScores
from promptkit.core.caller import setting
from promptkit.core.class_table import JoinedTable
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.needs import FitData
from promptkit.core.output_reader import OutputReader
from promptkit.core.registry import build_from, parse, settings_of, spelling
from promptkit.core.state import state_digest
from promptkit.tasks.task import Task
from promptkit.tasks.yaml_file import errors_at

Aligners = (
    OutputReader | type[Extraction] | Mapping[str, str] | Sequence[OutputReader | type[Extraction] | Majority | Calibration]
)
"""The accepted values of `align`: an aligner, the label words of a verbalizer, or several aligners."""
Answer = str | Mapping[str, Mapping[str, object] | None]
"""The extraction of a task file: its name, or {name: {keyword: value}}."""

CALIBRATIONS: Mapping[str, type[Calibration]] = JoinedTable(calibrate.CALIBRATIONS, PROBES, LABEL_MAPPINGS)
"""Aligners that can follow a scorer, by name: calibrations, probes and label mappings."""

FITTED = "fitted"
"""The key of the hash of a fitted calibration in the settings of a chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The aligners of a predictor."""

    reader: OutputReader
    """Scores labels or extracts the answer from the model's output."""
    calibration: Calibration | None = None
    """Corrects the label scores; None to use them as they are."""
    fitted: FittedCalibration | ContextCalibration | None = None
    """The calibration after fitting, which needs no labeled rows; None if it is fitted in each evaluation."""
    fitted_on: frozenset[Fingerprint] = frozenset()
    """The rows that the calibration was fitted on before."""

    @property
    def applied(self) -> Calibration | None:
        """The calibration that is applied: the fitted one if there is one."""
        return self.fitted or self.calibration

    @property
    def is_fitted(self) -> bool:
        """Whether the chain needs no further labeled rows."""
        return self.calibration is None or self.fitted is not None

    @property
    def calibrations(self) -> tuple[Calibration, ...]:
        """The calibration that is applied, if there is one."""
        return (self.applied,) if self.applied else ()

    @property
    def name(self) -> str:
        """The name of the last aligner, as the command line spells it: `verbalizer`, `majority`, `batch:mean=arithmetic`."""
        return spelling(self.calibration) if self.calibration else self.reader.branch

    def settings(self) -> list[dict[str, object]]:
        """Returns the settings of each aligner, which determine the result."""
        reader = dict(self.reader.settings())
        if self.calibration is None:
            return [reader]
        fitted = {} if self.fitted is None else {FITTED: state_digest(self.fitted.state)}
        return [reader, {**settings_of(self.calibration), **fitted}]

    def fit(self, data: FitData, fix: Fix, *, one_context: bool, fitted_on: frozenset[Fingerprint] = frozenset()) -> Chain:
        """Returns the chain with a fitted calibration, which needs no labeled rows.

        Args:
            data: What the calibration is fitted on.
            fix: Returns what a need becomes for new rows, as `Need.fixed` does.
            one_context: Whether all rows have the same demonstrations.
            fitted_on: The rows whose outputs or labels are in the data.
        """
        if self.calibration is None:
            return self
        fitted = fit_calibration(self.calibration, data, fix, one_context=one_context)
        return replace(self, fitted=fitted, fitted_on=fitted_on)


def make_chain(align: Aligners) -> Chain:
    """Builds a chain from an aligner, the label words of a verbalizer, or several aligners.

    Args:
        align: The aligners; an extraction can be given as its class.

    Raises:
        InputError: The aligners cannot be combined in this order.
        Unsupported: The calibration needs the same labels for every row, and the reader has none.
    """
    reader, rest = _split_reader(_with_vote(_as_list(align)))
    calibration = _calibration(reader, rest)
    check_scores(reader, calibration)
    if calibration:
        _check_labels(reader, calibration)
    return Chain(reader=reader, calibration=calibration)


def _as_list(align: Aligners) -> list[object]:
    """Returns the aligners; label words become a verbalizer, and the class of an extraction its default object."""
    if isinstance(align, Mapping):
        return [Verbalizer(align)]
    aligners: list[object] = [*align] if isinstance(align, Sequence) else [align]
    if aligners and isinstance(aligners[0], type) and issubclass(aligners[0], Extraction):
        aligners[0] = aligners[0]()
    return aligners


def _with_vote(aligners: list[object]) -> list[object]:
    """Returns the aligners with a vote merged into the extraction before it."""
    if aligners[1:] and isinstance(aligners[1], Majority):
        return [aligners[1].bind(aligners[0]), *aligners[2:]]
    return aligners


def _split_reader(aligners: list[object]) -> tuple[OutputReader, list[object]]:
    """Returns the first aligner and those that follow it."""
    for aligner in aligners:
        if isinstance(aligner, type):
            raise InputError(
                "An aligner was given as a class, and an object is needed",
                code="class-not-object",
                got=aligner.__name__,
                hint=f"Write {aligner.__name__}(), with parentheses",
                aligner=aligner.__name__,
            )
    if not aligners or not isinstance(aligners[0], OutputReader):
        raise _invalid_chain(
            "invalid-first-aligner",
            "The first aligner must score labels or extract answers",
            aligners,
            hint="Begin with a Verbalizer, Choices or an extraction",
        )
    return aligners[0], aligners[1:]


def _calibration(reader: OutputReader, rest: Sequence[object]) -> Calibration | None:
    """Returns the one calibration that follows the reader, if any."""
    calibrations = [aligner for aligner in rest if isinstance(aligner, Calibration)]
    if len(calibrations) < len(rest):
        raise _invalid_chain(
            "invalid-second-aligner", "Only a calibration, or one vote, can follow the first aligner", [reader, *rest]
        )
    if len(calibrations) > 1:
        raise _invalid_chain(
            "several-calibrations",
            "A predictor can have only one calibration: a second would correct what the first has already corrected",
            [reader, *rest],
            hint="Make one predictor for each calibration",
        )
    return calibrations[0] if calibrations else None


def _invalid_chain(code: str, message: str, aligners: Sequence[object], hint: str = "") -> InputError:
    names = [type(aligner).__name__ for aligner in aligners]
    return InputError(message, code=code, got=names, hint=hint, aligners=tuple(names))


def _check_labels(reader: OutputReader, calibration: Calibration) -> None:
    """Raises if the calibration needs fixed labels; one that needs only the premise works on each row's own answers."""
    needs = calibration.needs
    works_without_labels = reader.task_kind == "choice" and bool(needs) and all(need.works_with_choices for need in needs)
    if not (reader.labels or works_without_labels):
        raise Unsupported(
            f"The calibration {calibration.name} needs the same labels for every row",
            code="no-fixed-labels",
            got=f"{reader.name}, whose answers differ from row to row",
            hint="Leave out the calibration, or give the task labels",
            calibration=calibration.name,
            aligner=reader.name,
        )


def needs_calibration(reader: OutputReader) -> bool:
    """Returns whether a first aligner predicts nothing without a later aligner, so a run has no uncalibrated branch."""
    return reader.task_kind != "generation" and not reader.has_scores


def check_scores(reader: OutputReader, calibration: Calibration | None) -> None:
    """Raises if a first aligner has no label scores and no later aligner works without them."""
    if calibration is not None and mismatches(reader, calibration):
        raise _mismatch(reader, calibration)
    if not needs_calibration(reader):
        return
    hint = (
        "Use a label map, probe or centroids that read the classes, such as blm+, or give each label the names of its classes"
    )
    if calibration is None:
        raise InputError(
            f"The aligner {reader.name} alone predicts nothing: it does not know which classes mean which label",
            code="needs-label-map",
            hint=hint,
            aligner=reader.name,
        )
    if lacks_scores(reader, calibration):
        raise Unsupported(
            f"The calibration {calibration.name} corrects label scores, and the aligner {reader.name} has none",
            code="no-label-scores",
            hint=hint,
            calibration=calibration.name,
            aligner=reader.name,
        )


def mismatches(reader: OutputReader, calibration: Calibration) -> bool:
    """Returns whether a calibration is for rows with one label, and the reader for any number of labels, or vice versa."""
    reads_log_odds = isinstance(calibration, DeclaresLogOdds) and calibration.reads_log_odds
    return reads_log_odds != (reader.task_kind == "multi-label")


def _mismatch(reader: OutputReader, calibration: Calibration) -> Unsupported:
    several = reader.task_kind == "multi-label"
    names = [name for name, kind in CALIBRATIONS.items() if not mismatches(reader, kind())] if several else []
    return Unsupported(
        f"The calibration {calibration.name} is for tasks in which "
        + ("each row has one label" if several else "any number of labels can apply to a row"),
        code="wrong-label-count",
        got=f"the aligner {reader.name}",
        hint=f"Use {' or '.join(names)}" if names else "Use it with multi_label: true, or choose another calibration",
        calibration=calibration.name,
        aligner=reader.name,
        kind=reader.task_kind,
    )


def applies(reader: OutputReader, calibration: Calibration) -> bool:
    """Returns whether a calibration can follow a reader of labels."""
    return not lacks_scores(reader, calibration) and not mismatches(reader, calibration)


def lacks_scores(reader: OutputReader, calibration: Calibration) -> bool:
    """Returns whether a calibration corrects label scores and the reader has none."""
    ignores_scores = isinstance(calibration, DeclaresScores) and not calibration.reads_scores
    return needs_calibration(reader) and not ignores_scores


def chain_from_settings(settings: Sequence[Mapping[str, object]]) -> Chain:
    """Builds the chain whose `settings` a run has recorded; a calibration that was fitted before the run is not fitted here."""
    first, *rest = ({key: value for key, value in aligner.items() if key != FITTED} for aligner in settings)
    name = str(first.pop("name"))
    created: Mapping[str, Callable[..., OutputReader]] = FIRST_ALIGNERS
    reader = created[name](**first) if name in created else build_from("extraction", EXTRACTIONS, name, first)
    calibrations = (build_from("calibration", CALIBRATIONS, str(options.pop("name")), options) for options in rest)
    return make_chain([reader, *calibrations])


def reader_for(task: Task, *, score: SequenceScore = "sum", extract: str | None = None, **options: object) -> OutputReader:
    """Builds the default reader of a task: a verbalizer of its labels, choices, an extraction, or the classes of images.

    Args:
        task: The task.
        score: How label words and candidates are scored.
        extract: An extraction in the form `name:key=value`, which takes precedence over that of the task.
        options: Settings of the extraction, which take precedence over all others. With several `samples` and no
            `temperature`, texts are sampled at the default temperature of `Majority`.

    Raises:
        InputError: An option does not apply to this kind of task.
    """
    if task.spec.modality == "image":
        return _classes_for(task, {**({"score": score} if score != "sum" else {}), "extract": extract, **options})
    if task.spec.answer is None:
        return _scorer_for(task, score, [*(["extract"] if extract is not None else []), *options])
    if score != "sum":
        raise _not_applicable("score", f"is for scored answers, and the task {task.name} generates texts", task)
    if extract is None:
        _check_answer(task, task.spec.answer)
    numeric = {"numeric": True} if task.spec.numeric else {}
    return _extraction_for(task.spec.answer, extract, {**numeric, **options})


def _scorer_for(task: Task, score: SequenceScore, options: Sequence[str]) -> OutputReader:
    if options:
        raise _not_applicable(options[0], f"is for generated texts, and the task {task.name} scores its answers", task)
    if task.spec.labels is None:
        return Choices(score=score)
    with errors_at(task.file, "labels"):
        if task.spec.multi_label:
            return MultiLabel(task.spec.labels, score=score)
        return Verbalizer(task.spec.labels, score=score, values=task.spec.scale)


def _classes_for(task: Task, options: Mapping[str, object]) -> OutputReader:
    """Returns the aligner of a task of images, with the hand-written label map of its file if there is one."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise _not_applicable(given[0], f"is for texts, and the task {task.name} has images", task)
    with errors_at(task.file, "classes"):
        return Classes(task.labels, classes=task.spec.classes, values=task.spec.scale)


def _not_applicable(option: str, reason: str, task: Task) -> InputError:
    return InputError(
        f"{setting(option)} {reason}", code="option-not-applicable", hint="Leave it out", option=option, task=task.name
    )


def _check_answer(task: Task, answer: Answer) -> None:
    """Raises InputError, with the key in the task file, if the `answer` of the file alone is not an extraction."""
    try:
        _extraction_for(answer, None, {})
    except InputError as error:
        if task.file is None:
            raise
        name, settings = (None, None) if isinstance(answer, str) else next(iter(answer.items()))
        keyword = next((key for key in settings or {} if key in (error.fields.get("name"), error.fields.get("keyword"))), None)
        raise error.at(task.file, ".".join(key for key in ("answer", name, keyword) if key is not None)) from None


def _extraction_for(answer: Answer, extract: str | None, options: Mapping[str, object]) -> OutputReader:
    """Returns the extraction of a task file's `answer`, with the changes from the command line or Python."""
    name, settings = (answer, None) if isinstance(answer, str) else next(iter(answer.items()))
    settings = dict(settings or {})
    if extract is not None:
        other, changes = parse(extract)
        name, settings = other, settings | changes if other == name else dict(changes)
    sampling = {"temperature": Majority.temperature} if options.get("samples", 1) != 1 else {}
    extraction: OutputReader = build_from("extraction", EXTRACTIONS, name, {**sampling, **settings, **options})
    return extraction
