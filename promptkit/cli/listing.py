"""`promptkit tasks`, `models`, `kinds` and `cache`: list what is available."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from promptkit.cli import options as opts
from promptkit.display.terminal import print_table

if TYPE_CHECKING:
    from promptkit.models.registry import Engine


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


def models(
    engine: Annotated[str | None, typer.Argument(metavar="[ENGINE]", help="An engine, to show its settings.")] = None,
    as_json: opts.Json = False,
) -> None:
    """List the engines, or the settings of one engine."""
    from promptkit.core.capabilities import VERBS
    from promptkit.core.errors import unknown
    from promptkit.models.registry import DEFAULT_ENGINE, ENGINES

    if engine is not None and engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    chosen = ENGINES if engine is None else {engine: ENGINES[engine]}
    if as_json:
        print(json.dumps({"default": DEFAULT_ENGINE, "engines": [_as_json(each) for each in chosen.values()]}))
        return
    if engine is not None:
        _print_settings(ENGINES[engine])
        return
    rows = [
        (name, ", ".join(verb for verb in VERBS if verb in engine.capabilities), engine.names, engine.description)
        for name, engine in ENGINES.items()
    ]
    print_table(("engine", "requests", "NAME in --model [engine:]NAME", "description"), rows)


def _as_json(engine: Engine) -> dict[str, object]:
    from dataclasses import asdict

    from promptkit.core.capabilities import FEATURES
    from promptkit.models.setting_descriptions import describe_settings

    return {
        "name": engine.name,
        "names": engine.names,
        "supports": [feature for feature in FEATURES if feature in engine.capabilities],
        "description": engine.description,
        "settings": [asdict(setting) for setting in describe_settings(engine)],
    }


def _print_settings(engine: Engine) -> None:
    from promptkit.models.setting_descriptions import describe_settings

    print(f"{engine.name}: {engine.description}\nNAME is {engine.names}\n")
    rows = [(each.name, each.type, each.default, each.description) for each in describe_settings(engine)]
    print_table(("--set", "value", "default", "description"), rows)


def kinds(as_json: opts.Json = False) -> None:
    """List all calibrations, metrics and other named kinds."""
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
