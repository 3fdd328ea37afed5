"""Training with a label map: training minimizes the loss of the label scores that the map gives.

The map is fitted on the training rows before the first step and, if its method says so, at the start of each epoch again (ILM,
Chen et al. 2022, arXiv:2211.11635; BLM, Cai et al. 2024, arXiv:2410.24018), on the outputs under the current parameters. In
between it is fixed, and gradients flow through it into the program. Its numbers are part of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from promptkit.align.labelmap.base import TrainableMap
from promptkit.align.labelmap.mapping import LabelMap, Over
from promptkit.align.logprobs import negative_log_likelihood
from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import InputError
from promptkit.core.model import image_card
from promptkit.core.output_reader import Target
from promptkit.core.requests import ClassifyOutput, Output
from promptkit.predictor.predictor import Predictor

if TYPE_CHECKING:
    from torch import Tensor

    from promptkit.core.arrays import Floats, Integers

WEIGHTS, BIAS = "weights", "bias"


class RowScorer(Protocol):
    """Computes the loss of a row from what the model returns for it: a first aligner, or a label map."""

    def loss(self, target: Target, logprobs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Returns the differentiable loss, and the scores that it is computed from; see `OutputReader.loss`."""
        ...

    def loss_of_output(self, target: Target, output: Output) -> tuple[float, tuple[float, ...] | None]:
        """Returns the same from a model's output, without gradients."""
        ...


class JointLabelMap:
    """A label map from all classes of a classifier that is trained together with a program."""

    def __init__(self, mapping: TrainableMap, labels: Sequence[str], classes: Sequence[str]) -> None:
        """Stores the arguments.

        Args:
            mapping: The method.
            labels: The labels of the task.
            classes: The names of the model's classes.

        Raises:
            Unsupported: The map needs more than class probabilities and labels.
            InputError: A setting has no effect.
        """
        mapping.check_trainable()
        self._mapping, self._labels, self._classes = mapping, tuple(labels), tuple(classes)

    @property
    def is_refitted(self) -> bool:
        """Whether it is fitted again in each epoch."""
        return self._mapping.is_refitted

    def fit(self, logprobs: Floats, gold: Integers) -> dict[str, Array]:
        """Fits the map.

        Args:
            logprobs: Log-probabilities of the classes for the training rows, shape (rows, classes).
            gold: The index of each row's label, shape (rows,).

        Returns:
            The numbers of the map, rounded as a checkpoint stores them.
        """
        fitted = self._mapping.fit_classes(self._labels, self._classes, logprobs, gold)
        bias = {} if fitted.bias is None else {BIAS: as_array(fitted.bias)}
        return {WEIGHTS: as_array(fitted.weights), **bias}

    def loss(self, numbers: Mapping[str, Array]) -> MapLoss:
        """Returns the loss with the numbers of a fitted map."""
        weights = numbers[WEIGHTS].numpy().astype(float)
        bias = numbers[BIAS].numpy().astype(float) if BIAS in numbers else None
        over: Over = self._mapping.over
        return MapLoss(LabelMap(sources=self._classes, labels=self._labels, weights=weights, bias=bias, over=over))


def joint_label_map(predictor: Predictor) -> JointLabelMap | None:
    """Returns the label map that follows the first aligner of a predictor, or None.

    Raises:
        InputError: Another calibration follows it, or the model is not an image classifier.
        Unsupported: The label map cannot be trained with its settings.
    """
    calibration = predictor.chain.calibration
    if calibration is None:
        return None
    card = predictor.model.card
    if not isinstance(calibration, TrainableMap) or card.modality != "image":
        raise InputError(
            f"Training cannot use the calibration {calibration.name}",
            code="calibrated-predictor",
            got=predictor.name,
            hint="Train without the calibration, then evaluate with it; with an image classifier, label maps such as blm+ can "
            "be trained together with a program",
            predictor=predictor.name,
        )
    return JointLabelMap(calibration, predictor.reader.labels, image_card(card).class_names)


class MapLoss:
    """The cross-entropy of the label scores that a label map gives."""

    def __init__(self, label_map: LabelMap) -> None:
        """Stores the map."""
        self._map = label_map

    def loss(self, target: Target, logprobs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Returns the differentiable loss of one row, and the scores of the labels, shape (labels,).

        Args:
            target: The correct label.
            logprobs: One tensor with the logits or the log-probabilities of all classes.
        """
        (logits,) = logprobs
        label_scores = self._map.scores_tensor(logits.double().log_softmax(-1))
        return -label_scores.log_softmax(0)[target.gold], label_scores

    def loss_of_output(self, target: Target, output: Output) -> tuple[float, tuple[float, ...]]:
        """Returns the same from a model's output."""
        assert isinstance(output, ClassifyOutput)
        label_scores = self._map(output.logprobs.numpy()[None].astype(float))
        loss = float(negative_log_likelihood(label_scores, np.array([target.gold]))[0])
        return loss, tuple(label_scores[0].tolist())
