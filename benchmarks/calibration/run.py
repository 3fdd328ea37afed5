"""Compares calibrations on five tasks; writes `results_TASK.json` and the tables of README.md.

Each task is a study over shots and seeds, and every calibration uses the same model outputs. An interrupted study resumes; a
finished one is read from its runs.

    python benchmarks/calibration/run.py --data DIR [sst2] [ag_news] [trec] [rte] [cb]
    python benchmarks/calibration/run.py --readme    # only writes the tables of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import promptkit as pk
from promptkit.config.study import StudyConfig
from promptkit.studies.progress import RunsBar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_interval, format_versions, update_readme

HERE = Path(__file__).resolve().parent
SUMMARIZED = ("sst2", "ag_news", "trec", "rte")
TASKS = (*SUMMARIZED, "cb")
CALIBRATIONS = (
    *("contextual", "domain", "pmi", "batch", "batch:mean=arithmetic", "batch:estimate_on=test", "prior", "proca:rows=256"),
    *("temperature", "batch-fitted", "vector", "affine"),
)
PLAIN = "verbalizer"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=TASKS, help=f"some of {', '.join(TASKS)}")
    parser.add_argument("--data", type=Path, help="folder with sst2/, ag_news/, trec/, rte/ and cb/")
    parser.add_argument("--limit", default=300, type=int, help="number of evaluated rows")
    parser.add_argument("--shots", nargs="+", default=[0, 4, 8], type=int)
    parser.add_argument("--seeds", default=5, type=int, help="number of samples of the demonstrations")
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--results", default=HERE, type=Path, help="folder of results_TASK.json and README.md")
    parser.add_argument("--readme", action="store_true", help="only write the tables of the results into README.md")
    options = parser.parse_args()
    for name in () if options.readme else options.names:
        spec = StudyConfig(
            task=name,
            data=options.data,
            limit=options.limit,
            calibrate=",".join(CALIBRATIONS),
            grid={"shots": options.shots, "seed": [*range(options.seeds)]},
        )
        with RunsBar() as progress:
            study = spec.run(out=options.out, progress=progress)
        (options.results / f"results_{name}.json").write_text(json.dumps(metrics(study), indent=1) + "\n", "utf-8")
    write_tables(options.results)


def metrics(study: pk.Study) -> dict[str, Any]:
    """Returns accuracy over seeds, ECE and gain over plain scores for each alignment and number of shots."""
    versions = {package: version(package) for package in ("torch", "transformers", "scikit-learn")} | {
        "promptkit": pk.__version__
    }
    accuracies = study.table(rows=("align", "shots"), columns=None).to_json()
    errors = study.table(rows=("align", "shots"), columns=None, metric="ece").to_json()
    gains = study.compare(on="align", to=PLAIN, by="shots").to_json()
    gain_of = {(line["align"], line["shots"]): line[f"difference from {PLAIN}"] for line in gains}
    rarest, rows = Counter(study.cells[0].run.gold).most_common()[-1]
    lines = []
    for accuracy, error in zip(accuracies, errors, strict=True):
        where = {name: accuracy[name] for name in ("align", "shots")}
        cells = study.where(**where).cells
        seeds = [float(cell.result.correct.mean()) for cell in cells]
        predicted = fmean(cell.result.predictions.count(rarest) for cell in cells)
        gain = gain_of.get((where["align"], where["shots"]))
        values = {"accuracy": accuracy["accuracy"], "by_seed": seeds, "gain": gain, "ece": error["ece"], "rarest": predicted}
        lines.append({**where, **values})
    study_info = {"task": study.task.name, "items": study.n, "versions": versions}
    return {**study_info, "rarest": {"label": rarest, "rows": rows}, "lines": lines}


# ---- the tables --------------------------------------------------------------------------------------------


def write_tables(folder: Path) -> None:
    """Writes the tables of the available results into README.md."""
    results_by_task = {
        name: json.loads(file.read_text("utf-8")) for name in TASKS if (file := folder / f"results_{name}.json").is_file()
    }
    tables = {name: task_table(results) for name, results in results_by_task.items()}
    if set(results_by_task) >= set(SUMMARIZED):
        tables["summary"] = summary([results_by_task[name] for name in SUMMARIZED])
    update_readme(folder / "README.md", tables)


def task_table(results: Mapping[str, Any]) -> Iterator[str]:
    """Returns one line for each alignment."""
    lines = {(line["align"], line["shots"]): line for line in results["lines"]}
    shots = list(dict.fromkeys(shown for _, shown in lines))
    yield "| alignment | " + " | ".join(f"{shown} shots | gain | ECE" for shown in shots) + " |"
    yield "|---|" + "---:|" * 3 * len(shots)
    for align in dict.fromkeys(align for align, _ in lines):
        yield f"| {shown_as(align)} | " + " | ".join(cells(lines[align, shown]) for shown in shots) + " |"
    rare, most = results["rarest"], max(shots)
    counts = ", ".join(f"{shown_as(align)} {lines[align, most]['rarest']:.0f}" for align in dict.fromkeys(x for x, _ in lines))
    yield f"\nThe rarest label, {rare['label']}, has {rare['rows']} rows. With {most} shots it is predicted by {counts}."
    yield f"\n{results['items']} rows, Gemma 3 270M in float32 on a CPU. {format_versions(results['versions'])}."


def cells(line: Mapping[str, Any]) -> str:
    """Returns `mean ± standard deviation, worst | gain (interval) | ECE`; without demonstrations all seeds are equal."""
    seeds, gain = line["by_seed"], line["gain"]
    accuracy = f"{fmean(seeds):.3f}" + (f" ± {stdev(seeds):.3f}, {min(seeds):.2f}" if line["shots"] and len(seeds) > 1 else "")
    return f"{accuracy} | {format_interval(gain, sign='+') if gain else ''} | {line['ece']['value']:.3f}"


def summary(results_by_task: list[Mapping[str, Any]]) -> Iterator[str]:
    """Returns each calibration's mean gain over tasks, and the number of settings where its interval excludes zero."""
    lines = [line for results in results_by_task for line in results["lines"] if line["gain"]]
    plain = [line for results in results_by_task for line in results["lines"] if not line["gain"]]
    shots = list(dict.fromkeys(line["shots"] for line in lines))
    yield "| calibration | " + " | ".join(f"{shown} shots" for shown in shots) + " | helps | hurts | worst gain | ECE |"
    yield "|---|" + "---:|" * (len(shots) + 4)
    by_name = {align: [line for line in lines if line["align"] == align] for align in dict.fromkeys(x["align"] for x in lines)}
    for align, entries in sorted(by_name.items(), key=lambda pair: -fmean(line["gain"]["value"] for line in pair[1])):
        means = (fmean(line["gain"]["value"] for line in entries if line["shots"] == shown) for shown in shots)
        helps, hurts = (sum(line["gain"]["low"] > 0 for line in entries), sum(line["gain"]["high"] < 0 for line in entries))
        worst = min(entries, key=lambda line: line["gain"]["value"])["gain"]["value"]
        error = fmean(line["ece"]["value"] for line in entries)
        gains = " | ".join(f"{mean:+.3f}" for mean in means)
        yield f"| {shown_as(align)} | {gains} | {helps} of {len(entries)} | {hurts} | {worst:+.3f} | {error:.3f} |"
    means = (fmean(fmean(line["by_seed"]) for line in plain if line["shots"] == shown) for shown in shots)
    error = fmean(line["ece"]["value"] for line in plain)
    yield f"\nPlain scores: accuracy {', '.join(f'{mean:.3f}' for mean in means)}; ECE {error:.3f}."


def shown_as(align: str) -> str:
    return "plain scores" if align == PLAIN else f"`{align}`"


if __name__ == "__main__":
    main()
