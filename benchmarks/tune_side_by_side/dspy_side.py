"""DSPy's bootstrap random search over demonstrations, with the model of a local server. Prints its result as JSON.

python dspy_side.py LABELED UNSEEN ADDRESS MODEL SECONDS
"""

from __future__ import annotations

import json
import random
import sys
import time
from importlib.metadata import version
from typing import Any, Literal

import dspy
from dspy.teleprompt import BootstrapFewShotWithRandomSearch
from rows import read

THREADS = 4
CANDIDATES = 8
TRAIN_SHARE = 0.5
"""The share of the labeled rows that demonstrations come from; the search is scored on the others."""


def main() -> None:
    labeled, unseen = map(read, sys.argv[1:3])
    address, model, limit = sys.argv[3], sys.argv[4], float(sys.argv[5])
    labels = sorted({label for _, label in labeled})
    dspy.configure(lm=dspy.LM(f"openai/{model}", api_base=address, api_key="none", temperature=0.0, max_tokens=60, cache=False))
    fields = {"text": (str, dspy.InputField()), "label": (literal(labels), dspy.OutputField())}
    signature = dspy.Signature(fields, "Classify the text.")
    program = dspy.Predict(signature)
    examples = [dspy.Example(text=text, label=label).with_inputs("text") for text, label in labeled]
    random.Random(0).shuffle(examples)
    count = int(len(examples) * TRAIN_SHARE)
    started = time.perf_counter()

    def correct(example: Any, prediction: Any, trace: object = None) -> bool:
        if time.perf_counter() - started > limit:
            raise TimeoutError
        return getattr(prediction, "label", None) == example.label

    search = BootstrapFewShotWithRandomSearch(
        metric=correct, max_bootstrapped_demos=4, max_labeled_demos=8, num_candidate_programs=CANDIDATES, num_threads=THREADS
    )
    best = search.compile(program, trainset=examples[:count], valset=examples[count:])
    seconds = time.perf_counter() - started
    scored = [candidate["score"] for candidate in best.candidate_programs]
    right = sum(answer(best, text) == label for text, label in unseen)
    result = {
        "accuracy": right / len(unseen),
        "estimate": max(scored) / 100,
        "estimated_by": "its score on the validation rows that the program was chosen by",
        "chosen": f"{len(best.predictors()[0].demos)} demonstrations",
        "seconds": round(seconds, 1),
        "version": version("dspy"),
    }
    print(json.dumps(result))


def literal(labels: list[str]) -> Any:
    """Returns the type of the labels, to which DSPy's adapters restrict the output."""
    return Literal[tuple(labels)]  # type: ignore[valid-type]


def answer(program: dspy.Module, text: str) -> str | None:
    """Returns the label that a program predicts; None if the reply cannot be read."""
    try:
        return str(program(text=text).label)
    except Exception:  # the adapters raise several types
        return None


if __name__ == "__main__":
    main()
