"""Runs promptkit on every item, and writes the same prompts and targets for the other tool.

The time covers rendering, encoding, and scoring or generation, with the rows and the weights in memory.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import torch
from workload import CASES, Workload, answer, load_model, load_workload

from promptkit.core.rendered import Rendered
from promptkit.core.requests import Generate, Request


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, required=True)
    parser.add_argument("--data")
    parser.add_argument("--split")
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--prompts", type=Path, required=True, help="the file of prompts to write")
    parser.add_argument("--result", type=Path, required=True, help="the file of results to write")
    options = parser.parse_args()
    model = load_model()
    case = CASES[options.case]
    workload = load_workload(model, case, data=options.data, split=options.split, items=options.items, shots=case.shots)
    start = time.perf_counter()
    rendered = workload.render()
    requests = workload.requests(rendered)
    outputs = answer(model, requests)
    logprobs = workload.label_logprobs(rendered, outputs)
    seconds = time.perf_counter() - start
    write_prompts(options.prompts, workload, rendered, requests)
    result = {
        "scoring_seconds": seconds,
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in ("promptkit", "torch", "transformers")}},
        "logprobs": logprobs,
        "texts": workload.texts(outputs),
    }
    options.result.write_text(json.dumps(result), "utf-8")


def write_prompts(file: Path, workload: Workload, rendered: list[Rendered], requests: list[Request]) -> None:
    """Writes one line per item: its text without control tokens (each tool adds BOS itself) and its token ids."""
    lines = []
    for row, prompt, request in zip(workload.rows, rendered, requests, strict=True):
        verb = request.verb
        line = {
            "id": row.id,
            "gold": workload.labels.index(row.label) if workload.labels else None,
            "write": {"until": verb.stop, "max_gen_toks": verb.max_tokens} if isinstance(verb, Generate) else None,
            "context": "".join(piece.text for piece in prompt.pieces if not piece.control),
            "targets": prompt.targets,
            "context_ids": prompt.input.ids,
            "target_ids": prompt.continuations,
        }
        lines.append(json.dumps(line) + "\n")
    file.write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    main()
