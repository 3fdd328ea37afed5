"""`promptkit tasks`, `models`, `kinds` and `cache`: lists what there is."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.display.terminal import print_table


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Forget every answer.")] = False, as_json: opts.Json = False
) -> None:
    """Show the score cache: where it is, and how much it holds."""
    from promptkit.models.cache import ScoreCache

    scores = ScoreCache()
    if clear:
        scores.clear()
    held = scores.contents()
    if as_json:
        print(json.dumps({"path": str(held.path), "answers": held.entries, "bytes": held.size, "bound": held.max_bytes}))
    else:
        print(f"{held.path}: {held.entries} answers, {held.size / 2**20:.1f} of at most {held.max_bytes / 2**20:.0f} MiB")


def tasks(as_json: opts.Json = False) -> None:
    """List the tasks that promptkit ships."""
    from promptkit.tasks.task import described

    found = described()
    if as_json:
        print(
            json.dumps(
                {"tasks": [{"name": name, **spec.model_dump(mode="json", exclude_none=True)} for name, spec in found.items()]}
            )
        )
        return
    rows = []
    for name, spec in found.items():
        places = dict.fromkeys("bundled" if s.files else "--data" if s.mirror else "hub" for s in spec.sources)
        answers = {"classification": f"{len(spec.labels or ())} labels", "choice": "choices", "generation": "texts"}
        rows.append((name, answers[spec.kind], ", ".join(places), spec.description))
    print_table(("task", "answers", "read from", "description"), rows)


def models(as_json: opts.Json = False) -> None:
    """List the engines: what a model's name may be, and what each can be asked."""
    from promptkit.models.registry import DEFAULT_ENGINE, ENGINES

    if as_json:
        listed = [
            {"name": name, "names": e.names, "verbs": list(e.verbs), "description": e.description}
            for name, e in ENGINES.items()
        ]
        print(json.dumps({"default": DEFAULT_ENGINE, "engines": listed}))
        return
    rows = [(name, ", ".join(e.verbs), e.names, e.description) for name, e in ENGINES.items()]
    print_table(("engine", "answers", "NAME in --model [engine:]NAME", "what it is"), rows)


def kinds(as_json: opts.Json = False) -> None:
    """List the manipulations with their place in the taxonomy: format, location, operator."""
    from promptkit.manipulate.catalog import described

    found = described()
    if as_json:
        print(json.dumps({"kinds": found}))
        return
    print_table(("manipulation", "format", "location", "operator", "what it is"), [tuple(kind.values()) for kind in found])
