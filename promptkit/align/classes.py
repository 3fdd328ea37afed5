"""Scores labels by the classes of a pretrained classifier.

With a hand-written label map a label's score is the log of the summed probabilities of its classes (many-to-one mapping, Tsai
et al. 2020, 2007.08714):

    log q[y] = log sum over s in map(y) of p(s | x)

Without one, labels have no scores until a later aligner has been learned: a label map such as `blm+`, a probe or centroids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from promptkit.align.candidates import CandidateScorer, checked_scale
from promptkit.core.answer_record import AnswerRecord
from promptkit.core.arguments import check_arguments
from promptkit.core.caller import setting
from promptkit.core.capabilities import VerbName
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.model import ModelCard, image_card
from promptkit.core.output_reader import Target
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Classify, ClassifyOutput, Output
from promptkit.core.shown_text import label_text

if TYPE_CHECKING:
    from torch import Tensor

    from promptkit.core.arrays import Floats


class Classes(CandidateScorer):
    """Reads the class probabilities of an image classifier.

    >>> Classes(["shirt", "shoe"], classes={"shirt": "jersey", "shoe": ["running shoe", "sandal"]}).has_scores
    True

    Args:
        labels: The labels of the task in the declared order, which also breaks ties.
        classes: A hand-written label map: for every label, the name or names of the model's classes that mean it. Without it
            labels have equal scores, and a later aligner that does not read label scores is needed, such as
            `pk.labelmap.BayesianPlus()`.
        values: The value of each label on a numeric scale. The expected value of each row is then predicted, too.

    Raises:
        InputError: There are fewer than two labels, `classes` lacks a label, has another one, or has a class for two labels, or
            a label has no finite value.
    """

    name: ClassVar[str] = "classes"
    verb: ClassVar[VerbName] = "Classify"

    @check_arguments("Classes")
    def __init__(
        self,
        labels: Sequence[str],
        *,
        classes: Mapping[str, str | Sequence[str]] | None = None,
        values: Mapping[str, float] | None = None,
    ) -> None:
        self.labels = tuple(labels)
        self.scale = None if values is None else checked_scale(self.labels, values)
        self.classes = None if classes is None else _class_names(self.labels, classes)
        self._indices: tuple[list[int], ...] = ()
        """The indices of each label's classes, once the model is known."""
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise InputError(
                "The aligner classes needs at least two different labels",
                code="too-few-labels",
                got=", ".join(self.labels) or "none",
                labels=self.labels,
            )

    @property
    def has_scores(self) -> bool:
        """Whether there is a hand-written label map."""
        return self.classes is not None

    def settings(self) -> Mapping[str, object]:
        """Returns the name, the labels and the hand-written label map."""
        classes = None if self.classes is None else {label: list(names) for label, names in self.classes.items()}
        scale = {} if self.scale is None else {"values": dict(self.scale)}
        return {"name": self.name, "labels": list(self.labels), "classes": classes, **scale}

    def notes(self) -> tuple[str, ...]:
        """Returns the hand-written label map, one line for each label."""
        return tuple(f"label {label_text(label)}: {', '.join(names)}" for label, names in (self.classes or {}).items())

    def source_classes(self) -> Mapping[str, Sequence[str]]:
        """Returns the hand-written label map."""
        return self.classes or {}

    def for_model(self, card: ModelCard) -> Self:
        """Returns a copy for one model, in which the names of the label map are resolved to the model's classes.

        Raises:
            InputError: The model has no class of a name.
            Unsupported: The model is not an image classifier.
        """
        class_names = image_card(card).class_names
        bound = copy(self)
        bound._indices = tuple(_indices(label, names, class_names) for label, names in (self.classes or {}).items())
        return bound

    def label_words(self) -> Mapping[str, str]:
        """Returns each label itself."""
        return {label: label for label in self.labels}

    def candidates(self, example: Example) -> tuple[str, ...]:
        """Returns the labels, which are the same for every row."""
        return self.labels

    def words(self, example: Example) -> tuple[str, ...]:
        """Returns no words: nothing continues an image."""
        return ()

    # ---- questions and answers ---------------------------------------------------------------------

    def request(self, example: Example, rendered: Rendered) -> Classify:
        """Returns the request for all classes."""
        return Classify()

    def scores(self, rendered: Rendered, output: Output) -> tuple[float, ...] | None:
        """Returns the log-probability of each label's classes, or None without a label map."""
        return self._label_logprobs(output) if self.has_scores else None

    def _label_logprobs(self, output: Output) -> tuple[float, ...]:
        assert isinstance(output, ClassifyOutput)
        logprobs = output.logprobs.numpy().astype(float)
        return tuple(float(np.logaddexp.reduce(logprobs[indices])) for indices in self._indices)

    # ---- records -----------------------------------------------------------------------------------

    def record(self, example: Example, rendered: Rendered, output: Output, gold: LabeledExample | None) -> AnswerRecord:
        """Returns the scores of the labels; without a label map only the gold label."""
        if self.has_scores:
            return super().record(example, rendered, output, gold)
        return {} if gold is None else self.gold_record(gold)

    def record_scores(self, rendered: Rendered, output: Output) -> AnswerRecord:
        """Returns no further fields: class probabilities are not recorded."""
        return {}

    def has_details(self, record: Mapping[str, object]) -> bool:
        """Returns True: there are no details."""
        return True

    def is_complete(self, record: Mapping[str, object], example: Example, gold: LabeledExample | None) -> bool:
        """Returns whether a record has the scores of the labels, if there are any."""
        if self.has_scores:
            return super().is_complete(record, example, gold)
        return gold is None or record.get("gold") == gold.label

    def label_scores(self, records: Sequence[AnswerRecord]) -> Floats:
        """Returns the scores in records, shape (rows, K); all equal without a label map."""
        return super().label_scores(records) if self.has_scores else np.zeros((len(records), len(self.labels)))

    # ---- training ----------------------------------------------------------------------------------

    def align_tensors(self, logprobs: Sequence[Tensor]) -> Tensor:
        """Returns the scores of the labels as a differentiable tensor of shape (labels,).

        Args:
            logprobs: One tensor with the logits or the log-probabilities of all classes.
        """
        import torch

        self._check_trainable()
        (logits,) = logprobs
        normalized = logits.log_softmax(0)
        return torch.stack([normalized[indices].logsumexp(0) for indices in self._indices])

    def training_scores(self, target: Target, output: Output) -> tuple[float, ...]:
        """Returns the log-probability of each label's classes."""
        self._check_trainable()
        return self._label_logprobs(output)

    def _check_trainable(self) -> None:
        if not self.has_scores:
            raise Unsupported(
                "The aligner classes has no label scores to train without a label map",
                code="untrainable-aligner",
                hint=f"Add a label map, such as {setting('labelmap', 'blm+')}, or give each label its classes",
                aligner=self.name,
            )


def _class_names(labels: Sequence[str], classes: Mapping[str, str | Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Returns the names of each label's classes, in the declared order of the labels."""
    names = {label: (given,) if isinstance(given, str) else tuple(given) for label, given in classes.items()}
    wrong = tuple(sorted(names.keys() ^ set(labels)))
    if wrong or not all(names.values()):
        raise InputError(
            "A hand-written label map needs at least one class for every label, and no other labels",
            code="incomplete-label-map",
            got=f"labels {', '.join(names)}; the task has {', '.join(labels)}",
            labels=wrong or tuple(label for label, given in names.items() if not given),
        )
    label_of: dict[str, str] = {}
    for label in labels:
        for name in names[label]:
            if label_of.setdefault(name, label) != label:
                raise InputError(
                    f"The labels {label_of[name]} and {label} share the class {name!r}",
                    code="shared-class",
                    hint="Give each class to one label",
                    name=name,
                    labels=(label_of[name], label),
                )
    return {label: names[label] for label in labels}


def _indices(label: str, names: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """Returns the indices of the classes with the given names; several classes may share a name."""
    indices: list[int] = []
    for name in dict.fromkeys(names):
        found = [index for index, other in enumerate(class_names) if other == name]
        if not found:
            close = get_close_matches(name, class_names, n=3, cutoff=0.5)
            raise InputError(
                f"The label map of {label} names the class {name!r}, which the model does not have",
                code="unknown-class",
                hint=f"Did you mean {' or '.join(map(repr, close))}?" if close else "Use the names of the model's classes",
                label=label,
                name=name,
                close=close,
            )
        indices += found
    return indices
