"""A predictor as a classifier of scikit-learn, for its pipelines, cross-validation and searches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d, validate_data

from promptkit.core.output_reader import OutputReader
from promptkit.predictor.columns import Columns
from promptkit.predictor.predictions import Predictions
from promptkit.tasks.columns import cell_text
from promptkit.tasks.load import task as load_task
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.utils import Tags

    from promptkit.core.arrays import Floats

    Values = NDArray[np.generic]


class Fittable(Protocol):
    """The interface of a predictor that the classifier uses."""

    @property
    def reader(self) -> OutputReader:
        """The first aligner, which has the labels."""
        ...

    @property
    def columns(self) -> Columns:
        """The columns that rows are read from."""
        ...

    @property
    def is_fitted(self) -> bool:
        """Whether it needs no labeled rows."""
        ...

    def fit(self, task: Task) -> Fittable:
        """Returns the predictor fitted on the train split of a task."""
        ...

    def predict(self, rows: object) -> Predictions:
        """Returns the predictions for rows."""
        ...


Build = Callable[[Sequence[str], Sequence[str]], Fittable]
"""Builds a predictor from labels and the names of columns, for data whose labels are not known in advance."""


class PromptClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of scikit-learn that predicts with a predictor.

    Data are a data frame with the columns of the predictor, a two-dimensional array whose columns are called `x0`, `x1` and so
    on, or a sequence of texts. The column of a sequence, or of an array with one column, is the only column of the predictor.
    Missing values are empty texts. The classes are the labels of the predictor; numbers and booleans are matched with labels by
    their text.

    `fit` uses all rows as the train split of a task, whose parts are used for demonstrations and calibrations. A predictor that
    is fitted already, such as a loaded one, can predict without `fit`. The probabilities of a row without an answer are
    equal.

    Attributes:
        predictor_: The fitted predictor.
        n_features_in_: The number of columns; 1 for a sequence of texts.
        feature_names_in_: The names of the columns, if a data frame was given.
    """

    def __init__(self, predictor: Fittable | Build) -> None:
        """Creates a classifier.

        Args:
            predictor: The predictor, or a function that builds it from the labels and the names of the columns.
        """
        self.predictor = predictor

    def fit(self, X: object, y: object) -> Self:  # noqa: N803 - the names of scikit-learn
        """Fits the predictor.

        Args:
            X: The rows.
            y: The label of each row.

        Raises:
            ValueError: The data cannot be read, there is only one label, or the predictor does not have one of the labels.
            PromptkitError: The predictor cannot be fitted on these rows.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        table = self._table(X, reset=True)
        values = column_or_1d(y, warn=True)
        check_consistent_length(table, values)
        check_classification_targets(values)
        found, numbers = np.unique(values, return_inverse=True)
        texts = [*map(cell_text, found.tolist())]
        predictor = self._unfitted(texts, table)
        rows, label = self._rows(table, predictor), _unused_name(predictor.columns.names)
        labeled = [{**row, label: texts[number]} for row, number in zip(rows, numbers, strict=True)]
        task = load_task(
            {"train": labeled}, label=label, inputs=predictor.columns.names, labels=predictor.reader.labels, name="rows"
        )
        self.predictor_ = predictor.fit(task)
        self._values = _values_of(predictor.reader.labels, dict(zip(texts, found.tolist(), strict=True)), found.dtype)
        return self

    @property
    def classes_(self) -> Values:
        """The labels in ascending order, shape (K,)."""
        classes: Values = np.sort(self._labels())
        return classes

    def predict(self, X: object) -> Values:  # noqa: N803
        """Returns the likeliest label of each row, shape (rows,). Ties go to the predictor's first label."""
        predicted: Values = self._labels()[self._probabilities(X).argmax(1)]
        return predicted

    def predict_proba(self, X: object) -> Floats:  # noqa: N803
        """Returns the probabilities of the labels, shape (rows, K), in the order of `classes_`."""
        probabilities: Floats = self._probabilities(X)[:, np.argsort(self._labels())]
        return probabilities

    def __sklearn_is_fitted__(self) -> bool:
        return self._fitted() is not None

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.allow_nan = True
        tags.classifier_tags.poor_score = True  # on numbers, which are not language
        tags.requires_fit = callable(self.predictor) or not self.predictor.is_fitted
        return tags

    def _fitted(self) -> Fittable | None:
        """Returns the predictor that `fit` has fitted, or the given one if it is fitted; None otherwise."""
        if "predictor_" in vars(self):
            fitted: Fittable = self.predictor_
            return fitted
        return None if callable(self.predictor) or not self.predictor.is_fitted else self.predictor

    def _unfitted(self, labels: Sequence[str], table: Values) -> Fittable:
        """Returns the predictor to fit; raises ValueError if it does not fit the labels."""
        if len(labels) < 2:
            raise ValueError(f"A classifier needs rows of at least 2 classes, and there is only one class: {labels[0]!r}")
        predictor = self.predictor(labels, self._names(table)) if callable(self.predictor) else self.predictor
        unknown = sorted(set(labels) - set(predictor.reader.labels))
        if unknown:
            raise ValueError(
                f"The predictor has the labels {', '.join(predictor.reader.labels)}; unknown label types: {', '.join(unknown)}"
            )
        return predictor

    def _labels(self) -> Values:
        """The label of each column of a prediction's probabilities."""
        fitted = self._fitted()
        if fitted is None:
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet. Call fit with labeled rows first.")
        labels: Values = self._values if "predictor_" in vars(self) else np.array(fitted.reader.labels)
        return labels

    def _table(self, X: object, *, reset: bool) -> Values:  # noqa: N803
        """Returns data as a two-dimensional array, after the checks of scikit-learn."""
        texts = _texts(X)
        data = X if texts is None else np.array(texts, dtype=np.object_)[:, None]
        table: Values = validate_data(self, data, dtype=None, ensure_all_finite="allow-nan", reset=reset)
        return table

    def _names(self, table: Values) -> list[str]:
        """Returns the names of the columns."""
        known = vars(self).get("feature_names_in_")
        return [f"x{number}" for number in range(table.shape[1])] if known is None else [*map(str, known)]

    def _rows(self, table: Values, predictor: Fittable) -> list[Mapping[str, object]]:
        """Returns the rows with the columns that the predictor reads."""
        names, needed = self._names(table), predictor.columns.names
        if len(names) == len(needed) == 1:
            names = [*needed]
        missing = sorted(set(needed) - set(names))
        if missing:
            raise ValueError(f"The predictor reads the columns {', '.join(needed)}; missing: {', '.join(missing)}")
        positions = {name: names.index(name) for name in needed}
        return [{name: _cell(row[position]) for name, position in positions.items()} for row in table.tolist()]

    def _probabilities(self, X: object) -> Floats:  # noqa: N803
        """Returns the probabilities of the predictor's labels, in its order."""
        self._labels()
        fitted = self._fitted()
        assert fitted is not None
        table = self._table(X, reset="predictor_" not in vars(self))
        predictions = fitted.predict(self._rows(table, fitted))
        error = next((error for error in predictions.errors if error is not None), None)
        if error is not None:
            raise ValueError(error)
        answered = predictions.probabilities.any(1, keepdims=True)
        probabilities: Floats = np.where(answered, predictions.probabilities, 1 / predictions.probabilities.shape[1])
        return probabilities


def _values_of(labels: Sequence[str], found: Mapping[str, object], dtype: np.dtype[np.generic]) -> Values:
    """Returns each label as a value of the type of `y`, whether `y` contains it or not."""
    if dtype.kind in "OUS":
        return np.array([found.get(label, label) for label in labels], object if dtype.kind == "O" else str)
    if dtype.kind == "b":
        return np.array([label == "true" for label in labels])
    return np.array([found.get(label, label) for label in labels]).astype(dtype)


def _texts(data: object) -> list[object] | None:
    """Returns the elements of data that are one-dimensional and begin with a text, otherwise None."""
    if isinstance(data, str) or not isinstance(data, Iterable) or np.asarray(data, dtype=np.object_).ndim != 1:
        return None
    elements = [*data]
    return elements if elements and isinstance(elements[0], str) else None


def _cell(value: object) -> object:
    """Returns the value of a cell; a missing value is an empty text."""
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    return "" if missing else value


def _unused_name(names: Sequence[str]) -> str:
    """Returns a name for the column of the labels that no input column has."""
    name = "label"
    while name in names:
        name += "_"
    return name
