"""Trains classifiers on the same 100 labeled rows with AutoGluon, DSPy and SetFit, beside `promptkit tune`.

The rows are those of `benchmarks/tune`, which measures promptkit. Results are added to results.json and README.md.

    python benchmarks/tune_side_by_side/run.py --data DIR --encoder FOLDER --vllm .venv-vllm/bin/vllm
    python benchmarks/tune_side_by_side/run.py --readme    # only writes the table of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environment import REQUIREMENTS, python_of

from promptkit.models.files.source import resolve

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_interval, update_readme

HERE = Path(__file__).resolve().parent
TUNE = HERE.parent / "tune"
TASKS = ("trec-100", "sst2-100", "tickets-100")
SECONDS = 600
"""The time that each tool may take to choose."""
START_SECONDS = 600
"""The time that the server may take to start."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with sst2/, trec/ and banking77/")
    parser.add_argument("--encoder", help="folder of a sentence encoder, for SetFit")
    parser.add_argument("--vllm", type=Path, help="the command vllm, which serves the demo model for DSPy")
    parser.add_argument("--tasks", nargs="+", default=TASKS, help="TASK-ROWS, as in benchmarks/tune")
    parser.add_argument("--tools", nargs="+", default=[*REQUIREMENTS], choices=[*REQUIREMENTS])
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--environments", type=Path, help="folder of the environments of the tools")
    parser.add_argument("--out", type=Path, default=Path("runs/tune"), help="folder of the rows, as in benchmarks/tune")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of results.json and README.md")
    parser.add_argument("--readme", action="store_true", help="only write the table of the results into README.md")
    options = parser.parse_args()
    file = options.results / "results.json"
    results = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    for task in () if options.readme else options.tasks:
        for tool in options.tools:
            if tool not in results.setdefault(task, {}):
                results[task][tool] = measured(tool, task, options)
                file.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
            print(task, tool, results[task][tool], flush=True)
    update_readme(options.results / "README.md", {"results": table(results)})


def measured(tool: str, task: str, options: argparse.Namespace) -> dict[str, Any]:
    """Returns the result of a tool for the rows of a task."""
    folder = options.out / task
    if not (folder / "unseen.csv").is_file():
        command = [sys.executable, TUNE / "run.py", "--data", options.data, "--out", options.out, "--only", task, "--rows"]
        subprocess.run(command, check=True)
    files = [folder / f"{task.rpartition('-')[0]}.csv", folder / "unseen.csv"]
    python = python_of(tool, options.environments)
    match tool:
        case "autogluon":
            return run_tool(python, tool, *files, options.seconds)
        case "setfit":
            return run_tool(python, tool, *files, options.encoder)
    with served(options.vllm) as address:
        return run_tool(python, tool, *files, address, "demo", options.seconds)


def run_tool(python: Path, tool: str, *arguments: object) -> dict[str, Any]:
    """Returns what the program of a tool prints in its last line."""
    command = [python, HERE / f"{tool}_side.py", *map(str, arguments)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return result


@contextmanager
def served(vllm: Path) -> Iterator[str]:
    """Serves the demo model by vLLM, and yields the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [vllm, "serve", resolve("demo").location, "--served-model-name", "demo", "--dtype", "float32"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", "4096"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/v1"
    try:
        wait(f"{address}/models", process)
        yield address
    finally:
        process.terminate()
        process.wait()


def wait(address: str, process: subprocess.Popen[bytes]) -> None:
    """Waits until a server answers."""
    for _ in range(START_SECONDS):
        if process.poll() is not None:
            raise SystemExit(f"The server ended with {process.returncode}")
        try:
            urllib.request.urlopen(address, timeout=5)
        except OSError:
            time.sleep(1)
        else:
            return
    raise SystemExit("The server did not start in time")


def table(results: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of the table; the figures of promptkit are those of benchmarks/tune."""
    tuned = json.loads((TUNE / "results.json").read_text("utf-8"))["runs"] if (TUNE / "results.json").is_file() else {}
    yield "| rows | tool | chosen | accuracy | its own estimate | seconds |"
    yield "|---|---|---|---:|---|---:|"
    for task, tools in results.items():
        if task in tuned:
            run = tuned[task]
            cells = (
                run["recommended"],
                f"{run['accuracy']['value']:.3f}",
                format_interval(run["estimate"]),
                f"{run['seconds']:.0f}",
            )
            yield f"| {task} | promptkit | {' | '.join(cells)} |"
        for tool, found in tools.items():
            estimate = "none" if found["estimate"] is None else f"{found['estimate']:.3f}, {found['estimated_by']}"
            name = f"{tool} {found['version']}"
            yield f"| {task} | {name} | {found['chosen']} | {found['accuracy']:.3f} | {estimate} | {found['seconds']:.0f} |"


if __name__ == "__main__":
    main()
