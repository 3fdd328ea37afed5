"""A study of calibrations: what each takes and gives on five tasks, the tables of README.md, and `results_TASK.json`.

Each task is a study of shots and seeds; every calibration reads the same pass. What was computed is never computed again: a
study that is stopped goes on where it was, and a finished one is read from its runs.

    python benchmarks/calibration/run.py --data DIR [sst2] [ag_news] [trec] [rte] [cb]
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import promptkit as pk
from promptkit.config.study import StudySpec, run
from promptkit.studies.progress import RunsBar

HERE = Path(__file__).resolve().parent
ADVISED = ("sst2", "ag_news", "trec", "rte")
TASKS = (*ADVISED, "cb")
CALIBRATIONS = (
    *("contextual", "domain", "pmi", "batch", "batch:mean=arithmetic", "batch:estimate_on=test", "prior", "proca:rows=256"),
    *("temperature", "batch-fitted", "vector", "affine"),
)
PLAIN = "verbalizer"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=TASKS, help=f"of {', '.join(TASKS)}")
    parser.add_argument("--data", required=True, type=Path, help="the mirror that holds sst2/, ag_news/, trec/, rte/ and cb/")
    parser.add_argument("--limit", default=300, type=int, help="rows that are evaluated")
    parser.add_argument("--shots", nargs="+", default=[0, 4, 8], type=int)
    parser.add_argument("--seeds", default=5, type=int, help="draws of the demonstrations")
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--results", default=HERE, type=Path, help="the folder of results_TASK.json and of README.md")
    told = parser.parse_args()
    for name in told.names:
        spec = StudySpec(
            task=name,
            data=str(told.data),
            limit=told.limit,
            calibrate=",".join(CALIBRATIONS),
            grid={"shots": told.shots, "seed": [*range(told.seeds)]},
        )
        with RunsBar() as progress:
            study = run(spec, out=told.out, progress=progress)
        (told.results / f"results_{name}.json").write_text(json.dumps(figures(study), indent=1) + "\n", "utf-8")
    renew_readme(told.results)


def figures(study: pk.Study) -> dict[str, Any]:
    """Of each alignment at each number of shots: accuracy over the seeds, ECE, and what it gains over plain scores."""
    versions = {each: version(each) for each in ("torch", "transformers", "scikit-learn")} | {"promptkit": pk.__version__}
    accuracies = study.table(rows=("align", "shots"), columns=None).to_json()
    errors = study.table(rows=("align", "shots"), columns=None, metric="ece").to_json()
    gains = study.compare(on="align", to=PLAIN, by="shots").to_json()
    gained = {(line["align"], line["shots"]): line[f"difference to {PLAIN}"] for line in gains}
    rarest, rows = Counter(study.cells[0].run.gold).most_common()[-1]
    lines = []
    for accuracy, error in zip(accuracies, errors, strict=True):
        where = {name: accuracy[name] for name in ("align", "shots")}
        cells = study.where(**where).cells
        seeds = [float(cell.result.correct.mean()) for cell in cells]
        said = fmean(cell.result.predictions.count(rarest) for cell in cells)
        gain = gained.get((where["align"], where["shots"]))
        told = {"accuracy": accuracy["accuracy"], "by_seed": seeds, "gain": gain, "ece": error["ece"], "rarest": said}
        lines.append({**where, **told})
    of_run = {"task": study.task.name, "items": study.n, "versions": versions}
    return {**of_run, "rarest": {"label": rarest, "rows": rows}, "lines": lines}


# ---- the tables --------------------------------------------------------------------------------------------


def renew_readme(folder: Path) -> None:
    """Put the tables of the results that there are between their markers."""
    path = folder / "README.md"
    if not path.is_file():
        return
    found = {name: json.loads(file.read_text("utf-8")) for name in TASKS if (file := folder / f"results_{name}.json").is_file()}
    tables = {name: task_table(results) for name, results in found.items()}
    if set(found) >= set(ADVISED):
        tables["summary"] = summary([found[name] for name in ADVISED])
    text = path.read_text("utf-8")
    for name, lines in tables.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, _, rest = text.partition(begin)
        text = "\n".join([f"{before}{begin}\n", *lines, f"\n{end}{rest.partition(end)[2]}"])
    path.write_text(text, "utf-8")


def task_table(results: Mapping[str, Any]) -> Iterator[str]:
    """A line an alignment."""
    lines = {(line["align"], line["shots"]): line for line in results["lines"]}
    shots = list(dict.fromkeys(shown for _, shown in lines))
    yield "| alignment | " + " | ".join(f"{shown} shots | gain | ECE" for shown in shots) + " |"
    yield "|---|" + "---:|" * 3 * len(shots)
    for align in dict.fromkeys(align for align, _ in lines):
        yield f"| {shown_as(align)} | " + " | ".join(cells(lines[align, shown]) for shown in shots) + " |"
    rare, most = results["rarest"], max(shots)
    given = ", ".join(f"{shown_as(align)} {lines[align, most]['rarest']:.0f}" for align in dict.fromkeys(x for x, _ in lines))
    yield f"\nThe rarest label, {rare['label']}, has {rare['rows']} rows. With {most} shots it is given by {given}."
    made = ", ".join(f"{package} {number}" for package, number in results["versions"].items())
    yield f"\n{results['items']} rows, Gemma 3 270M in float32 on a CPU. {made}."


def cells(line: Mapping[str, Any]) -> str:
    """`mean ± standard deviation, worst | gain (interval) | ECE`; without demonstrations every seed shows the same."""
    seeds, gain = line["by_seed"], line["gain"]
    accuracy = f"{fmean(seeds):.3f}" + (f" ± {stdev(seeds):.3f}, {min(seeds):.2f}" if line["shots"] and len(seeds) > 1 else "")
    gained = f"{gain['value']:+.3f} ({gain['low']:+.2f} to {gain['high']:+.2f})" if gain else ""
    return f"{accuracy} | {gained} | {line['ece']['value']:.3f}"


def summary(found: list[Mapping[str, Any]]) -> Iterator[str]:
    """Over tasks: each calibration's mean gain, and in how many of the settings it surely helps, and surely hurts."""
    lines = [line for results in found for line in results["lines"] if line["gain"]]
    plain = [line for results in found for line in results["lines"] if not line["gain"]]
    shots = list(dict.fromkeys(line["shots"] for line in lines))
    yield "| calibration | " + " | ".join(f"{shown} shots" for shown in shots) + " | helps | hurts | worst gain | ECE |"
    yield "|---|" + "---:|" * (len(shots) + 4)
    by_name = {align: [line for line in lines if line["align"] == align] for align in dict.fromkeys(x["align"] for x in lines)}
    for align, own in sorted(by_name.items(), key=lambda each: -fmean(line["gain"]["value"] for line in each[1])):
        means = (fmean(line["gain"]["value"] for line in own if line["shots"] == shown) for shown in shots)
        helps, hurts = (sum(line["gain"]["low"] > 0 for line in own), sum(line["gain"]["high"] < 0 for line in own))
        worst = min(own, key=lambda line: line["gain"]["value"])["gain"]["value"]
        error = fmean(line["ece"]["value"] for line in own)
        gains = " | ".join(f"{mean:+.3f}" for mean in means)
        yield f"| {shown_as(align)} | {gains} | {helps} of {len(own)} | {hurts} | {worst:+.3f} | {error:.3f} |"
    means = (fmean(fmean(line["by_seed"]) for line in plain if line["shots"] == shown) for shown in shots)
    error = fmean(line["ece"]["value"] for line in plain)
    yield f"\nPlain scores: accuracy {', '.join(f'{mean:.3f}' for mean in means)}; ECE {error:.3f}."


def shown_as(align: str) -> str:
    return "plain scores" if align == PLAIN else f"`{align}`"


if __name__ == "__main__":
    main()
