"""Measures the time and memory that `promptkit align` takes on a finished run of 10,000 rows and 77 labels.

The run is synthetic: random log-probabilities, with a preference for some labels and a higher score of the right one, in a run
folder with everything that the calibrations need. Each alignment is measured in a separate process, with reading the folder.

    python benchmarks/alignment/run.py
    python benchmarks/alignment/run.py --readme    # only writes the table of results.json into README.md
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
from promptkit.needs.content_free import ContentFree, content_free_id
from promptkit.needs.fit_rows import fit_id
from promptkit.needs.premise import premise_id
from promptkit.runs.folder import RunFolder
from promptkit.tasks.task_files import read_shipped_specs

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import update_readme

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
ROWS, FIT = 10_000, 500
MAX_SECONDS = 60
"""Maximum time for all calibrations together, in seconds."""
GIB = 2**30
READ = "verbalizer"
"""Only reads the run and computes the metrics without any calibration."""
SINGLE = (*CALIBRATIONS, "batch:estimate_on=test", "prior:estimate_on=test")
ALL = ",".join((*SINGLE, "proca:estimate_on=test"))
"""Every calibration that needs only scores."""


def write_run(out: Path) -> Path:
    """Writes the synthetic run and returns its folder."""
    spec = read_shipped_specs()["banking77"]
    reading = Verbalizer(spec.labels or {})
    labels, generator = reading.labels, np.random.default_rng(0)
    preference = generator.normal(-8, 1.5, len(labels))

    def line(name: str, gold_label: int | None) -> dict[str, Any]:
        scores = preference + generator.normal(0, 1.2, len(labels))
        gold = {} if gold_label is None else {"gold": labels[gold_label]}
        scores[[] if gold_label is None else gold_label] += 3
        values = [round(float(score), 6) for score in scores]
        words = zip(reading.words(), values, strict=True)
        return {
            "id": name,
            **gold,
            **({} if gold_label is None else {"prediction": labels[int(np.argmax(values))]}),
            "logprobs": dict(zip(labels, values, strict=True)),
            "continuations": [{"text": f" {word}", "logprobs": [value / 2, value / 2]} for word, value in words],
            "demos": ["a", "b"],
            "dropped": [],
            "boundary": 0,
            "prompt_hash": "0" * 16,
            "tokens": 400,
        }

    calibrations = [technique() for technique in CALIBRATIONS.values()]
    needs = [need for calibration in calibrations for need in calibration.needs if isinstance(need, ContentFree)]
    extra = [line(content_free_id(need.content, "a b"), None) for need in needs]
    extra.append(line(premise_id(), None))
    extra += [line(fit_id(str(i)), int(generator.integers(len(labels)))) for i in range(FIT)]
    samples = [line(str(i), int(generator.integers(len(labels)))) for i in range(ROWS)]
    predictions = [{"id": sample["id"]} for sample in samples]
    settings = {
        "task": {"name": "banking77"},
        "split": "test",
        "limit": ROWS,
        "model": {"name": "synthetic", "engine": "hf"},
        "manipulate": {},
        "align": [[reading.settings()], *([reading.settings(), settings_of(calibration)] for calibration in calibrations)],
    }
    folder = RunFolder(out, "banking77", settings)
    with folder.locked():
        folder.finish({"samples": samples, "support": extra, "predictions": predictions}, {"results": []})
    return folder.path


def measure(run: str, calibrate: str) -> dict[str, Any]:
    """Measures one alignment in this process."""
    start, cpu = time.perf_counter(), time.process_time()
    result = align(run, {READ: "", "all": ALL}.get(calibrate, calibrate))
    assert not result.unavailable
    return {
        "alignment": calibrate,
        "alignments": len(result.results),
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_gib": round(peak() / GIB, 2),
    }


def peak() -> int:
    """Returns the peak memory of this process in bytes; ru_maxrss would include the memory of its parent."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=2, metavar=("RUN", "CALIBRATE"))
    parser.add_argument("--readme", action="store_true", help="only write the table of results.json into README.md")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    if not options.readme:
        RESULTS.write_text(json.dumps(run_all(), indent=1) + "\n")
    update_readme(HERE / "README.md", {"results": table(json.loads(RESULTS.read_text()))})


def run_all() -> dict[str, Any]:
    """Measures every alignment, each in a separate process."""
    with tempfile.TemporaryDirectory() as out:
        run = write_run(Path(out))
        size = sum(path.stat().st_size for path in run.iterdir())
        results = []
        for calibrate in (READ, *SINGLE, "all"):
            command = [sys.executable, __file__, "--measure", str(run), calibrate]
            results.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
            print(results[-1])
    assert results[-1]["seconds"] < MAX_SECONDS
    packages = {name: version(name) for name in ("numpy", "scipy", "scikit-learn")}
    machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version(), **packages}
    return {"rows": ROWS, "fit_rows": FIT, "labels": 77, "run_mib": round(size / 2**20), "machine": machine, "results": results}


def table(results: dict[str, Any]) -> list[str]:
    lines = ["| alignment | seconds | CPU seconds | peak memory, GiB |", "|---|---:|---:|---:|"]
    for r in results["results"]:
        lines.append(f"| {r['alignment']} | {r['seconds']:.2f} | {r['cpu_seconds']:.2f} | {r['peak_gib']:.2f} |")
    return lines


if __name__ == "__main__":
    main()
