"""Measures predictions of files (rows per second and peak memory), the latency of single rows, and the rate against `eval`.

python benchmarks/predict/run.py --rows 100000 --out results.json
python benchmarks/predict/run.py --latency demo --out latency.json
python benchmarks/predict/run.py --ratio demo --rows 200 --out ratio.json
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import promptkit as pk
from promptkit.predictor.stream import predict_file

REPEATS = 3
"""How many times `ratio` measures each command, in turns."""


def fitted(model: str, shots: int) -> tuple[pk.Predictor, list[str]]:
    """A fitted predictor of the task sentiment, and the texts of its test rows."""
    task = pk.task("sentiment")
    labels = pk.Verbalizer(dict(task.spec.labels or {}))
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.Balanced(k=shots))
    predictor = pk.Predictor(pk.load(model), prompt, labels).fit(task)
    return predictor, [str(row.inputs["text"]) for row in task.rows("test")]


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def throughput(model: str, rows: int, shots: int) -> dict[str, float]:
    """Predicts a file of `rows` rows."""
    predictor, texts = fitted(model, shots)
    predictor.predict(texts[:1])
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "new.jsonl"
        with source.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": f"{texts[i % len(texts)]} {i}"}) + "\n" for i in range(rows))
        before = peak_mib()
        result = predict_file(predictor, source, Path(folder) / "out.csv")
    return {"rows": rows, "rows_per_second": result.rows_per_second, "mib_before": before, "mib_peak": peak_mib()}


def latency(model: str, shots: int, calls: int = 12) -> dict[str, object]:
    """Predicts single rows one after another with a predictor that is not loaded yet."""
    predictor, texts = fitted(model, shots)
    seconds = []
    for text in texts[:calls]:
        started = time.perf_counter()
        predictor.predict([text])
        seconds.append(round(time.perf_counter() - started, 4))
    session = predictor.session()
    rows = [predictor.read_rows([{"text": text}]) for text in texts[calls : calls + 4]]
    without = []
    for row in rows:
        started = time.perf_counter()
        session.predict(row)
        without.append(round(time.perf_counter() - started, 4))
    return {"model": model, "shots": shots, "seconds": seconds, "seconds_without_kept_prefix": without}


def ratio(model: str, rows: int, shots: int) -> dict[str, object]:
    """Predicts and evaluates the same rows with the same predictor, in turns.

    The rates are rows per second of processor time, so that other programs on the machine change them less than those by the
    clock.
    """
    predictor, texts = fitted(model, shots)
    predictor.predict(texts[:1])
    labels = predictor.reader.labels
    table = [{"text": f"{texts[i % len(texts)]} {i}", "label": labels[i % len(labels)]} for i in range(rows)]
    other = [{"text": f"unused {label}", "label": label} for label in labels]
    task = pk.task({"train": other, "test": table}, label="label", labels=labels, inputs=["text"], name="rows")
    rates: dict[str, list[float]] = {"predict": [], "eval": []}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "new.jsonl"
        source.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in table), encoding="utf-8")
        for number in range(REPEATS):
            rates["predict"].append(rate(rows, lambda: predict_file(predictor, source, Path(folder) / "out.csv")))
            evaluation = partial(pk.evaluate, predictor, task, out=Path(folder) / str(number), cache=False)
            rates["eval"].append(rate(rows, evaluation))
    medians = {command: statistics.median(values) for command, values in rates.items()}
    return {
        "model": model,
        "rows": rows,
        "shots": shots,
        "rows_per_processor_second": {command: [round(value, 2) for value in values] for command, values in rates.items()},
        "ratio_of_medians": round(medians["predict"] / medians["eval"], 3),
    }


def rate(rows: int, run: Callable[[], object]) -> float:
    """Rows per second of processor time."""
    started = time.process_time()
    run()
    return rows / (time.process_time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--latency", help="measure the latency of single rows with this model instead")
    parser.add_argument("--ratio", help="compare the rate with that of an evaluation with this model instead")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    measured: dict[str, object] = (
        latency(options.latency, 16)
        if options.latency
        else ratio(options.ratio, options.rows, options.shots)
        if options.ratio
        else {**throughput("fake", options.rows, options.shots)}
    )
    measured = {**measured, "versions": {"promptkit": pk.__version__}}
    options.out.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
