"""Random data to which calibrations are fitted and applied."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy.special import softmax

from promptkit.align.calibrate.proca import MIN_ROWS_PER_LABEL
from promptkit.core.needs import UNKNOWN, FitData, LabeledOutputs, Outputs
from promptkit.needs.content_free import ContentFree, RandomWords
from promptkit.needs.fit_rows import EvaluatedRows, FitLabels, FitRows
from promptkit.needs.label_count import LabelCount
from promptkit.needs.premise import Premise

LABELS = 3
TEXTS = ("N/A", "", "[MASK]")
BAGS = tuple(RandomWords(0, number) for number in range(4))


@dataclass(frozen=True, kw_only=True)
class Support:
    """Outputs from which the values of all needs of calibrations are taken."""

    items: Outputs
    rows: Outputs
    content_free: Mapping[str | RandomWords, np.ndarray]
    premise: np.ndarray


def outputs(logprobs, context=None):
    return Outputs(logprobs=logprobs, context=np.zeros(len(logprobs), int) if context is None else context)


def support_of(items, rows, content_free=None, premise=None):
    """Outputs for calibrations; log-probabilities that are not passed are uniform."""
    size = items.logprobs.shape[1]
    flat = np.zeros((max(items.context.max(initial=0) + 1, 1), size))
    return Support(
        items=items,
        rows=rows,
        content_free=dict.fromkeys((*TEXTS, *BAGS), flat) if content_free is None else content_free,
        premise=flat[:1] if premise is None else premise,
    )


def make_case(seed, size=LABELS):
    """Unnormalized log-probabilities of 1 to 6 items in 1 to 3 contexts with fit data, and the labels of the fit rows."""
    generator = np.random.default_rng(seed)
    items, contexts = generator.integers(1, [7, 4])
    rows = generator.integers(MIN_ROWS_PER_LABEL * size, MIN_ROWS_PER_LABEL * size + 9)

    def draw(*shape):
        return generator.uniform(-12, 0, shape)

    support = Support(
        items=outputs(draw(items, size), generator.integers(contexts, size=items)),
        rows=outputs(draw(rows, size)),
        content_free={item: draw(contexts, size) for item in (*TEXTS, *BAGS)},
        premise=draw(1, size),
    )
    return support, generator.integers(size, size=rows)


cases = st.integers(0, 2**32 - 1).map(make_case)


def value_of(need: Any, support: Support, labels: Any) -> Any:
    match need:
        case ContentFree(content):
            return support.content_free[content]
        case Premise():
            return support.premise
        case EvaluatedRows(rows):
            return outputs(support.items.logprobs[:rows])
        case FitRows(rows):
            return outputs(support.rows.logprobs[:rows])
        case FitLabels(rows):
            gold = np.full(len(support.rows.logprobs), UNKNOWN) if labels is None else np.asarray(labels)
            return LabeledOutputs(outputs=outputs(support.rows.logprobs[:rows]), gold=gold[:rows])
        case LabelCount():
            return support.items.logprobs.shape[1]
    raise AssertionError(need)


def fit(calibration, support, labels=None):
    """Fits a calibration on the values of its needs, and on nothing else."""
    values = {need: value_of(need, support, labels) for need in calibration.needs}
    names = tuple(map(str, range(support.items.logprobs.shape[1])))
    return calibration.fit(FitData(labels=names, items=support.items, values=values))


def applied(calibration, support, labels):
    return fit(calibration, support, labels).apply(support.items)


def probabilities(logprobs):
    return softmax(logprobs, axis=-1)
