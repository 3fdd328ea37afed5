"""Random data to which calibrations are fitted and applied."""

import numpy as np
from hypothesis import strategies as st
from scipy.special import softmax

from promptkit.align.calibrate.proca import MIN_ROWS_PER_LABEL
from promptkit.core.alignment import FitData, Outputs, RandomWords

LABELS = 3
TEXTS = ("N/A", "", "[MASK]")
BAGS = tuple(RandomWords(0, number) for number in range(4))


def outputs(logprobs, context=None):
    return Outputs(logprobs=logprobs, context=np.zeros(len(logprobs), int) if context is None else context)


def support_of(items, rows, content_free=None, premise=None):
    """Fit data for calibrations; log-probabilities that are not passed are uniform."""
    size = items.logprobs.shape[1]
    flat = np.zeros((max(items.context.max(initial=0) + 1, 1), size))
    return FitData(
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

    support = FitData(
        items=outputs(draw(items, size), generator.integers(contexts, size=items)),
        rows=outputs(draw(rows, size)),
        content_free={item: draw(contexts, size) for item in (*TEXTS, *BAGS)},
        premise=draw(1, size),
    )
    return support, generator.integers(size, size=rows)


cases = st.integers(0, 2**32 - 1).map(make_case)


def applied(calibration, support, labels):
    return calibration.fit(support, labels if calibration.needs.labels else None).apply(support.items)


def probabilities(logprobs):
    return softmax(logprobs, axis=-1)
