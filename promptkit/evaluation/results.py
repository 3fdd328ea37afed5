"""A run's lines -> the figures of each of its branches, and its finished folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from promptkit.align.chain import Chain
from promptkit.align.vote import vote_accuracy
from promptkit.core.alignment import Extractor, FitData
from promptkit.evaluation.readings import ReadOutputs
from promptkit.evaluation.support import collected, collected_of_choices
from promptkit.metrics.classification import choice, classification, generation, voting
from promptkit.metrics.intervals import Estimate, mean_share
from promptkit.runs.folder import RunFolder
from promptkit.runs.records import DECIMALS
from promptkit.runs.run import Result

if TYPE_CHECKING:
    from promptkit.core.arrays import Integers


def results(
    chains: Sequence[Chain], samples: Sequence[Any], besides: Sequence[Any], observed: ReadOutputs | None = None
) -> tuple[Result, ...]:
    """What each chain makes of the lines of a run's rows and of those that it needed besides, and of what was read of both."""
    reading = chains[0].reader
    if isinstance(reading, Extractor):
        return (of_texts(chains[0], reading, samples),)
    if not reading.labels:
        return tuple(of_choices(chain, samples, besides) for chain in chains)
    return of_labels(chains, samples, *collected(chains, samples, besides, observed))


def of_labels(chains: Sequence[Chain], samples: Sequence[Any], support: FitData, known: Integers) -> tuple[Result, ...]:
    """Every branch over labels that are the same for each row: its calibration corrects the scores of the pass.

    `known`: labels of the fit part's rows, for the fits that need them.
    """
    labels = chains[0].reader.labels
    gold = np.array([labels.index(line["gold"]) for line in samples])
    branches = []
    for chain in chains:
        aligned, calibration = support.items.logprobs, chain.calibration
        if calibration:
            aligned = calibration.fit(support, known if calibration.needs.labels else None).apply(support.items)
        predicted = aligned.argmax(1)
        correct = (predicted == gold).astype(float)
        histogram = np.bincount(predicted, minlength=len(labels)).tolist()
        branches.append(
            Result(
                align=chain.name,
                metrics=_rounded(classification(gold, aligned)),
                predicted=dict(zip(labels, histogram, strict=True)),
                predictions=tuple(labels[index] for index in predicted),
                logprobs=aligned,
                correct=correct,
                shares={"accuracy": correct},
            )
        )
    return tuple(branches)


def of_choices(chain: Chain, samples: Sequence[Any], besides: Sequence[Any]) -> Result:
    """A branch over answers that each row offers; rows that offer fewer than others have -inf in their place."""
    support = collected_of_choices(samples, besides)
    logprobs = support.items.logprobs
    if chain.calibration:
        aligned = chain.calibration.fit(support).apply(support.items)
        logprobs = np.where(np.isneginf(support.items.logprobs), -np.inf, aligned)
    candidates = [list(line["logprobs"]) for line in samples]
    gold = np.array([own.index(line["gold"]) for own, line in zip(candidates, samples, strict=True)])
    predictions = tuple(own[index] for own, index in zip(candidates, logprobs.argmax(1), strict=True))
    correct = (logprobs.argmax(1) == gold).astype(float)
    return Result(
        align=chain.name,
        metrics=_rounded(choice(gold, logprobs)),
        predicted=dict(sorted(Counter(predictions).items())),
        predictions=predictions,
        logprobs=logprobs,
        correct=correct,
        shares={"accuracy": correct},
    )


def of_texts(chain: Chain, reading: Extractor, samples: Sequence[Any]) -> Result:
    """The one branch over texts that the model wrote."""
    predictions = tuple(line["prediction"] for line in samples)
    correct = np.array([line["correct"] for line in samples], float)
    shares = generation(correct, np.array([said is not None for said in predictions]))
    if reading.samples > 1:
        forms = [[text["answer"] and reading.normalized(text["answer"]) for text in line["generations"]] for line in samples]
        right = [
            vote_accuracy(given, {*map(reading.normalized, line["accepted"])})
            for given, line in zip(forms, samples, strict=True)
        ]
        found = [[form is not None for form in given] for given in forms]
        shares |= voting(np.array(right), np.array(found))
    return Result(
        align=chain.name,
        metrics=_rounded({name: mean_share(each) for name, each in shares.items()}),
        predicted={},
        predictions=predictions,
        logprobs=np.zeros((len(samples), 0)),
        correct=correct,
        shares=shares,
    )


def _rounded(metrics: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    return {name: {key: round(value, DECIMALS) for key, value in asdict(each).items()} for name, each in metrics.items()}


def predictions(samples: Sequence[Any], branches: Sequence[Result]) -> list[dict[str, object]]:
    """What each branch predicts, a line a row."""
    return [
        {
            "id": line["id"],
            "gold": line["gold"],
            "predictions": {branch.align: branch.predictions[index] for branch in branches},
            "correct": {branch.align: bool(branch.correct[index]) for branch in branches},
        }
        for index, line in enumerate(samples)
    ]


def conclude(
    folder: RunFolder,
    told: Mapping[str, object],
    samples: Sequence[Any],
    besides: Sequence[Any],
    branches: Sequence[Result],
    seen: ReadOutputs | None,
) -> None:
    """Mark a run finished: its lines in its order, what was read beside them, what it predicts, and its figures."""
    lines = {"samples": samples, "support": besides, "predictions": predictions(samples, branches)}
    tensors = None if seen is None else seen.content()
    folder.finish(lines, {**told, "results": [result.to_json() for result in branches]}, tensors)
