"""The alignments that can be tried on the answers of a prompt without further cost.

Every registered calibration, probe and label map is a candidate with its default settings. What an alignment declares about
itself decides whether it is left out: its needs, the features of the model, and the numbers of rows and labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from promptkit.align.chain import CALIBRATIONS, Chain, applies, make_chain, needs_calibration
from promptkit.collect.requirements import check_calibration, check_fit_part, class_count, needs_of
from promptkit.core.calibration import Calibration
from promptkit.core.errors import PromptkitError
from promptkit.core.examples import LabeledExample
from promptkit.core.manipulation import Manipulation
from promptkit.core.model import Model
from promptkit.core.need_context import Counts
from promptkit.core.output_reader import OutputReader
from promptkit.core.registry import build, spelling
from promptkit.predictor.compatibility import check_aligners, needed_features

ANOTHER_MODEL = "They query another model"
LABELS_FIRST = "They send requests that depend on the labels of other rows"
EVERY_CONTEXT = "They send further requests for every row"
"""Why an alignment is not fitted on the answers alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The answers that alignments are fitted on and applied to."""

    model: Model
    manipulation: Manipulation
    reader: OutputReader
    """The first aligner, for this model."""
    rows: Sequence[LabeledExample]
    """The rows of the other folds, at least as many as every fold has."""
    one_context: bool
    """Whether all rows of a fold have the same demonstrations."""

    @property
    def counts(self) -> Counts:
        """The numbers of labels and rows."""
        count = len(self.rows)
        labels, classes = len(self.reader.labels), class_count(self.model)
        return Counts(labels=labels, evaluated=count, has_label=[True] * count, classes=classes)


def default_alignments(seed: int) -> list[Calibration]:
    """Returns every registered alignment with its default settings; those that need settings are left out.

    Args:
        seed: The seed of alignments that draw rows.
    """
    built = []
    for name in CALIBRATIONS:
        try:
            built.append(build("calibration", CALIBRATIONS, name, seed=seed))
        except PromptkitError:
            continue
    return built


def suitable_chains(
    answered: Answered, calibrations: Iterable[Calibration], *, free: bool = True
) -> tuple[tuple[Chain, ...], dict[str, str]]:
    """Returns the alignments that can be fitted on answers.

    Args:
        answered: The answers.
        calibrations: The alignments to try after the first aligner.
        free: Whether to leave out those that need further requests for every row, or another model, and not to mention those
            that are for other kinds of tasks.

    Returns:
        The chains, first the one without a calibration; and for each alignment that is left out the reason.
    """
    chains = [] if needs_calibration(answered.reader) else [make_chain(answered.reader)]
    left_out: dict[str, str] = {}
    for calibration in calibrations:
        if free and not applies(answered.reader, calibration):
            continue
        try:
            chain = make_chain([answered.reader, calibration])
            _check(chain, answered)
            reason = _impossible(chain, answered) or (_costly(chain, answered) if free else "")
        except PromptkitError as error:
            reason = str(error)
        if reason:
            left_out[spelling(calibration)] = reason
        else:
            chains.append(chain)
    return tuple(chains), left_out


def _check(chain: Chain, answered: Answered) -> None:
    """Raises the error of an alignment that the model does not support, or for which there are too few rows or labels."""
    model, manipulation = answered.model, answered.manipulation
    features = needed_features(manipulation, manipulation.modifiers, chain.reader, chain.calibrations)
    check_aligners(chain.reader, chain.calibrations, model.name, model.capabilities, features)
    for calibration in chain.calibrations:
        check_fit_part(calibration, answered.rows)
        check_calibration(calibration, answered.counts)
    for need in needs_of((chain,)):
        need.check_modality(model.card.modality, has_source_classes=bool(chain.reader.source_classes()))


def _impossible(chain: Chain, answered: Answered) -> str:
    """Returns why an alignment cannot be fitted on the answers to other rows; an empty text if it can."""
    needs, settings = needs_of((chain,)), answered.manipulation.settings()
    if problem := next((problem for need in needs if (problem := need.impossible(settings))), None):
        return problem.text
    return LABELS_FIRST if any(need.asks_by_fit_part(answered.model.card.modality) for need in needs) else ""


def _costly(chain: Chain, answered: Answered) -> str:
    """Returns why an alignment needs more than the requests for rows; an empty text if it does not."""
    needs, has_labels = needs_of((chain,)), bool(answered.reader.labels)
    if any(need.models for need in needs):
        return ANOTHER_MODEL
    is_shared = all(need.is_shared(has_labels=has_labels, one_context=answered.one_context) for need in needs)
    return "" if is_shared else EVERY_CONTEXT
