"""Measures how promptkit's scoring time grows with items and shots, and its share of the machine's peak.

The share of the peak is the useful work (see work_count.py) per second of scoring, divided by the rate of matrix products
measured in the same process just before and after. Rendering and encoding are measured separately.

    python benchmarks/lm_eval_side_by_side/scaling.py --data DIR
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import mean

import torch
from environment import machine
from tables import HERE, SCALING, scaling_table, write_tables
from work_count import Architecture, architecture, peak_flop_per_second, required_work, useful_flop
from workload import CASES, answer, load_model, load_workload, model_folder

from promptkit.core.model import Model


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    model, sizes = load_model(), architecture(model_folder())
    base = (options.base_shots, options.base_items)
    by_items = [(options.base_shots, items) for items in options.items]
    by_shots = [(shots, options.base_items) for shots in options.shots]
    cases = []
    for shots, items in dict.fromkeys([base, *by_items, *by_shots]):
        repetitions = options.repetitions if (shots, items) == base else 1
        cases.append(
            measure(model, sizes, data=options.data, split=options.split, items=items, shots=shots, repetitions=repetitions)
        )
        print(f"{shots} shots, {items} items: {cases[-1]['scoring_seconds']} s", file=sys.stderr, flush=True)
    results = {
        "command": shlex.join(["python", f"benchmarks/{HERE.name}/{Path(__file__).name}", *sys.argv[1:]]),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in ("promptkit", "torch", "transformers")}},
        "repetitions": options.repetitions,
        "cases": cases,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / SCALING).write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print(scaling_table(results))
    if options.out.resolve() == HERE:
        write_tables()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of data sets; default: the hub")
    parser.add_argument("--split", default="test", help="use validation on the hub, which hides the test labels")
    parser.add_argument(
        "--items", type=int, nargs="+", default=[128, 256, 512, 1024, 1792], help="numbers of items, with --base-shots"
    )
    parser.add_argument("--shots", type=int, nargs="+", default=[0, 4, 16, 64], help="numbers of shots, with --base-items")
    parser.add_argument("--base-items", type=int, default=256)
    parser.add_argument("--base-shots", type=int, default=16)
    parser.add_argument(
        "--repetitions", type=int, default=5, help="repetitions of the base case; other cases are measured once"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--out", type=Path, default=HERE, help=f"folder for {SCALING}; README.md is updated only in the default folder"
    )
    return parser.parse_args()


def measure(
    model: Model, sizes: Architecture, *, data: str | None, split: str, items: int, shots: int, repetitions: int
) -> dict[str, object]:
    """Measures one case; lists have one value for each repetition."""
    workload = load_workload(model, CASES["sst2"], data=data, split=split, items=items, shots=shots)
    rendering, scoring, peaks, shares = [], [], [], []
    for _ in range(repetitions):
        start = time.perf_counter()
        rendered = workload.render()
        rendering.append(time.perf_counter() - start)
        requests = workload.requests(rendered)
        work = required_work(rendered)
        flop = useful_flop(sizes, work)
        peak_before = peak_flop_per_second()
        start = time.perf_counter()
        answer(model, requests)
        scoring.append(time.perf_counter() - start)
        peaks.append((peak_before + peak_flop_per_second()) / 2)
        shares.append(sum(flop.values()) / scoring[-1] / peaks[-1])
    return {
        "shots": shots,
        "items": len(workload.rows),
        "mean_prompt_tokens": round(mean(len(row.input.ids) for row in rendered), 1),
        "computed_tokens": len(work.positions),
        "useful_gflop": {part: round(count / 1e9, 2) for part, count in flop.items()},
        "render_seconds": [round(seconds, 3) for seconds in rendering],
        "scoring_seconds": [round(seconds, 3) for seconds in scoring],
        "peak_gflop_per_second": [round(peak / 1e9, 1) for peak in peaks],
        "share_of_peak": [round(share, 4) for share in shares],
    }


if __name__ == "__main__":
    main()
