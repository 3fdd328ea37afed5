"""Simulates races of candidates of known accuracy; writes results.json and README.md.

python benchmarks/tune_simulation/run.py
python benchmarks/tune_simulation/run.py --readme    # only writes the tables of the results into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from scipy.special import ndtri

import promptkit as pk
from promptkit.tuning.estimate import estimate
from promptkit.tuning.race import RaceSettings, Scores, race

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_versions, update_readme

HERE = Path(__file__).resolve().parent
REPLICATES, ROWS, BASELINES = 200, 100, 2
SETTINGS = RaceSettings()
DIFFICULTY, KIND = 0.45, 0.2
"""The shares of the variance of right and wrong answers that are common to all candidates and to those of one kind."""
OF_A_KIND = 5
"""The mean number of candidates of one kind, such as those with the same demonstrations."""


@dataclass(frozen=True)
class Setting:
    """A kind of race."""

    candidates: int
    """The number of candidates, including the baselines; each of the others is a prompt of its own."""
    mean: float
    """The mean of the true accuracies of prompts."""
    spread: float
    """Their standard deviation; 0 for candidates at chance, whose answers are independent of the labels."""
    budget: float
    """The budget as a share of the requests that all answers of all prompts would need."""


SPREADS = ((0.5, 0.0), (0.7, 0.02), (0.7, 0.05), (0.6, 0.1))
GRID = [Setting(candidates, mean, spread, 0.5) for candidates in (24, 60) for mean, spread in SPREADS]


@dataclass(frozen=True)
class Entrant:
    """What a race knows of a candidate."""

    prompt: int | None
    tokens: float


class Requests:
    """Answers the requests of a race from known answers, and counts them."""

    def __init__(self, correct: np.ndarray, limit: float) -> None:
        self._correct, self._limit, self._rows = correct, limit, 0
        self.count = 0

    def fits(self, prompts: Sequence[int], start: int, stop: int) -> bool:
        return self.count + len(prompts) * (stop - start) <= self._limit

    def answer(self, asked: Sequence[int], rows: int) -> Scores:
        self.count += sum(number >= BASELINES for number in asked) * (rows - self._rows)
        self._rows = rows
        return Scores(self._correct[list(asked), :rows], -self._correct[list(asked), :rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", default=REPLICATES, type=int)
    parser.add_argument("--results", default=HERE, type=Path, help="folder of results.json and README.md")
    parser.add_argument("--readme", action="store_true", help="only write the tables of the results into README.md")
    options = parser.parse_args()
    file = options.results / "results.json"
    if not options.readme:
        versions = {"promptkit": pk.__version__} | {package: version(package) for package in ("numpy", "scipy")}
        figures: list[dict[str, Any]] = []
        for setting in GRID:
            figures.append({**asdict(setting), **measured(setting, options.replicates)})
            results = {"versions": versions, "replicates": options.replicates, "rows": ROWS, "settings": figures}
            file.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    results = json.loads(file.read_text("utf-8"))
    sections = {name: list(table(results["settings"])) for name, table in TABLES.items()}
    update_readme(options.results / "README.md", {**sections, "versions": format_versions(results["versions"])})


def measured(setting: Setting, replicates: int) -> dict[str, Any]:
    """Returns the figures of a setting, means over replicates."""
    found = [replicate(setting, seed) for seed in range(replicates)]
    return {name: fmean(each[name] for each in found) for name in found[0]}


def replicate(setting: Setting, seed: int) -> dict[str, float]:
    """Runs one race and compares its statements with the truth."""
    accuracies, correct = simulated(setting, np.random.default_rng(seed))
    entrants = [
        Entrant(None, 0.0) if number < BASELINES else Entrant(number, 100.0 + number % 7)
        for number in range(setting.candidates)
    ]
    every = (setting.candidates - BASELINES) * ROWS
    requests = Requests(correct, setting.budget * every)
    course = race(entrants, ROWS, requests.answer, SETTINGS, requests)
    found = estimate(course, entrants, SETTINGS)
    truth, whole = accuracies[found.number], accuracies[correct.mean(1).argmax()]
    assert found.best_baseline is not None
    assert found.difference is not None
    advantage = truth - accuracies[found.best_baseline]
    new_rows = found.winner.estimate
    return {
        "cost": requests.count / every,
        "regret": accuracies.max() - truth,
        "regret_of_all": accuracies.max() - whole,
        "own_bias": found.winner.own - truth,
        "bias": new_rows.value - truth,
        "error": abs(new_rows.value - truth),
        "covered": float(new_rows.low <= truth <= new_rows.high),
        "width": new_rows.high - new_rows.low,
        "difference_covered": float(found.difference.low <= advantage <= found.difference.high),
        "advantage": advantage,
        "beats_baseline": float(found.beats_baseline),
    }


def simulated(setting: Setting, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns the true accuracies of candidates, shape (C,), and right and wrong answers to the rows, shape (C, rows).

    An answer is right if a normal variable is below a threshold. The variable has a part of the row, for all candidates alike,
    a part of the row and the kind of the candidate, and a part of the answer alone. With shuffled labels, no row is difficult
    for all candidates.
    """
    count = setting.candidates
    if setting.spread:
        accuracies = np.clip(setting.mean + setting.spread * generator.standard_normal(count), 0.05, 0.97)
        accuracies[:BASELINES] = np.clip(setting.mean - 0.1 + 0.05 * generator.standard_normal(BASELINES), 0.05, 0.97)
    else:
        accuracies = np.full(count, setting.mean)
    common, of_kind = (DIFFICULTY, KIND) if setting.spread else (0.0, KIND + 0.1)
    kinds = generator.integers(0, max(2, count // OF_A_KIND), count)
    rows, of_rows_and_kinds = generator.standard_normal(ROWS), generator.standard_normal((count, ROWS))
    latent = common**0.5 * rows + of_kind**0.5 * of_rows_and_kinds[kinds]
    latent += (1 - common - of_kind) ** 0.5 * generator.standard_normal((count, ROWS))
    return accuracies, (latent < ndtri(accuracies)[:, None]) * 1.0


def named(setting: dict[str, Any]) -> str:
    return f"| {setting['candidates']} | {setting['mean']:.1f} ± {setting['spread']:.2f} | {setting['budget']:.0%} |"


def known(settings: list[dict[str, Any]]) -> Iterator[str]:
    yield "| candidates | true accuracy | budget | requests | regret | regret of all | own score | estimate | in the interval |"
    yield "|---:|---|---:|---:|---:|---:|---:|---:|---:|"
    for each in settings:
        if each["spread"]:
            yield (
                f"{named(each)} {each['cost']:.0%} | {each['regret']:.3f} | {each['regret_of_all']:.3f} | "
                f"{each['own_bias']:+.3f} | {each['bias']:+.3f} | {each['covered']:.1%} |"
            )


def differences(settings: list[dict[str, Any]]) -> Iterator[str]:
    yield "| candidates | true accuracy | budget | true advantage | in the interval | beats the baseline |"
    yield "|---:|---|---:|---:|---:|---:|"
    for each in settings:
        yield (f"{named(each)} {each['advantage']:+.3f} | {each['difference_covered']:.1%} | {each['beats_baseline']:.1%} |")


TABLES: dict[str, Callable[[list[dict[str, Any]]], Iterator[str]]] = {"known": known, "differences": differences}

if __name__ == "__main__":
    main()
