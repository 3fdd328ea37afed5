"""A classifier of images without a pretrained model: logistic regression on pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.examples import Example, LabeledExample
from promptkit.inputs.image import image_input
from promptkit.tasks.sampling import by_hash

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from promptkit.core.arrays import Floats

SIDE = 32
"""The height and width to which larger images and images of several sizes are resized."""
MAX_ROWS = 1000
"""The largest number of labeled rows that are used, chosen by the hash of their id."""
_FOLDS = 5


def pixel_regression(rows: Sequence[LabeledExample], items: Sequence[Example]) -> list[str]:
    """Fits logistic regression (C = 1) on the pixels of labeled rows.

    Either pixels are standardized or each image is scaled to unit length; stratified cross-validation within the rows chooses
    the more accurate one. Images are scaled if a label has only one row. If there is only one label, it is predicted for all
    items.

    Args:
        rows: The training rows; their order has no effect, and at most `MAX_ROWS` are used.
        items: The rows to predict.

    Returns:
        The predicted label of each item.
    """
    rows = by_hash(rows, MAX_ROWS)
    labels = [row.label for row in rows]
    if len(set(labels)) == 1:
        return labels[:1] * len(items)
    pixels = _features([*rows, *items])
    train, test = pixels[: len(rows)], pixels[len(rows) :]
    classifier = _better_classifier(train, labels)
    classifier.fit(train, labels)
    return [str(label) for label in classifier.predict(test)]


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
