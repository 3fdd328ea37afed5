"""AutoGluon's tabular predictor, which makes n-grams and other features of text columns. Prints its result as JSON.

python autogluon_side.py LABELED UNSEEN SECONDS
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from importlib.metadata import version

import pandas as pd
from autogluon.tabular import TabularPredictor


def main() -> None:
    labeled, unseen = (pd.read_csv(file, keep_default_na=False) for file in sys.argv[1:3])
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        predictor = TabularPredictor(label="label", path=folder, verbosity=0, eval_metric="accuracy")
        predictor.fit(labeled, time_limit=float(sys.argv[3]), presets="best_quality")
        seconds = time.perf_counter() - started
        predicted = predictor.predict(unseen[["text"]])
        board = predictor.leaderboard()
        best = board.loc[board["model"] == predictor.model_best].iloc[0]
        result = {
            "accuracy": float((predicted == unseen["label"]).mean()),
            "estimate": float(best["score_val"]),
            "estimated_by": "its validation score of the best model",
            "chosen": str(predictor.model_best),
            "seconds": round(seconds, 1),
            "version": version("autogluon.tabular"),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
