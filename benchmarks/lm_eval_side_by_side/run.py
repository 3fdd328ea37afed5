"""Compares speed, memory and outputs of promptkit and lm-eval on the same prompts, model folder and machine.

Each tool runs in a separate process, to measure the wall time and peak memory of one tool. promptkit, which takes less
time, runs before and after lm-eval; its slower pass counts.

    python benchmarks/lm_eval_side_by_side/run.py --case sst2 --data DIR
    python benchmarks/lm_eval_side_by_side/run.py --readme    # only writes the tables of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from environment import default_folder, lm_eval_python, machine
from tables import HERE, side_by_side_file, side_by_side_table, write_tables
from workload import CASES


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The measurements and outputs of one tool."""

    scoring_seconds: float
    """Measured by the process itself, with the weights in memory."""
    wall_seconds: float
    """Time of the entire process, including imports and loading."""
    cpu_seconds: float
    """CPU time of the entire process; far less than threads x wall seconds if other processes used the cores."""
    peak_memory_gib: float
    """Peak resident set size of the process."""
    threads: int
    versions: Mapping[str, str]
    logprobs: Sequence[Sequence[float]]
    """For each item, one value per label in the declared order; empty for generation."""
    texts: Sequence[str]
    """One text for each item; empty for scoring."""

    @property
    def items(self) -> int:
        """Number of items."""
        return len(self.logprobs) or len(self.texts)

    def to_json(self) -> dict[str, object]:
        """Returns the published values."""
        return {
            "items_per_second": round(self.items / self.scoring_seconds, 4),
            "items": self.items,
            "scoring_seconds": round(self.scoring_seconds, 2),
            "wall_seconds": round(self.wall_seconds, 2),
            "cpu_seconds": round(self.cpu_seconds, 2),
            "peak_memory_gib": round(self.peak_memory_gib, 2),
            "threads": self.threads,
            "versions": self.versions,
        }


def main() -> None:
    options = parse()
    if options.readme:
        write_tables()
        return
    case = CASES[options.case]
    items, peer_items = options.items or case.items, min(options.items or case.items, case.peer_items)
    peer_python = lm_eval_python(options.env)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prompts = folder / "prompts.jsonl"
        ours = [sys.executable, HERE / "promptkit_side.py", "--prompts", prompts]
        ours += ["--case", options.case, "--items", items]
        ours += [word for name in ("data", "split") if getattr(options, name) for word in (f"--{name}", getattr(options, name))]
        theirs = [peer_python, HERE / "lm_eval_side.py", "--prompts", prompts, "--items", peer_items]
        theirs += ["--batch-size", options.batch_size, "--model", model_folder()]
        before = run_side("promptkit, before", ours, folder, options.threads)
        peer = run_side("lm-eval", theirs, folder, options.threads)
        after = run_side("promptkit, after", ours, folder, options.threads)
        gold = [json.loads(line)["gold"] for line in prompts.read_text("utf-8").splitlines()]
    results = {
        "command": published_command(),
        "machine": machine(),
        "workload": {**asdict(case), "items": items, "peer_items": peer_items, "split": options.split, "dtype": "float32"},
        "promptkit": {**slower(before, after).to_json(), "scoring_seconds_of_both_passes": both_seconds(before, after)},
        "lm_eval": {**peer.to_json(), "batch_size": options.batch_size},
        "comparison": compare(slower(before, after), peer, gold),
    }
    write(results, options.case, options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--case", choices=CASES, default="sst2")
    parser.add_argument("--data", help="folder of data sets; default: the hub")
    parser.add_argument(
        "--env", type=Path, default=default_folder(), help="lm-eval's environment, created if it does not exist"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE, help="folder of the results; README.md is updated only in the default folder"
    )
    parser.add_argument("--readme", action="store_true", help="only write the tables of the results into README.md")
    parser.add_argument(
        "--split", help="default: the task's split; use validation for sst2 on the hub, which hides the test labels"
    )
    parser.add_argument("--items", type=int, help="default: the case's number of items")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=8, help="batch size of lm-eval")
    return parser.parse_args()


def model_folder() -> str:
    """Returns the model's folder; a separate process converts it, outside the time and memory of either tool."""
    code = "from workload import model_folder; print(model_folder())"
    process = subprocess.run([sys.executable, "-c", code], cwd=HERE, stdout=subprocess.PIPE, text=True, check=True)
    return process.stdout.strip()


def run_side(name: str, command: Sequence[object], folder: Path, threads: int) -> Side:
    """Runs one tool and exits if it fails."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    result = folder / "result.json"
    environ = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    process = subprocess.Popen([*map(str, command), "--result", str(result)], env=environ)
    _, status, usage = os.wait4(process.pid, 0)  # returns the peak memory of only this child
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name} failed with exit code {process.returncode}.")
    report: dict[str, Any] = json.loads(result.read_text("utf-8"))
    if report["threads"] != threads:
        raise SystemExit(f"{name} ran on {report['threads']} threads, not on {threads}.")
    print(f"{name}: {report['scoring_seconds']:.1f} s of scoring, {wall:.1f} s in all", file=sys.stderr, flush=True)
    return Side(
        scoring_seconds=report["scoring_seconds"],
        wall_seconds=wall,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_memory_gib=usage.ru_maxrss / 2**20,  # Linux counts it in KiB
        threads=report["threads"],
        versions=report["versions"],
        logprobs=report["logprobs"],
        texts=report["texts"],
    )


def slower(before: Side, after: Side) -> Side:
    return max(before, after, key=lambda side: side.scoring_seconds)


def both_seconds(before: Side, after: Side) -> list[float]:
    return [round(side.scoring_seconds, 2) for side in (before, after)]


def compare(ours: Side, theirs: Side, gold: Sequence[int | None]) -> dict[str, object]:
    """Returns ratios, above 1 if promptkit is better, and the differences between outputs that both tools computed."""
    comparison: dict[str, object] = {
        "speed_ratio": round(theirs.scoring_seconds / theirs.items / (ours.scoring_seconds / ours.items), 2),
        "wall_ratio": round(theirs.wall_seconds / ours.wall_seconds, 2) if ours.items == theirs.items else None,
        "memory_ratio": round(theirs.peak_memory_gib / ours.peak_memory_gib, 2),
        "same_token_ids": True,  # the lm-eval side stops where they differ
    }
    if theirs.texts:
        different = [index for index, text in enumerate(theirs.texts) if text != ours.texts[index]]
        return {**comparison, "different_texts": len(different)}
    our_choices, their_choices = choices(ours)[: theirs.items], choices(theirs)
    pairs = [
        pair
        for our_row, their_row in zip(ours.logprobs, theirs.logprobs, strict=False)
        for pair in zip(our_row, their_row, strict=True)
    ]
    return {
        **comparison,
        "largest_logprob_difference": max(abs(one - other) for one, other in pairs),
        "promptkit_accuracy": accuracy(our_choices, gold),
        "lm_eval_accuracy": accuracy(their_choices, gold),
        "flips": sum(one != other for one, other in zip(our_choices, their_choices, strict=True)),
    }


def choices(side: Side) -> list[int]:
    """Returns the most likely label of each item; the first declared one on ties."""
    return [row.index(max(row)) for row in map(list, side.logprobs)]


def accuracy(chosen: Sequence[int], gold: Sequence[int | None]) -> float:
    return round(sum(one == other for one, other in zip(chosen, gold, strict=False)) / len(chosen), 4)


def published_command() -> str:
    """Returns the command without this machine's folder of lm-eval's environment."""
    words = sys.argv[1:]
    arguments = [word for before, word in zip(["", *words], words, strict=False) if "--env" not in (before, word.split("=")[0])]
    return shlex.join(["python", f"benchmarks/{HERE.name}/{Path(__file__).name}", *arguments])


def write(results: Mapping[str, Any], case: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / side_by_side_file(case)).write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print(side_by_side_table(results))
    if out.resolve() == HERE:
        write_tables()


if __name__ == "__main__":
    main()
