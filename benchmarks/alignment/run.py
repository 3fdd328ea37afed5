"""How long it takes to align a finished run of 10,000 rows and 77 labels anew, and the memory.

The run is made up: log-probabilities by chance, with a preference for some labels and a lift of the right one, written as a
run folder with everything that the calibrations need. Each alignment is a process of its own, reading the folder included.

    python benchmarks/alignment/run.py
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from promptkit.align.calibrate import CALIBRATIONS
from promptkit.align.verbalizer import Verbalizer
from promptkit.analysis.realign import align
from promptkit.core.registry import settings_of
from promptkit.runs.folder import RunFolder
from promptkit.runs.row_ids import ContentFreeRow, FitRow, Premise
from promptkit.tasks.task import read_shipped_specs

HERE = Path(__file__).parent
ROWS, FIT = 10_000, 500
BOUND = 60
"""Seconds that all of them may take together."""
GIB = 2**30
READ = "verbalizer"
"""Stands for reading the run, and its plain figures alone."""
ALONE = (*CALIBRATIONS, "batch:estimate_on=test", "prior:estimate_on=test")
ALL = ",".join((*ALONE, "proca:estimate_on=test"))
"""Every one that needs no more than scores."""


def written(out: Path) -> Path:
    """The folder of the run."""
    spec = read_shipped_specs()["banking77"]
    reading = Verbalizer(spec.labels or {})
    labels, generator = reading.labels, np.random.default_rng(0)
    preference = generator.normal(-8, 1.5, len(labels))

    def line(name: str, lift: int | None) -> dict[str, Any]:
        scores = preference + generator.normal(0, 1.2, len(labels))
        gold = {} if lift is None else {"gold": labels[lift]}
        scores[[] if lift is None else lift] += 3
        values = [round(float(score), 6) for score in scores]
        words = zip(reading.words(), values, strict=True)
        return {
            "id": name,
            **gold,
            **({} if lift is None else {"prediction": labels[int(np.argmax(values))]}),
            "logprobs": dict(zip(labels, values, strict=True)),
            "continuations": [{"text": f" {word}", "logprobs": [value / 2, value / 2]} for word, value in words],
            "demos": ["a", "b"],
            "dropped": [],
            "boundary": 0,
            "prompt_hash": "0" * 16,
            "tokens": 400,
        }

    calibrations = [technique() for technique in CALIBRATIONS.values()]
    stand_ins = [each for calibration in calibrations for each in calibration.needs.stand_ins]
    besides = [line(str(ContentFreeRow(content=each, context="a b")), None) for each in stand_ins]
    besides.append(line(str(Premise()), None))
    besides += [line(str(FitRow(row=str(i))), int(generator.integers(len(labels)))) for i in range(FIT)]
    samples = [line(str(i), int(generator.integers(len(labels)))) for i in range(ROWS)]
    predictions = [{"id": each["id"]} for each in samples]
    settings = {
        "task": {"name": "banking77"},
        "split": "test",
        "limit": ROWS,
        "model": {"name": "made up", "engine": "hf"},
        "manipulate": {},
        "align": [[reading.settings()], *([reading.settings(), settings_of(each)] for each in calibrations)],
    }
    folder = RunFolder(out, "banking77", settings)
    with folder.locked():
        folder.finish({"samples": samples, "support": besides, "predictions": predictions}, {"results": []})
    return folder.path


def measure(run: str, calibrate: str) -> dict[str, Any]:
    """In this process."""
    began, cpu = time.perf_counter(), time.process_time()
    found = align(run, {READ: "", "all": ALL}.get(calibrate, calibrate))
    assert not found.unavailable
    return {
        "alignment": calibrate,
        "alignments": len(found.results),
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_gib": round(peak() / GIB, 2),
    }


def peak() -> int:
    """The most memory that this process has held, in bytes; ru_maxrss would count that of the one which started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=2, metavar=("RUN", "CALIBRATE"))
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(*given.measure)))
        return
    with tempfile.TemporaryDirectory() as out:
        run = written(Path(out))
        size = sum(path.stat().st_size for path in run.iterdir())
        results = []
        for calibrate in (READ, *ALONE, "all"):
            command = [sys.executable, __file__, "--measure", str(run), calibrate]
            results.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
            print(results[-1])
    assert results[-1]["seconds"] < BOUND
    packages = {name: version(name) for name in ("numpy", "scipy", "scikit-learn")}
    machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version(), **packages}
    told = {"rows": ROWS, "fit_rows": FIT, "labels": 77, "run_mib": round(size / 2**20), "machine": machine, "results": results}
    (HERE / "results.json").write_text(json.dumps(told, indent=1) + "\n")
    readme = HERE / "README.md"
    head, _, rest = readme.read_text("utf-8").partition("<!-- begin -->")
    tail = rest.partition("<!-- end -->")[2]
    lines = ["| alignment | seconds | CPU seconds | peak memory, GiB |", "|---|---:|---:|---:|"]
    lines += [f"| {r['alignment']} | {r['seconds']:.2f} | {r['cpu_seconds']:.2f} | {r['peak_gib']:.2f} |" for r in results]
    readme.write_text(f"{head}<!-- begin -->\n\n" + "\n".join(lines) + f"\n\n<!-- end -->{tail}", "utf-8")


if __name__ == "__main__":
    main()
