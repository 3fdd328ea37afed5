"""What is trained for a learned prompt, and what that costs.

The computation of training is counted in requests, so that budgets of requests and tokens limit it: a row in a step counts as
three requests (a forward pass, and a backward pass of twice its cost), and a row that only gets a forward pass, as in an
evaluation on dev rows, as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from promptkit.align.labelmap.base import TrainableMap
from promptkit.core.errors import PromptkitError
from promptkit.predictor.predictor import Predictor
from promptkit.training.config import ResolvedConfig, TrainingConfig
from promptkit.training.label_map import joint_label_map
from promptkit.training.learnables import learnables
from promptkit.training.optimizers import HotFlip
from promptkit.tuning.candidates import PromptCandidate
from promptkit.tuning.folds import TuningRows

PREFERRED = "blm+"
"""The label map that programs for images are trained with, if it is tried."""
BACKWARD = 3
"""The number of requests that a row in a training step counts as."""


def trained_predictor(prompt: PromptCandidate) -> Predictor | None:
    """Returns the predictor whose manipulations are trained: without calibration, or for images with a label map.

    Args:
        prompt: The learned prompt.

    Returns:
        None if the manipulations cannot be trained with any of its alignments.
    """
    predictor = prompt.predictor
    if predictor.chain.calibration is None:
        return predictor
    for chain in sorted(prompt.chains, key=lambda chain: chain.name != PREFERRED):
        if isinstance(chain.calibration, TrainableMap):
            found = predictor.with_stages(predictor.manipulate, chain, predictor.columns)
            try:
                joint_label_map(found)
            except PromptkitError:
                continue
            return found
    return None


def too_few_rows(rows: TuningRows) -> bool:
    """Returns whether the other folds of some fold have no rows to train on, or no dev rows to choose the step by."""
    tasks = [rows.training_task(number) for number in range(rows.of + 1)]
    return not all(task.part("pool") and task.part("dev") for task in tasks)


def training_requests(computed: Mapping[str, int]) -> int:
    """Returns the number of requests that training counts as.

    Args:
        computed: The number of rows that the model computed, by purpose, as a training run counts them.
    """
    return sum(rows * (BACKWARD if purpose == "steps" else 1) for purpose, rows in computed.items())


def most_rows(prompt: PromptCandidate, rows: TuningRows) -> list[dict[str, int]]:
    """Returns the most rows that the training of each fold computes, by purpose; the last item is that of all rows."""
    predictor, config = trained_predictor(prompt), prompt.training
    assert predictor is not None
    assert config is not None
    resolved = config.resolved(discrete=any(each.is_discrete for each in learnables(predictor)))
    tasks = [rows.training_task(number) for number in (*range(1, rows.of + 1), 0)]
    label_map = joint_label_map(predictor)
    return [
        {
            "steps": resolved.steps * resolved.batch_size * _candidates(resolved),
            "dev": min(resolved.dev, len(task.part("dev"))) * (1 + ceil(resolved.steps / resolved.eval_every)),
            "label_map": 0 if label_map is None else _of_label_map(resolved, len(task.part("pool")), label_map.is_refitted),
        }
        for task in tasks
    ]


def _candidates(config: ResolvedConfig) -> int:
    """Returns how often a step computes each of its rows."""
    return 1 + config.optimizer.candidates if isinstance(config.optimizer, HotFlip) else 1


def _of_label_map(config: TrainingConfig, pool: int, is_refitted: bool) -> int:
    """Returns the number of rows that a label map is fitted on, over all its fits."""
    used = min(pool, config.steps * config.batch_size)
    later_epochs = (config.steps - 1) * config.batch_size // pool
    epochs = min(later_epochs, config.steps - 1) if is_refitted else 0
    return used * (1 + epochs)
