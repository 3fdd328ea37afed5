"""Metrics that are functions of a prediction and the accepted answers."""

from __future__ import annotations


def starts_alike(prediction: str, accepted: tuple[str, ...]) -> float:
    """Whether a prediction has the first letter of an accepted answer."""
    return any(prediction[0] == answer[0] for answer in accepted)


def same_length(prediction: str, accepted: tuple[str, ...]) -> float:
    """Whether a prediction has as many letters as an accepted answer."""
    return any(len(prediction) == len(answer) for answer in accepted)
