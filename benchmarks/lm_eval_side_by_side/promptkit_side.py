"""promptkit's side: renders and scores every item, and writes the very prompts and targets for the other tool to score.

The clock covers rendering, encoding and scoring, with the rows read and the weights in memory.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import torch
from workload import Workload, answer, load_model, load_workload

from promptkit.types import Rendered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data")
    parser.add_argument("--split", required=True)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--shots", type=int, required=True)
    parser.add_argument("--prompts", type=Path, required=True, help="the file of prompts to write")
    parser.add_argument("--result", type=Path, required=True, help="the file of results to write")
    options = parser.parse_args()
    model = load_model()
    workload = load_workload(model, data=options.data, split=options.split, items=options.items, shots=options.shots)
    began = time.perf_counter()
    rendered = workload.render()
    logprobs = workload.label_logprobs(answer(model, workload.requests(rendered)))
    seconds = time.perf_counter() - began
    write_prompts(options.prompts, workload, rendered)
    result = {
        "scoring_seconds": seconds,
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in ("promptkit", "torch", "transformers")}},
        "logprobs": logprobs,
    }
    options.result.write_text(json.dumps(result), "utf-8")


def write_prompts(file: Path, workload: Workload, rendered: list[Rendered]) -> None:
    """A line an item: its text without control tokens (each tool adds BOS itself), and the ids that promptkit read."""
    lines = []
    for row, prompt in zip(workload.rows, rendered, strict=True):
        line = {
            "id": row.id,
            "gold": workload.labels.index(row.label),
            "context": "".join(piece.text for piece in prompt.pieces if not piece.control),
            "targets": prompt.targets,
            "context_ids": prompt.input.ids,
            "target_ids": prompt.continuations,
        }
        lines.append(json.dumps(line) + "\n")
    file.write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    main()
