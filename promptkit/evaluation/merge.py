"""Merges the shards of a run into the files that one process would have written, byte for byte."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from promptkit.align.chain import Chain
from promptkit.collect.collected import Collected
from promptkit.collect.read_outputs import outputs_by_fold
from promptkit.core.arguments import check_arguments
from promptkit.core.errors import CheckpointError, InputError, RunError
from promptkit.core.paths import expanded
from promptkit.evaluation.fitted_chains import FITTED_CHAINS, chains_of_shard
from promptkit.evaluation.results import compute_results, finish_run, results_summary, run_title
from promptkit.runs.files import damaged, expect, read_json
from promptkit.runs.finished import FinishedShard, read_shard
from promptkit.runs.folder import SHARD, TIMING, RunFolder
from promptkit.runs.load import run_of_results
from promptkit.runs.recorded import copy_recorded
from promptkit.runs.rows import EvaluatedRow
from promptkit.runs.run import Run
from promptkit.runs.schema import RunTitle, Timing
from promptkit.runs.shard import Shard


@check_arguments("merge")
def merge(shards: Sequence[str | Path], *, out: str | Path | None = None) -> Run:
    """Merges the shards of a run. No model is loaded.

    Args:
        shards: The folders of all shards of the run.
        out: The folder for the run's folder; by default the folder of the first shard.

    Returns:
        The finished run.

    Raises:
        RunError: If a shard is missing, repeated, unfinished, or of another run.
    """
    started = time.perf_counter()
    parts = [read_shard(expanded(shard)) for shard in shards]
    _check_same_run(parts)
    _check_complete([*map(_shard_of, parts)])
    joined = _join(parts)
    results = compute_results(joined.chains, joined.collected)
    summary = results_summary(joined.title, joined.chains, joined.collected, results)
    folder = RunFolder(parts[0].path.parent if out is None else out, summary["task"], parts[0].settings)
    notes = _joined_notes(parts)
    timing = Timing(seconds=0.0, examples_per_second=0.0, resumed=summary["n"], notes=notes)
    with folder.locked():
        if not folder.finished():
            finish_run(folder, summary, joined.rows, joined.collected, results)
            folder.record_timing(timing)
    copy_recorded(parts[0].path, folder.path)
    run = run_of_results(Run, folder.path, summary, joined.rows, results, timing)
    return replace(run, seconds=time.perf_counter() - started)


@dataclass(frozen=True, slots=True, kw_only=True)
class _JoinedShards:
    """The records of all shards in the order of the whole run."""

    title: RunTitle
    chains: Sequence[Chain]
    collected: Collected
    rows: Sequence[EvaluatedRow]


def _join(parts: Sequence[FinishedShard]) -> _JoinedShards:
    settings, order = parts[0].settings, parts[0].summary["order"]
    rows = {key: record for part in parts for key, record in part.rows.items()}
    reads = {key: record for part in parts for key, record in part.outputs.items()}
    known = {key: row for part in parts for key, row in part.evaluated.items()}
    with expect(parts[0].path / SHARD, "the description of a shard"):
        samples, support = ([rows[key] for key in order[file]] for file in ("samples", "support"))
        outputs = [reads[key] for key in order["outputs"]]
        evaluated = [known[key] for key in order["samples"]]
        chains = _chains(parts[0])
        title = run_title(settings, len(samples))
    collected = Collected(samples=samples, support=support, read_outputs=outputs_by_fold(outputs))
    return _JoinedShards(title=title, chains=chains, collected=collected, rows=evaluated)


def _chains(shard: FinishedShard) -> list[Chain]:
    """Returns the branches of the run of a shard, with what was fitted before the run."""
    file = shard.path / FITTED_CHAINS
    content = file.read_bytes() if FITTED_CHAINS in shard.summary["sha256"] else None
    try:
        return chains_of_shard(shard.settings["align"], content)
    except (CheckpointError, ValueError) as error:
        raise damaged(file, str(error)) from None


def _check_same_run(shards: Sequence[FinishedShard]) -> None:
    if not shards:
        raise InputError(
            "There are no shards to merge", code="no-shards", hint="Write promptkit merge runs/sst2-1a2b3c4d.shard-*", shards=()
        )
    first = shards[0]
    for shard in shards[1:]:
        keys = {**first.settings, **shard.settings}
        differing = tuple(key for key in keys if first.settings.get(key) != shard.settings.get(key))
        if differing:
            raise RunError(
                f"{shard.path} and {first.path} are shards of different runs: they differ in {', '.join(differing)}",
                code="shards-differ",
                hint="Merge shards that were evaluated by the same command with the same versions of all packages",
                folder=str(shard.path),
                other=str(first.path),
                settings=differing,
            )


def _check_complete(shards: Sequence[Shard]) -> None:
    expected = [Shard(number, shards[0].of) for number in range(1, shards[0].of + 1)]
    if any(shard not in expected for shard in shards) or len(set(shards)) < len(shards):
        spellings = tuple(map(str, shards))
        raise RunError(
            "The shards do not belong together",
            code="mismatched-shards",
            got=", ".join(spellings),
            hint="Use the shards 1/n to n/n, each once",
            shards=spellings,
        )
    missing = tuple(str(shard) for shard in expected if shard not in shards)
    if missing:
        raise RunError(
            f"The run is incomplete: the shards {', '.join(missing)} are missing",
            code="missing-shards",
            hint="Run the same command with those shards, then merge all of them",
            shards=missing,
        )


def _shard_of(part: FinishedShard) -> Shard:
    path, contents = part.path / SHARD, "the description of a shard"
    try:
        with expect(path, contents):
            return Shard(*part.summary["shard"])
    except InputError:
        raise damaged(path, f"it does not contain {contents}") from None


def _joined_notes(shards: Sequence[FinishedShard]) -> list[str]:
    """Returns the notes of all shards: a note that all of them have once, and the others with the shard that has them."""
    notes = {str(_shard_of(shard)): _notes(shard) for shard in shards}
    of_all = [note for note in _notes(shards[0]) if all(note in each for each in notes.values())]
    return [*of_all, *(f"shard {shard}: {note}" for shard, each in notes.items() for note in each if note not in of_all)]


def _notes(shard: FinishedShard) -> list[str]:
    timing = cast("Timing | None", read_json(shard.path / TIMING))
    return timing["notes"] if timing else []
