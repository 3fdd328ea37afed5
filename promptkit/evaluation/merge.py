"""The shards of a run -> the run: the same files, byte for byte, as one process would have written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptkit.align.chain import chain_from_settings
from promptkit.core.errors import InputError, RunError
from promptkit.core.paths import expanded
from promptkit.evaluation import requirements
from promptkit.evaluation import results as figures
from promptkit.evaluation.readings import observed
from promptkit.runs.folder import FILES, RunFolder, damaged, read_json, read_shard
from promptkit.runs.records import row_warnings
from promptkit.runs.run import Run


def merge(shards: Sequence[str | Path], *, out: str | Path | None = None) -> Run:
    """The run whose shards lie in these folders; written below `out`, which is the first shard's place unless given.

    No model is loaded. Raises if a shard is missing, given twice, unfinished, or of another run.
    """
    started = time.perf_counter()
    paths = [expanded(shard) for shard in shards]
    read = [read_shard(path) for path in paths]
    _check(paths, read)
    settings, shard, *_ = read[0]
    try:
        of_id = {line["id"]: line for *_, lines in read for line in lines}
        samples, besides, outputs = ([of_id[row] for row in shard["order"][file]] for file in FILES)
        chains = [chain_from_settings(chain) for chain in settings["align"]]
        name, split, model = settings["task"]["name"], settings["split"], settings["model"]["name"]
    except (TypeError, LookupError, AttributeError):
        raise damaged(paths[0] / "shard.json", "it is not the description of a shard") from None
    seen = observed(outputs)
    results = figures.results(chains, samples, besides, seen)
    folder = RunFolder(paths[0].parent if out is None else out, name, settings)
    with folder.locked():
        finished = folder.finished()
        notes = [note for path, (_, shard, *_) in zip(paths, read, strict=True) for note in _notes(path, shard)]
        if not finished:
            told = {"task": name, "split": split, "n": len(samples), "model": model}
            figures.conclude(folder, told, samples, besides, results, seen)
            folder.record_timing({"seconds": 0.0, "examples_per_second": 0.0, "resumed": 0, "notes": notes})
    return Run(
        task=name,
        split=split,
        model=model,
        path=folder.path,
        labels=chains[0].reader.labels,
        ids=tuple(line["id"] for line in samples),
        gold=tuple(line["gold"] for line in samples),
        results=results,
        seconds=time.perf_counter() - started,
        examples_per_second=0.0,
        resumed=len(samples),
        notes=(*row_warnings(samples), *requirements.fit_warnings(chains, samples, besides), *notes),
    )


def _check(paths: Sequence[Path], read: Sequence[Any]) -> None:
    if not read:
        raise InputError(
            "There are no shards to merge", code="no-shards", hint="Write promptkit merge runs/sst2-1a2b3c4d.shard-*"
        )
    first = read[0][0]
    for path, (settings, *_) in zip(paths, read, strict=True):
        if settings != first:
            differing = [key for key in {**first, **settings} if first.get(key) != settings.get(key)]
            raise RunError(
                f"{path} and {paths[0]} are shards of different runs: they differ in {', '.join(differing)}",
                code="shards-differ",
                hint="Merge shards that were made by the same command with the same versions of all packages",
                folder=str(path),
                other=str(paths[0]),
                settings=tuple(differing),
            )
    numbers = [tuple(shard["shard"]) for _, shard, *_ in read]
    of = numbers[0][1]
    missing = [f"{number}/{of}" for number in range(1, of + 1) if (number, of) not in numbers]
    if any(other != of for _, other in numbers) or len(set(numbers)) < len(numbers):
        given = tuple(f"{number}/{of}" for number, of in numbers)
        raise RunError(
            "The shards do not fit together",
            code="mismatched-shards",
            got=", ".join(given),
            hint="Give the shards 1/n to n/n, each once",
            shards=given,
        )
    if missing:
        raise RunError(
            f"The run is incomplete: the shards {', '.join(missing)} are missing",
            code="missing-shards",
            hint="Run the same command with those shards, then merge all of them",
            shards=tuple(missing),
        )


def _notes(path: Path, shard: Any) -> list[str]:
    number, of = shard["shard"]
    return [f"shard {number}/{of}: {note}" for note in (read_json(path / "timing.json") or {}).get("notes", ())]
