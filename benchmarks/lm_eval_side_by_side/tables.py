"""Writes the tables of README.md from the committed results."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_versions, update_readme

HERE = Path(__file__).resolve().parent
SCALING = "results_scaling.json"


def write_tables() -> None:
    """Writes the tables of all results into README.md."""
    for path in sorted(HERE.glob("results_*.json")):
        table = scaling_table if path.name == SCALING else side_by_side_table
        update_readme(HERE / "README.md", {path.name: table(json.loads(path.read_text("utf-8")))})


def side_by_side_file(case: str) -> str:
    """Returns the name of a case's file of results."""
    return f"results_{case}.json"


def side_by_side_table(results: Mapping[str, Any]) -> str:
    """Returns one line per measurement, with a ratio that is above 1 if promptkit is better."""
    ours, theirs, compared = results["promptkit"], results["lm_eval"], results["comparison"]
    seconds = "entire process, seconds"
    rows = [
        ("items per second", f"{ours['items_per_second']:.2f}", f"{theirs['items_per_second']:.3f}", compared["speed_ratio"]),
        ("scoring or generation, seconds", ours["scoring_seconds"], theirs["scoring_seconds"], ""),
        *([(seconds, ours["wall_seconds"], theirs["wall_seconds"], ratio)] if (ratio := compared["wall_ratio"]) else []),
        ("peak memory, GiB", ours["peak_memory_gib"], theirs["peak_memory_gib"], compared["memory_ratio"]),
    ]
    if "flips" in compared:
        rows.append(("accuracy", compared["promptkit_accuracy"], compared["lm_eval_accuracy"], ""))
    cells = [(name, one, other, f"{ratio:.1f}x" if ratio else "") for name, one, other, ratio in rows]
    work = results["workload"]
    passes = " and ".join(map(str, ours["scoring_seconds_of_both_passes"]))
    fewer = "" if work["peer_items"] == work["items"] else f" ({work['peer_items']} of them for lm-eval)"
    notes = [
        f"{work['items']} items{fewer}, {work['shots']} shots, {work['dtype']}, {ours['threads']} threads; lm-eval's batch "
        f"size is {theirs['batch_size']}. promptkit's two passes took {passes} s; the slower one counts.",
        f"Texts that differ: {compared['different_texts']} of {work['peer_items']}."
        if "different_texts" in compared
        else f"Largest difference of any label log-probability: {compared['largest_logprob_difference']:.1e}. "
        f"Predictions that differ: {compared['flips']} of {work['peer_items']}.",
        _circumstances(results, {**theirs["versions"], **ours["versions"]}),
    ]
    return "\n\n".join([_markdown(("", "promptkit", "lm-eval", "ratio"), cells), *notes])


def scaling_table(results: Mapping[str, Any]) -> str:
    """Returns one line per case, with medians for repeated cases."""
    rows = []
    for case in sorted(results["cases"], key=lambda case: (case["shots"], case["items"])):
        seconds = median(case["scoring_seconds"])
        rows.append(
            (
                case["shots"],
                case["items"],
                f"{case['mean_prompt_tokens']:.0f}",
                f"{median(case['render_seconds']):.2f}",
                f"{seconds:.2f}",
                f"{case['items'] / seconds:.1f}",
                f"{sum(case['useful_gflop'].values()) / 1000:.2f}",
                f"{median(case['share_of_peak']):.2f}",
            )
        )
    titles = ("shots", "items", "tokens per prompt", "rendering, s", "scoring, s", "items/s", "useful TFLOP", "share of peak")
    base = max(results["cases"], key=lambda case: len(case["share_of_peak"]))
    shares = ", ".join(f"{share:.3f}" for share in base["share_of_peak"])
    notes = [
        f"Share of the peak at {base['items']} items and {base['shots']} shots: median "
        f"{median(base['share_of_peak']):.3f} of {results['repetitions']} ({shares}), of a peak of "
        f"{median(base['peak_gflop_per_second']):.0f} GFLOP/s.",
        _circumstances(results, results["versions"]),
    ]
    return "\n\n".join([_markdown(titles, rows), *notes])


def _circumstances(results: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    machine = results["machine"]
    processor = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    return f"{processor}. {format_versions(versions)}. `{results['command']}`"


def _markdown(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    rule = ["---"] + ["---:"] * (len(titles) - 1)
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (titles, rule, *rows))
