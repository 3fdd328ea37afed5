"""Measures the seconds of `make eval`'s command until its first answered row, and until finished runs are read.

The finished runs are that of this command, one of the image model, and one of a saved predictor. The heavy packages that are
imported to read them are listed; there should be none.

Beside them, the seconds of a plain transformers script that loads the same model and scores one prompt.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEAVY = ("torch", "transformers", "sklearn", "scipy", "pandas", "datasets", "matplotlib")
"""Packages whose import takes long."""
COMMAND = ["eval", "sentiment", "--model", "demo", "--shots", "8", "--calibrate", "contextual,batch"]
READ = {
    "finished_run": COMMAND,
    "finished_image_run": [
        "eval",
        "digits",
        "--model",
        "vision:demo",
        "--labelmap",
        "full",
        "--per-class",
        "4",
        "--limit",
        "50",
    ],
    "finished_run_of_a_predictor": ["eval", "sentiment", "--predictor", "PREDICTOR", "--limit", "50", "--allow-seen"],
}
"""Name -> the command whose finished run is read; PREDICTOR is the folder of a saved predictor."""
IMPORTS = """
import sys
from promptkit.cli.main import main
sys.argv = ["promptkit", *sys.argv[1:]]
try:
    main()
except SystemExit:
    print(*[name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""
PLAIN = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
prompt = "Review: a fine film\\nSentiment: positive\\n\\n" * 24 + "Review: dull\\nSentiment:"
ids = tokenizer(prompt, return_tensors="pt").input_ids
with torch.no_grad():
    model(ids)
"""


def first_row(folder: Path) -> float:
    """Returns the seconds until the first record is in the folder of the run, which is then stopped."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "promptkit", *COMMAND, "--no-cache", "--out", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not any(file.stat().st_size for file in folder.glob("*/s*.jsonl")):
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        process.kill()
    return seconds


def imported(command: list[str]) -> list[str]:
    """Returns the heavy packages that a command of promptkit imports."""
    program = IMPORTS.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program, *command], check=True, capture_output=True, text=True)
    return done.stderr.splitlines()[-1].split()


def save_predictor(folder: Path) -> None:
    """Saves a predictor that shows demonstrations and is calibrated."""
    import promptkit as pk

    task = pk.task("sentiment")
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.Balanced(k=4))
    aligners = [pk.Verbalizer(task.spec.labels), pk.calibrate.Contextual()]
    pk.Predictor(pk.load("demo"), prompt, aligners).fit(task).save(folder)


def seconds_of(*command: str) -> float:
    """Returns the seconds of a command of Python."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def cpu_seconds_of(*command: str) -> float:
    """Returns the seconds of the processor that a command of Python takes, which hardly depend on other work of the machine."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds_of(*command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Prints the measurements as JSON."""
    from promptkit.models.files.source import resolve

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = range(parser.parse_args().repeats)
    model = resolve("demo").location
    with tempfile.TemporaryDirectory() as scratch:
        save_predictor(Path(scratch, "predictor"))
        measured: dict[str, object] = {}
        for name, words in READ.items():
            command = [str(Path(scratch, "predictor")) if word == "PREDICTOR" else word for word in words]
            command += ["--out", str(Path(scratch, "runs"))]
            seconds_of("-m", "promptkit", *command)
            measured[name] = min(seconds_of("-m", "promptkit", *command) for _ in repeats)
            measured[f"{name}_cpu"] = min(cpu_seconds_of("-m", "promptkit", *command) for _ in repeats)
            measured[f"{name}_imports"] = imported(command)
        first = [first_row(Path(scratch, f"first{number}")) for number in repeats]
        plain = [seconds_of("-c", PLAIN, model) for _ in repeats]
    measured |= {"first_row": min(first), "plain_transformers": min(plain), "ratio": min(first) / min(plain)}
    print(json.dumps({**measured, "load": os.getloadavg()[0]}, indent=1))


if __name__ == "__main__":
    main()
