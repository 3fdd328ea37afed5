"""`promptkit tasks`, `models`, `kinds` and `cache`: list what is available."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.display.terminal import print_table


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete all cached outputs.")] = False, as_json: opts.Json = False
) -> None:
    """Show the location and size of the score cache."""
    from promptkit.models.cache import ScoreCache

    scores = ScoreCache()
    if clear:
        scores.clear()
    contents = scores.contents()
    if as_json:
        print(
            json.dumps(
                {"path": str(contents.path), "answers": contents.entries, "bytes": contents.size, "bound": contents.max_bytes}
            )
        )
    else:
        print(
            f"{contents.path}: {contents.entries} outputs, {contents.size / 2**20:.1f} of at most {contents.max_bytes / 2**20:.0f} MiB"
        )


def tasks(as_json: opts.Json = False) -> None:
    """List the tasks that promptkit ships."""
    from promptkit.tasks.task_files import read_shipped_specs

    specs = read_shipped_specs()
    if as_json:
        entries = [{"name": name, **spec.model_dump(mode="json", exclude_none=True)} for name, spec in specs.items()]
        print(json.dumps({"tasks": entries}))
        return
    rows = []
    for name, spec in specs.items():
        places = dict.fromkeys(source.place for source in spec.sources)
        labels = f"{len(spec.labels or ())} labels"
        labels += " in order" if spec.scale else ""
        texts = "numbers" if spec.numeric else "texts"
        answers = {"classification": labels, "multi-label": f"any of {labels}", "choice": "choices", "generation": texts}
        rows.append((name, spec.modality, answers[spec.kind], ", ".join(places), spec.description))
    print_table(("task", "of", "answers", "data from", "description"), rows)


def models(as_json: opts.Json = False) -> None:
    """List the engines, their model names and supported requests."""
    from promptkit.core.capabilities import FEATURES, VERBS
    from promptkit.models.registry import DEFAULT_ENGINE, ENGINES

    if as_json:
        engines = [
            {
                "name": name,
                "names": engine.names,
                "supports": [feature for feature in FEATURES if feature in engine.capabilities],
                "description": engine.description,
            }
            for name, engine in ENGINES.items()
        ]
        print(json.dumps({"default": DEFAULT_ENGINE, "engines": engines}))
        return
    rows = [
        (name, ", ".join(verb for verb in VERBS if verb in engine.capabilities), engine.names, engine.description)
        for name, engine in ENGINES.items()
    ]
    print_table(("engine", "requests", "NAME in --model [engine:]NAME", "description"), rows)


def kinds(as_json: opts.Json = False) -> None:
    """List everything that has a name, such as calibrations and metrics."""
    from dataclasses import asdict

    from promptkit.config.kinds import named_kinds

    rows = named_kinds()
    if as_json:
        print(json.dumps({"kinds": [asdict(row) for row in rows]}))
        return
    taxonomy = [f" ({row.taxonomy})" if row.taxonomy else "" for row in rows]
    described = [f"{row.description.removesuffix('.')}{place}" for row, place in zip(rows, taxonomy, strict=True)]
    print_table(
        ("kind", "name", "description"), [(row.kind, row.name, text) for row, text in zip(rows, described, strict=True)]
    )
