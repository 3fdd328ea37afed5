"""Measures the time and memory for choosing 16 demonstrations for every test row of banking77 from all of its train rows.

Each selector runs in a separate process, after one that stores the vectors of all texts in a temporary score cache. The time
starts with the rows in memory and ends with the demonstrations of every row; it includes reading vectors from the cache.

    python benchmarks/selection/run.py --data DIR --encoder encoder:FOLDER
    python benchmarks/selection/run.py --readme    # only writes the table of results.json into README.md
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import promptkit as pk
from promptkit.align.chain import reader_for
from promptkit.core.manipulation import BindContext
from promptkit.inputs.text.template import Template
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.layout import PromptLayout
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import update_readme

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
K = 16
MAX_SECONDS = {"bm25": 5, "similar": 5, "mmr": None, "dpp": 30, "votek": None, "diverse": None}
"""Selector -> its maximum time on 2 cores in seconds."""
GIB = 2**30


def selection_context(task: pk.Task, encoder: str) -> SelectionContext:
    """Returns a context with all train rows as the pool, without running prompts."""
    model, reader = pk.load("fake"), reader_for(task)
    other_models = {encoder: CachedModel(pk.load(encoder), ScoreCache())}
    bind_context = BindContext(
        ask=CachedModel(model), reader=reader, rows={"pool": task.rows("train")}, other_models=other_models
    )
    template = Template.load(task.spec.template)
    return SelectionContext(
        bind_context=bind_context,
        layout=PromptLayout(template=template, instruction=None, chat=False, card=model.card, reader=reader),
    )


def measure(name: str, data: str, encoder: str) -> dict[str, Any]:
    """Measures one selector in this process."""
    task = pk.task("banking77", data=data)
    context, rows = selection_context(task, encoder), task.rows("test")
    selector = pk.demos.BM25(K) if name == "bm25" else getattr(pk.demos, name)(K, encoder=encoder)
    before, cpu, start = resident(), time.process_time(), time.perf_counter()
    chosen = selector.bind(context)(rows)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    votes = [Counter(row.label for row in demos).most_common(1)[0][0] for demos in chosen]
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "bound_seconds": MAX_SECONDS[name],
        "peak_gib_beyond_the_data": round((peak - before) / GIB, 2),
        "demonstrations": sum(map(len, chosen)),
        "vote_accuracy": round(sum(vote == row.label for vote, row in zip(votes, rows, strict=True)) / len(rows), 3),
    }


def resident() -> int:
    """Returns the current memory of the process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def processor() -> str:
    """Returns the name of the processor in /proc/cpuinfo."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def measure_separately(name: str, options: argparse.Namespace, cache: str) -> dict[str, Any]:
    """Measures a selector in a separate process with two threads."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    command = [sys.executable, __file__, "--data", options.data, "--encoder", options.encoder, "--one", name]
    environment = {**os.environ, **threads, "PROMPTKIT_SCORES": cache}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(name, result, flush=True)
    return result


def table(results: dict[str, Any]) -> str:
    lines = [
        "| selector | seconds | limit | CPU seconds | peak memory beyond the data, GiB | vote accuracy of the demonstrations |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, result in results["selectors"].items():
        cells = [
            result[key] for key in ("seconds", "bound_seconds", "cpu_seconds", "peak_gib_beyond_the_data", "vote_accuracy")
        ]
        lines.append(f"| {name} | {' | '.join('' if cell is None else str(cell) for cell in cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", help="folder with banking77/")
    parser.add_argument("--encoder", help="model of the vectors: encoder:FOLDER")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--readme", action="store_true", help="only write the table of results.json into README.md")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.data, options.encoder)))
        return
    if not options.readme:
        RESULTS.write_text(json.dumps(run_all(options), indent=2) + "\n")
    update_readme(HERE / "README.md", {"results": table(json.loads(RESULTS.read_text()))})


def run_all(options: argparse.Namespace) -> dict[str, Any]:
    """Measures every selector, each in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        cache = str(Path(folder) / "scores.sqlite")
        first = measure_separately("similar", options, cache)
        selectors = {name: measure_separately(name, options, cache) for name in MAX_SECONDS}
    return {
        "command": "python benchmarks/selection/run.py --data DIR --encoder encoder:FOLDER",
        "task": "banking77: 16 demonstrations for each of the 3,080 test rows from all 10,003 train rows",
        "encoder": pk.load(options.encoder).identity()["content"],
        "threads": 2,
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
        "versions": {name: version(name) for name in ("promptkit", "bm25s", "scikit-learn", "numpy", "torch")},
        "seconds_to_embed_and_choose_the_first_time": first["seconds"],
        "selectors": selectors,
    }


if __name__ == "__main__":
    main()
