"""Finds which calibrations can be fitted on the stored outputs of a finished run, and what is missing for the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from promptkit.align.chain import CALIBRATIONS, Chain
from promptkit.core.alignment import Calibration, Needs, PerClass
from promptkit.core.errors import PromptkitError
from promptkit.core.registry import build_from, settings_of, spelling
from promptkit.evaluation.read_outputs import ReadOutputs
from promptkit.evaluation.requirements import check_calibration, combine_needs
from promptkit.models.registry import ENGINES
from promptkit.runs.command import why_no_premise
from promptkit.runs.row_ids import ContentFreeRow, FitRow, Premise, context_of
from promptkit.runs.schema import RowRecord, RunSettings

TRAIN = "train"
"""The split that contains the fit part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """A calibration that cannot be fitted on the stored outputs of a run."""

    name: str
    """The calibration, as the command line spells it."""
    code: str
    """Stable name of the problem in kebab case, such as `missing-premise`."""
    reason: str
    """What is missing, or why the calibration is not possible."""
    fields: Mapping[str, object]
    """The values that the problem is about."""
    collectable: bool
    """Whether the run could be repeated with this calibration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Missing:
    """Outputs that a run does not contain."""

    code: str
    outputs: str
    """What they are, in words."""
    fields: Mapping[str, object]


def split_by_availability(
    calibrations: Sequence[Calibration], stored: StoredOutputs
) -> tuple[list[Calibration], list[Unavailable]]:
    """Divides calibrations into those that can be fitted on a run's stored outputs, without repeats, and the others."""
    available: dict[str, Calibration] = {}
    unavailable: dict[str, Unavailable] = {}
    for calibration in calibrations:
        name, reduced = spelling(calibration), stored.with_stored_rows(calibration)
        missing = stored.missing(reduced)
        if missing is not None:
            unavailable[name] = stored.why_unavailable(calibration, missing)
            continue
        try:
            stored.check(reduced)
            available[spelling(reduced)] = reduced
        except PromptkitError as error:
            unavailable[name] = _refused(name, error, collectable=reduced is not calibration)
    return [*available.values()], [*unavailable.values()]


class StoredOutputs:
    """The stored outputs of a finished run, as far as calibrations need them.

    Args:
        settings: Settings of the run.
        samples: Records of its evaluated rows that have an answer.
        support: Records of its further rows that have an answer.
        chains: Its branches.
        read_outputs: What was read at the answer slots, if anything.
    """

    def __init__(
        self,
        settings: RunSettings,
        samples: Sequence[RowRecord],
        support: Sequence[RowRecord],
        chains: Sequence[Chain],
        read_outputs: ReadOutputs | None,
    ) -> None:
        self._settings = settings
        self._labels = len(chains[0].reader.labels)
        self._evaluated = len(samples)
        self._contexts = {context_of(record["demos"]) for record in samples}
        self._support = {record["id"] for record in support}
        self._read_outputs = read_outputs
        self._needs = combine_needs(chains)
        self._has_label = ["gold" in record for record in support if FitRow.parse(record["id"])]
        self._first_rows = self._has_label[: self._needs.rows]  # the others were drawn by their labels
        self._has_hidden_states = ENGINES[str(settings["model"]["engine"])].capabilities.hidden_states

    def with_stored_rows(self, calibration: Calibration) -> Calibration:
        """Returns the calibration itself, or one on as many rows as the run contains if it needs more."""
        if not self._first_rows or calibration.needs.rows <= self._needs.rows:
            return calibration
        settings = settings_of(calibration) | {"rows": len(self._first_rows)}
        reduced: Calibration = build_from("calibration", CALIBRATIONS, str(settings.pop("name")), settings)
        return reduced

    def missing(self, calibration: Calibration) -> _Missing | None:
        """Returns what the calibration needs and the run does not contain, or None."""
        needs = calibration.needs
        return (
            self._missing_content_free(needs)
            or self._missing_premise(needs)
            or self._missing_fit_rows(needs)
            or self._missing_states(needs)
            or self._missing_labeled_rows(needs)
            or self._missing_tokens(needs)
        )

    def check(self, calibration: Calibration) -> None:
        """Raises if the calibration cannot be fitted on the rows that the run contains."""
        has_label = self._first_rows if calibration.needs.rows else self._has_label
        check_calibration(calibration, labels=self._labels, evaluated=self._evaluated, has_label=has_label)

    def why_unavailable(self, calibration: Calibration, missing: _Missing) -> Unavailable:
        """Returns why the run cannot be repeated with the calibration, or that it can, with what is missing."""
        name = spelling(calibration)
        return (
            self._cannot_read(name, calibration.needs, missing)
            or self._cannot_fit(name, calibration)
            or Unavailable(
                name=name,
                code=missing.code,
                reason=f"the run does not contain {missing.outputs}",
                fields=missing.fields,
                collectable=True,
            )
        )

    def _cannot_read(self, name: str, needs: Needs, missing: _Missing) -> Unavailable | None:
        manipulate = self._settings["manipulate"]
        if (needs.layers or needs.named_tokens) and not self._has_hidden_states:
            reason = f"its engine does not provide {missing.outputs}"
            return _never(name, "no-hidden-states", reason, **missing.fields)
        if (needs.layers or needs.tokens or needs.named_tokens) and manipulate.get("channel"):
            reason = f"channel prompts have no answer slot at which to read {missing.outputs}"
            return _never(name, "no-answer-slot", reason, **missing.fields)
        return None

    def _cannot_fit(self, name: str, calibration: Calibration) -> Unavailable | None:
        needs = calibration.needs
        if needs.labels and self._settings["split"] == TRAIN:
            return _never(name, "rows-are-evaluated", "it needs labels, and every row of the fit part is itself evaluated")
        every_label = [True] * max(needs.rows, needs.min_labeled, 1)
        try:
            check_calibration(calibration, labels=self._labels, evaluated=self._evaluated, has_label=every_label)
        except PromptkitError as error:
            return _refused(name, error, collectable=False)
        reason = why_no_premise(self._settings) if needs.premise else None
        return None if reason is None else _never(name, "no-premise", reason)

    def _missing_content_free(self, needs: Needs) -> _Missing | None:
        ids = [
            {str(ContentFreeRow(content=content, context=context)) for context in self._contexts}
            for content in needs.content_free
        ]
        absent = sum(not rows <= self._support for rows in ids)
        outputs = f"{absent} of the {len(ids)} content-free inputs"
        fields = {"missing": absent, "needed": len(ids)}
        return _Missing(code="missing-content-free", outputs=outputs, fields=fields) if absent else None

    def _missing_premise(self, needs: Needs) -> _Missing | None:
        if not needs.premise or str(Premise()) in self._support:
            return None
        return _Missing(code="missing-premise", outputs="the scores of the premise", fields={})

    def _missing_fit_rows(self, needs: Needs) -> _Missing | None:
        if not needs.rows or self._first_rows:
            return None
        outputs = f"{'labeled ' if needs.labels else ''}rows of the fit part"
        return _Missing(code="missing-fit-rows", outputs=outputs, fields={"labeled": needs.labels})

    def _missing_states(self, needs: Needs) -> _Missing | None:
        layers = () if self._read_outputs is None else self._read_outputs.metadata["layers"]
        layer = next((layer for layer in needs.layers if layer not in layers), None)
        if layer is not None:
            outputs = f"hidden states of layer {layer}"
            return _Missing(code="missing-hidden-states", outputs=outputs, fields={"layer": layer})
        if all(top in self._needs.named_tokens for top in needs.named_tokens):
            return None
        return _Missing(code="missing-text-states", outputs="hidden states of the tokens' texts", fields={})

    def _missing_labeled_rows(self, needs: Needs) -> _Missing | None:
        per_class = next((each for each in needs.labeled if not _contains(self._needs.labeled, each)), None)
        if per_class is None:
            return None
        fields = {"per_class": per_class.rows, "seed": per_class.seed}
        return _Missing(code="missing-labeled-rows", outputs=f"{per_class.rows} labeled rows of each label", fields=fields)

    def _missing_tokens(self, needs: Needs) -> _Missing | None:
        sets = set() if self._read_outputs is None else {top for top, _ in self._read_outputs.sets()}
        top = next((top for top in needs.tokens if top not in sets), None)
        if top is None:
            return None
        outputs = f"log-probabilities of the {top.size} likeliest tokens over {top.rows.rows} labeled rows of each label"
        return _Missing(code="missing-tokens", outputs=outputs, fields={"tokens": top.size, "per_class": top.rows.rows})


def _contains(drawn: Collection[PerClass], wanted: PerClass) -> bool:
    """Whether the wanted rows are among those that were drawn: more rows of the same seed contain fewer."""
    return any(per_class.seed == wanted.seed and per_class.rows >= wanted.rows for per_class in drawn)


def _never(name: str, code: str, reason: str, **fields: object) -> Unavailable:
    return Unavailable(name=name, code=code, reason=reason, fields=fields, collectable=False)


def _refused(name: str, error: PromptkitError, *, collectable: bool) -> Unavailable:
    return Unavailable(name=name, code=error.code, reason=str(error), fields=error.fields, collectable=collectable)
