"""Measures the seconds of `make eval`'s command until its first answered row, and until a finished run is read.

Beside them, the seconds of a plain transformers script that loads the same model and scores one prompt.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = ["eval", "sentiment", "--model", "demo", "--shots", "8", "--calibrate", "contextual,batch"]
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


def seconds_of(*command: str) -> float:
    """Returns the seconds of a command of Python."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Prints the measurements as JSON."""
    from promptkit.models.files.source import resolve

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = range(parser.parse_args().repeats)
    model = resolve("demo").location
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "runs")
        finished = ["-m", "promptkit", *COMMAND, "--out", str(folder)]
        seconds_of(*finished)
        read = [seconds_of(*finished) for _ in repeats]
        first = [first_row(Path(scratch, f"first{number}")) for number in repeats]
        plain = [seconds_of("-c", PLAIN, model) for _ in repeats]
    measured = {"finished_run": min(read), "first_row": min(first), "plain_transformers": min(plain)}
    ratio = measured["first_row"] / measured["plain_transformers"]
    print(json.dumps({**measured, "ratio": ratio, "load": os.getloadavg()[0]}, indent=1))


if __name__ == "__main__":
    main()
