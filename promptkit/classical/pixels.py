"""Logistic regression on pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from promptkit.classical.baseline import Rows, Scores, predicted, scores_of
from promptkit.core.examples import Example
from promptkit.core.few_rows import allowing_few_rows
from promptkit.core.one_thread import one_thread
from promptkit.inputs.image import image_input
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from promptkit.core.arrays import Floats

SIDE = 32
"""The height and width to which larger images and images of several sizes are resized."""
MAX_ROWS = 1000
"""The largest number of labeled rows that are used, chosen by the hash of their id."""
_FOLDS = 5


class PixelRegression:
    """Logistic regression (C = 1) on pixels.

    Either pixels are standardized or each image is scaled to unit length; stratified cross-validation within the training rows
    chooses the more accurate one. Images are scaled if a label has only one row.
    """

    name = "pixels"
    description = "logistic regression on pixels"
    max_rows = MAX_ROWS

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether rows are images."""
        return spec.modality == "image"

    def predict(self, rows: Rows, items: Sequence[Example], labels: Sequence[str]) -> list[Scores]:
        """Returns the log-probabilities of the labels of the training rows for each item.

        If the training rows have only one label, its probability is 1.
        """
        rows = by_hash(rows, self.max_rows)
        gold = [row.label for row in rows]
        if len(set(gold)) == 1:
            return [{gold[0]: 0.0}] * len(items)
        pixels = _features([*rows, *items])
        train, test = pixels[: len(rows)], pixels[len(rows) :]
        with one_thread(), allowing_few_rows():
            classifier = _better_classifier(train, gold)
            classifier.fit(train, gold)
        return scores_of(np.asarray(classifier.predict_log_proba(test)), [str(label) for label in classifier.classes_])


def pixel_regression(rows: Rows, items: Sequence[Example]) -> list[str]:
    """Returns the label of each item that `PixelRegression` predicts after a fit on labeled rows."""
    return [*map(predicted, PixelRegression().predict(rows, items, ()))]


def _better_classifier(pixels: Floats, labels: Sequence[str]) -> Pipeline:
    """The scaling that is more accurate in cross-validation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler

    normalized, standardized = (
        make_pipeline(scaler, LogisticRegression(max_iter=1000)) for scaler in (Normalizer(), StandardScaler())
    )
    folds = min(_FOLDS, *Counter(labels).values())
    if folds < 2:
        return normalized
    division = StratifiedKFold(folds, shuffle=True, random_state=0)
    scores = [cross_val_score(each, pixels, labels, cv=division).mean() for each in (normalized, standardized)]
    return standardized if scores[1] > scores[0] else normalized


def _features(examples: Sequence[Example]) -> Floats:
    """The pixels of each image, all of the same size; shape (images, numbers)."""
    images = [image_input(value, row.id).pixels.numpy() for row in examples for value in row.inputs.values()]
    shapes = {image.shape for image in images}
    if len(shapes) > 1 or max(images[0].shape) > SIDE:
        images = [_resized(image) for image in images]
    pixels = np.stack(images).astype(np.float64)
    is_gray = bool((pixels == pixels[:, :1]).all())
    return (pixels[:, 0] if is_gray else pixels).reshape(len(images), -1)


def _resized(image: np.ndarray) -> np.ndarray:
    import torch
    from torch.nn.functional import interpolate

    tensor = torch.from_numpy(image.copy())[None]
    return interpolate(tensor, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)[0].numpy()
