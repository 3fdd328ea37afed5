"""How long it takes to choose 16 demonstrations for every test row of banking77 from all of its train rows, and the memory.

Each selector runs in a process of its own, after one that puts the vectors of all texts into a score cache of the
benchmark's own: what is timed begins with the rows in memory and ends with the demonstrations of every row, vectors read
from that cache included.

    python benchmarks/selection/run.py --data DIR --encoder encoder:FOLDER
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

HERE = Path(__file__).parent
K = 16
BOUNDS = {"bm25": 5, "similar": 5, "mmr": None, "dpp": 30, "votek": None, "diverse": None}
"""Selector -> the seconds that it may take on 2 cores."""
GIB = 2**30


def bench_of(task: pk.Task, encoder: str) -> SelectionContext:
    """All train rows as the pool; the model that would read the prompts is not asked anything."""
    model, read = pk.load("fake"), reader_for(task)
    others = {encoder: CachedModel(pk.load(encoder), ScoreCache())}
    around = BindContext(ask=CachedModel(model), reading=read, rows={"pool": task.rows("train")}, others=others)
    template = Template.load(task.spec.template)
    return SelectionContext(
        bind_context=around, layout=PromptLayout(template=template, instruction=None, chat=False, card=model.card, reader=read)
    )


def measure(name: str, data: str, encoder: str) -> dict[str, Any]:
    """One selector in this process."""
    task = pk.task("banking77", data=data)
    context, rows = bench_of(task, encoder), task.rows("test")
    selector = pk.demos.bm25(K) if name == "bm25" else getattr(pk.demos, name)(K, encoder=encoder)
    before, cpu, began = resident(), time.process_time(), time.perf_counter()
    chosen = selector.bind(context)(rows)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    votes = [Counter(each.label for each in shown).most_common(1)[0][0] for shown in chosen]
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "bound_seconds": BOUNDS[name],
        "peak_gib_beyond_the_data": round((peak - before) / GIB, 2),
        "demonstrations": sum(map(len, chosen)),
        "vote_accuracy": round(sum(vote == row.label for vote, row in zip(votes, rows, strict=True)) / len(rows), 3),
    }


def resident() -> int:
    """Bytes that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def processor() -> str:
    """As /proc/cpuinfo names it."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def apart(name: str, options: argparse.Namespace, cache: str) -> dict[str, Any]:
    """The measurement of a selector in a process of its own, with two threads."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    command = [sys.executable, __file__, "--data", options.data, "--encoder", options.encoder, "--one", name]
    environment = {**os.environ, **threads, "PROMPTKIT_SCORES": cache}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(name, result, flush=True)
    return result


def table(results: dict[str, Any]) -> str:
    """The README's table."""
    lines = [
        "| selector | seconds | bound | CPU seconds | peak memory beyond the data, GiB | the demonstrations' own vote |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, found in results["selectors"].items():
        cells = [found[key] for key in ("seconds", "bound_seconds", "cpu_seconds", "peak_gib_beyond_the_data", "vote_accuracy")]
        lines.append(f"| {name} | {' | '.join('' if cell is None else str(cell) for cell in cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, help="folder of a mirror that holds banking77")
    parser.add_argument("--encoder", required=True, help="whose vectors: encoder:FOLDER")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.data, options.encoder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        cache = str(Path(folder) / "scores.sqlite")
        first = apart("similar", options, cache)
        found = {name: apart(name, options, cache) for name in BOUNDS}
    results = {
        "command": "python benchmarks/selection/run.py --data DIR --encoder encoder:FOLDER",
        "task": "banking77: 16 demonstrations for each of the 3,080 test rows from all 10,003 train rows",
        "encoder": pk.load(options.encoder).identity()["content"],
        "threads": 2,
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
        "versions": {name: version(name) for name in ("promptkit", "bm25s", "scikit-learn", "numpy", "torch")},
        "seconds_to_embed_and_choose_the_first_time": first["seconds"],
        "selectors": found,
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    readme = HERE / "README.md"
    before, _, rest = readme.read_text("utf-8").partition("<!-- begin -->")
    _, _, after = rest.partition("<!-- end -->")
    readme.write_text(f"{before}<!-- begin -->\n\n{table(results)}\n\n<!-- end -->{after}", "utf-8")


if __name__ == "__main__":
    main()
