"""SetFit: fine-tunes a sentence encoder on pairs of rows, then fits logistic regression. Prints its result as JSON.

python setfit_side.py LABELED UNSEEN ENCODER
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from importlib.metadata import version

from datasets import Dataset
from rows import read
from setfit import SetFitModel, Trainer, TrainingArguments

SEED = 0


def main() -> None:
    labeled, unseen = map(read, sys.argv[1:3])
    labels = sorted({label for _, label in labeled})
    started = time.perf_counter()
    model = SetFitModel.from_pretrained(sys.argv[3], labels=labels)
    data = Dataset.from_dict({"text": [text for text, _ in labeled], "label": [label for _, label in labeled]})
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, batch_size=16, num_epochs=1, seed=SEED, report_to="none", show_progress_bar=False
        )
        Trainer(model=model, args=arguments, train_dataset=data).train()
    seconds = time.perf_counter() - started
    predicted = [str(label) for label in model.predict([text for text, _ in unseen])]
    right = sum(label == gold for label, (_, gold) in zip(predicted, unseen, strict=True))
    result = {
        "accuracy": right / len(unseen),
        "estimate": None,
        "estimated_by": "none",
        "chosen": "fine-tuned encoder, logistic regression",
        "seconds": round(seconds, 1),
        "version": version("setfit"),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
