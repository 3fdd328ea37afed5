"""Prints the accuracy of predictions against the labels that were held back.

python check.py predicted.csv new_gold.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from promptkit.metrics.intervals import Estimate, wilson


def main(predicted: str, gold: str) -> None:
    """Prints the share of answered tickets, and the accuracy on all and on answered tickets with 95% intervals."""
    answers = {row["ticket"]: row for row in read(predicted)}
    correct = [(answers[row["ticket"]], answers[row["ticket"]]["prediction"] == row["queue"]) for row in read(gold)]
    answered = [is_correct for answer, is_correct in correct if answer["abstained"].lower() != "true" and not answer["error"]]
    print(f"{len(correct)} new tickets, {len(answered)} answered, {len(correct) - len(answered)} left to a person")
    print(f"accuracy on the answered tickets: {text(accuracy(answered))}")
    everything = [is_correct for answer, is_correct in correct if answer["prediction"]]
    if len(everything) > len(answered):
        print(f"accuracy on all tickets with a prediction: {text(accuracy(everything))}")


def read(path: str) -> list[dict[str, str]]:
    """Returns the rows of a csv file."""
    with Path(path).open(newline="", encoding="utf-8") as stream:
        return [*csv.DictReader(stream)]


def accuracy(correct: Sequence[bool]) -> Estimate:
    """Returns the share of correct answers with its 95% Wilson interval."""
    return wilson(sum(correct), len(correct))


def text(estimate: Estimate) -> str:
    """Returns an accuracy and its interval as text."""
    return f"{estimate.value:.3f} ({estimate.low:.2f} to {estimate.high:.2f})"


if __name__ == "__main__":
    main(*sys.argv[1:])
