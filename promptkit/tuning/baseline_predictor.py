"""A baseline as a predictor of new rows: what tuning recommends if no model beats it.

    baseline.json           the baseline, the columns, the labels, the estimate, and the hash of the rows
    demonstrations.jsonl    the labeled rows, on which it is fitted when it is loaded
    images.safetensors      the images of these rows, if there are any

A baseline is a function of its labeled rows, so it is fitted again when it is loaded, which takes a second or two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from promptkit.classical.baseline import Baseline, Scores, predicted
from promptkit.core.arguments import check_arguments
from promptkit.core.errors import CheckpointError, InputError
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.files import write_folder
from promptkit.core.hashing import sha256_hex
from promptkit.core.output_reader import Answers
from promptkit.core.paths import expanded
from promptkit.core.version import __version__
from promptkit.display.progress import Progress
from promptkit.predictor.columns import Columns
from promptkit.predictor.decide.rule import Rule, rule_for
from promptkit.predictor.estimate import Estimate
from promptkit.predictor.out_of_fold import OutOfFold
from promptkit.predictor.predictions import Predictions
from promptkit.predictor.predictor import Predictor
from promptkit.predictor.saved_files import check_new
from promptkit.predictor.saved_format import ROWS
from promptkit.predictor.saved_rows import read_rows as parse_rows
from promptkit.predictor.saved_rows import write_rows
from promptkit.predictor.session import Unreadable, read_rows
from promptkit.predictor.tables import rows_of
from promptkit.tasks.readers import Row
from promptkit.tuning.baselines import baseline_named
from promptkit.tuning.saved_images import with_images, without_images

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

BASELINE, IMAGES = "baseline.json", "images.safetensors"


class _Saved(BaseModel):
    """The content of `baseline.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    promptkit: str
    """The version that wrote it."""
    baseline: str
    """The name of the baseline."""
    labels: tuple[str, ...]
    columns: Columns
    estimate: Estimate | None
    gold: tuple[int, ...] = ()
    probabilities: tuple[tuple[float, ...], ...] = ()
    folds: int = 0
    rows: int
    """The number of labeled rows."""
    sha256: dict[str, str]
    """The hash of each other file, by name."""
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class BaselinePredictor:
    """Predicts labels with a baseline that is fitted on labeled rows. It is used like `pk.Predictor`."""

    baseline: Baseline
    labels: tuple[str, ...]
    """The labels in the declared order."""
    columns: Columns
    """The columns that rows are read from."""
    fitted_on_rows: tuple[LabeledExample, ...] = field(repr=False)
    """The labeled rows."""
    estimate: Estimate | None = None
    """Its results on labeled rows that it was not fitted on, if they are known."""
    out_of_fold: OutOfFold | None = field(default=None, repr=False)
    """The probabilities of these rows."""

    def with_estimate(self, estimate: Estimate, out_of_fold: OutOfFold | None = None) -> BaselinePredictor:
        """Returns the predictor with its results on labeled rows that it was not fitted on, and their probabilities if any."""
        return replace(self, estimate=estimate, out_of_fold=out_of_fold)

    @property
    def name(self) -> str:
        """The name of the baseline."""
        return self.baseline.name

    @check_arguments("BaselinePredictor.predict")
    def predict(
        self,
        rows: object,
        *,
        threshold: float | None = None,
        risk: float | None = None,
        sets: float | None = None,
        progress: Progress | Literal[False] | None = None,
    ) -> Predictions:
        """Predicts rows without labels; the arguments are those of `pk.Predictor.predict`."""
        rule = self.rule(threshold=threshold, risk=risk, sets=sets)
        given = [*rows_of(rows, self.columns)]
        predictions = self.session().predict(self.read_rows(given))
        if progress:
            progress(len(given), len(given))
        return predictions if rule is None else predictions.decided(rule)

    def predict_proba(self, rows: object) -> Floats:
        """Returns the probability of each label for rows without labels, shape (rows, K)."""
        return self.predict(rows).probabilities

    def rule(self, *, threshold: float | None = None, risk: float | None = None, sets: float | None = None) -> Rule | None:
        """Returns the rule that decides which rows are answered; None if every row is."""
        if threshold is None and risk is None and sets is None:
            return None
        return rule_for(self.out_of_fold, threshold=threshold, risk=risk, sets=sets)

    def read_rows(self, rows: Sequence[Row], *, first: int = 1, folder: Path | None = None) -> list[Example | Unreadable]:
        """Returns rows as examples; one that cannot be read is `Unreadable`."""
        return read_rows(self.columns, rows, first, folder or Path())

    def session(self) -> BaselineSession:
        """Returns a session, which predicts rows chunk by chunk."""
        return BaselineSession(self)

    def identity(self) -> Mapping[str, object]:
        """Returns everything that determines its predictions."""
        return {"baseline": self.name, "labels": list(self.labels), "rows": self._hashes}

    def notes(self) -> Sequence[str]:
        """Returns a note on what it is."""
        return (f"predicted by a baseline without a language model: {self.baseline.description}",)

    # ---- files ---------------------------------------------------------------------------------------------

    @cached_property
    def _files(self) -> dict[str, bytes]:
        """The contents of the files with the labeled rows, by name."""
        rows, images = without_images(self.fitted_on_rows)
        return {ROWS: write_rows({"fit": rows}), **({IMAGES: images} if images else {})}

    @property
    def _hashes(self) -> dict[str, str]:
        return {name: sha256_hex(content) for name, content in self._files.items()}

    @check_arguments("BaselinePredictor.save")
    def save(self, folder: str | Path, *, command: str = "") -> Path:
        """Saves the predictor with its labeled rows as a folder of plain files.

        Args:
            folder: A new or empty folder.
            command: The command that made the predictor.

        Raises:
            CheckpointError: The folder is not empty, or cannot be written.
        """
        path, known = expanded(folder), self.out_of_fold
        check_new(path)
        saved = _Saved(
            promptkit=__version__,
            baseline=self.name,
            labels=self.labels,
            columns=self.columns,
            estimate=self.estimate,
            gold=() if known is None else tuple(known.gold.tolist()),
            probabilities=() if known is None else tuple(map(tuple, known.probabilities.tolist())),
            folds=0 if known is None else known.folds,
            rows=len(self.fitted_on_rows),
            sha256=self._hashes,
            command=command,
        )
        write_folder(path, {**self._files, BASELINE: (saved.model_dump_json(indent=1) + "\n").encode()})
        return path

    @classmethod
    @check_arguments("BaselinePredictor.load")
    def load(cls, folder: str | Path) -> BaselinePredictor:
        """Loads a saved baseline.

        Raises:
            CheckpointError: A file is missing or was changed.
        """
        path = expanded(folder)
        try:
            saved = _Saved.model_validate_json((path / BASELINE).read_bytes())
            files = {name: (path / name).read_bytes() for name in (ROWS, IMAGES) if name in saved.sha256}
        except (OSError, ValidationError) as error:
            raise _damaged(path, BASELINE, str(error).partition("\n")[0]) from None
        for name, expected in saved.sha256.items():
            if name not in files or sha256_hex(files[name]) != expected:
                raise _damaged(path, name, "it was changed")
        known = None
        if saved.gold:
            gold, probabilities = np.array(saved.gold), np.array(saved.probabilities)
            known = OutOfFold(labels=saved.labels, gold=gold, probabilities=probabilities, folds=saved.folds)
        return cls(
            baseline=baseline_named(saved.baseline),
            labels=saved.labels,
            columns=saved.columns,
            fitted_on_rows=tuple(with_images(parse_rows(files[ROWS], {"fit": saved.rows})["fit"], files.get(IMAGES, b""))),
            estimate=saved.estimate,
            out_of_fold=known,
        )


class BaselineSession:
    """Predicts rows with a baseline.

    Args:
        predictor: The baseline with its labeled rows.
    """

    def __init__(self, predictor: BaselinePredictor) -> None:
        self._predictor = predictor

    def predict(self, rows: Sequence[Example | Unreadable]) -> Predictions:
        """Returns the predictions for rows; unreadable ones have an error instead."""
        items, labels = [row for row in rows if isinstance(row, Example)], self._predictor.labels
        scores = self._predictor.baseline.predict(self._predictor.fitted_on_rows, items, labels) if items else []
        answers = Answers(
            predictions=tuple(map(predicted, scores)),
            candidates=(labels,) * len(items),
            logprobs=np.array([_logprobs(each, labels) for each in scores]).reshape(len(items), len(labels)),
        )
        errors = [row.reason if isinstance(row, Unreadable) else None for row in rows]
        return Predictions.of_answers(answers, labels, errors)


AnyPredictor = Predictor | BaselinePredictor
"""What predicts new rows: a frozen model with a manipulation and an alignment, or a baseline."""


def is_baseline(folder: str | Path) -> bool:
    """Returns whether a folder contains a saved baseline."""
    return (expanded(folder) / BASELINE).is_file()


def load_predictor(
    folder: str | Path, *, model: str | None = None, settings: Mapping[str, object] | None = None
) -> AnyPredictor:
    """Loads a saved predictor, or a saved baseline.

    Args:
        folder: The folder, or `hf://user/name` for a predictor.
        model: As for `pk.Predictor.load`.
        settings: As for `pk.Predictor.load`.

    Raises:
        CheckpointError: It cannot be loaded.
        InputError: A model is given for a baseline, which has none.
    """
    path = expanded(folder)
    if not is_baseline(path):
        return Predictor.load(folder, model=model, settings=settings)
    if model is not None or settings:
        raise InputError(
            f"{path} contains a baseline, which has no model",
            code="no-model",
            got=model or ", ".join(settings or ()),
            hint="Leave out the model and its settings",
            folder=str(path),
        )
    return BaselinePredictor.load(path)


def _logprobs(scores: Scores, labels: Sequence[str]) -> list[float]:
    return [scores.get(label, -np.inf) for label in labels]


def _damaged(path: Path, file: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path / file} is damaged: {reason}",
        code="damaged-baseline",
        hint="Restore it, or run promptkit tune again",
        file=str(path / file),
        reason=reason,
    )
