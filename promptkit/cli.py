"""The command line. Parses options into the objects of the library, and prints; nothing else here."""

from __future__ import annotations

import io
import json
import logging
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptkit import options as opts
from promptkit.align_command import align, bias
from promptkit.convert_command import convert
from promptkit.errors import PromptkitError, RunError, TaskError
from promptkit.processes import processes
from promptkit.search_command import search
from promptkit.terminal import Bar, print_table, print_wide
from promptkit.train_command import train

if TYPE_CHECKING:
    from promptkit.run import Run, ShardRun

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Repurpose a frozen pre-trained model: y = align(model(manipulate(x))).",
)

INTERRUPTED = 130
"""The exit code of a command stopped by Ctrl-C."""


@app.command("eval")
def eval_(
    task: opts.TaskName,
    model: opts.ModelName = "demo",
    template: opts.Template = None,
    instruction: opts.Instruction = None,
    chat: opts.Chat = False,
    shots: Annotated[int | None, typer.Option(min=0, help="Demonstrations; 8, or none with --prompt, unless given.")] = None,
    demos: opts.Demos = None,
    order: opts.Order = None,
    cot: opts.Cot = None,
    seed: opts.Seed = 0,
    score: opts.ScoreOf = "sum",
    calibrate: opts.Calibrate = "",
    extract: opts.Extract = None,
    max_tokens: opts.MaxTokens = None,
    samples: opts.Samples = None,
    temperature: opts.Temperature = None,
    split: opts.Split = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the N rows with the smallest hash of id.")] = None,
    data: opts.Data = None,
    label_column: opts.LabelColumn = None,
    labels: opts.Labels = None,
    answer_column: opts.AnswerColumn = None,
    train: opts.Train = None,
    set_: opts.Set = None,
    shard: opts.Shard = None,
    prompt: opts.Saved = None,
    no_cache: opts.NoCache = False,
    out: opts.Out = Path("runs"),
    as_json: opts.Json = False,
) -> None:
    """Evaluate a prompt on a task: accuracy, macro-F1, ECE and Brier with 95% intervals."""
    from promptkit.evaluation import evaluate, evaluate_shard
    from promptkit.run import ShardRun
    from promptkit.store import Shard

    part = None if shard is None else Shard.read(shard)
    loaded = opts.task(task, data, template, label_column, labels, answer_column, train)
    saved = prompt or []
    options = opts.PromptOptions(
        template=template,
        instruction=instruction,
        chat=chat,
        shots=opts.count(shots, saved),
        demos=demos,
        order=order,
        seed=seed,
        cot=cot,
    )
    chain = opts.chain(score, extract, max_tokens, samples, temperature, seed)
    branches = opts.predictors(loaded, model, set_, options, chain, split=split, limit=limit, calibrate=calibrate, saved=saved)
    try:
        with Bar(hidden=as_json) as bar:
            run = (
                evaluate(branches, loaded, split=split, limit=limit, out=out, cache=not no_cache, progress=bar)
                if part is None
                else evaluate_shard(branches, loaded, part, split=split, limit=limit, out=out, cache=not no_cache, progress=bar)
            )
    except KeyboardInterrupt:
        print("promptkit: stopped; the same command continues where it was.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        for note in run.notes:
            print(f"note: {note}", file=sys.stderr)
        print(json.dumps(run.to_json()))
        return
    if isinstance(run, ShardRun):
        print(f"shard {run.shard} of {run.task} · {run.split} · {run.n} rows · {run.model}: {run.rows} rows")
        for note in run.notes:
            print(f"note: {note}")
        print(f"{_took(run)}, {run.path}")
    else:
        _show(run)


@app.command()
def render(
    task: opts.TaskName,
    model: opts.ModelName = "demo",
    n: Annotated[int, typer.Option("--n", min=1, help="How many rows to show.")] = 1,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show the token ids too.")] = False,
    template: opts.Template = None,
    instruction: opts.Instruction = None,
    chat: opts.Chat = False,
    shots: opts.Shots = 8,
    demos: opts.Demos = None,
    order: opts.Order = None,
    cot: opts.Cot = None,
    prompt: opts.Saved = None,
    seed: opts.Seed = 0,
    score: opts.ScoreOf = "sum",
    split: opts.Split = None,
    data: opts.Data = None,
    label_column: opts.LabelColumn = None,
    labels: opts.Labels = None,
    answer_column: opts.AnswerColumn = None,
    train: opts.Train = None,
    set_: opts.Set = None,
    as_json: opts.Json = False,
) -> None:
    """Show the exact prompts of a task, coloured by part, and what is likely wrong with them."""
    from promptkit.view import show, views

    loaded = opts.task(task, data, template, label_column, labels, answer_column, train)
    options = opts.PromptOptions(
        template=template, instruction=instruction, chat=chat, shots=shots, demos=demos, order=order, seed=seed, cot=cot
    )
    predictor = opts.predictors(loaded, model, set_, options, {"score": score}, split=split, saved=prompt or ())[0]
    shown = views(predictor, loaded, split=split or loaded.spec.split, n=n)
    if as_json:
        print(json.dumps({"task": loaded.name, "model": predictor.model.name, "rows": [view.to_json() for view in shown]}))
    else:
        for view in shown:
            show(view, tokens=tokens)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders, or RUN:BRANCH (runs/x-12345678:batch).")],
    flips: Annotated[bool, typer.Option("--flips", help="List the rows that are predicted differently.")] = False,
    as_json: opts.Json = False,
) -> None:
    """Compare finished runs row by row: accuracies, the paired difference with its 95% interval, McNemar's exact p."""
    from promptkit.comparison import compare_runs

    comparison = compare_runs(runs)
    if as_json:
        print(json.dumps(comparison.to_json()))
        return
    print(comparison)
    if comparison.left_out:
        print(f"{comparison.left_out} rows are not in every run and are left out")
    for branch in comparison.branches[1:]:
        print(f"{len(branch.flips)} of {comparison.n} rows are predicted differently by {branch.name}")
        for flip in branch.flips if flips else ():
            print(f"  {flip.id}  gold {flip.gold}: {_said(flip.first)} -> {_said(flip.other)}")


@app.command()
def study(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A study's YAML file, or the name of one that promptkit ships.")],
    plot: Annotated[Path | None, typer.Option(help="Draw it there: a .png, .pdf or .svg file.")] = None,
    no_cache: opts.NoCache = False,
    out: opts.Out = Path("runs"),
    as_json: opts.Json = False,
) -> None:
    """Evaluate a grid of options over one task: each cell a run, finished ones read, a broken study continued."""
    from promptkit.studies import pictures, plots
    from promptkit.studies.progress import LiveTable, RunsBar
    from promptkit.study_file import controls, read_study, run

    spec = read_study(file)
    if plot is not None:
        plots.check_drawable(plot)
    try:
        with nullcontext() if as_json else LiveTable() if sys.stderr.isatty() else RunsBar() as progress:
            made = run(spec, out=out, cache=not no_cache, progress=progress)
    except KeyboardInterrupt:
        print("promptkit: stopped; the same command continues where it was.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    without = controls(spec, made)
    if plot is not None:
        plots.write(pictures.by_itself(made, without), plot)
    if as_json:
        print(json.dumps(made.to_json() | ({"controls": without.to_json()} if without else {})))
    else:
        print_wide(made.table(controls=without).rich())
        print(f"{made.seconds:.1f} s, {len({cell.run.path for cell in made.cells})} runs in {out}")
    if made.failures:
        raise RunError(made.trouble, code="cells-failed", failures=len(made.failures))


@app.command()
def merge(
    shards: Annotated[list[Path], typer.Argument(metavar="SHARD...", help="The folders of every shard of one run.")],
    out: Annotated[Path | None, typer.Option(help="The folder that holds run folders; the first shard's unless given.")] = None,
    as_json: opts.Json = False,
) -> None:
    """Put the shards of a run together: the run that one process would have made, byte for byte."""
    from promptkit.merging import merge as merged

    run = merged(shards, out=out)
    if as_json:
        print(json.dumps(run.to_json()))
    else:
        _show(run)


@app.command()
def doctor(
    model: Annotated[str, typer.Option("--model", help="[engine:]name of the one model.")],
    against: Annotated[str, typer.Option("--against", help="[engine:]name of the other.")],
    task: Annotated[str, typer.Option("--task", help="A name of `promptkit tasks`, or a task's YAML file.")] = "sentiment",
    shots: opts.Shots = 8,
    limit: Annotated[int, typer.Option(min=1, help="How many rows.")] = 64,
    tolerance: Annotated[float, typer.Option(min=0, help="Of a label's log-probability, natural log.")] = 2e-3,
    template: opts.Template = None,
    chat: opts.Chat = False,
    data: opts.Data = None,
    set_: opts.Set = None,
    set_against: Annotated[
        list[str] | None, typer.Option("--set-against", metavar="KEY=VALUE", help="A setting of the other engine.")
    ] = None,
    as_json: opts.Json = False,
) -> None:
    """Ask two engines the same and tell whether they agree; exit code 1 if they do not."""
    from promptkit.chain import reading
    from promptkit.doctor import diagnose

    loaded = opts.task(task, data, template, None, None, None, None)
    prompt = opts.PromptOptions(
        template=template, instruction=None, chat=chat, shots=shots, demos=None, order=None, seed=0
    ).prompt(loaded)
    first, second = opts.model(model, set_), opts.model(against, set_against)
    found = diagnose(first, second, loaded, prompt, reading(loaded), limit=limit, tolerance=tolerance)
    print(json.dumps(found.to_json()) if as_json else found)
    if found.reasons:
        raise typer.Exit(1)


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Forget every answer.")] = False, as_json: opts.Json = False
) -> None:
    """Show the score cache: where it is, and how much it holds."""
    from promptkit.cache import ScoreCache

    scores = ScoreCache()
    if clear:
        scores.clear()
    held = scores.contents()
    if as_json:
        print(json.dumps({"path": str(held.path), "answers": held.entries, "bytes": held.size, "bound": held.bound}))
    else:
        print(f"{held.path}: {held.entries} answers, {held.size / 2**20:.1f} of at most {held.bound / 2**20:.0f} MiB")


@app.command()
def tasks(as_json: opts.Json = False) -> None:
    """List the tasks that promptkit ships."""
    from promptkit.tasks import described

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


@app.command()
def models(as_json: opts.Json = False) -> None:
    """List the engines: what a model's name may be, and what each can be asked."""
    from promptkit.models.base import DEFAULT_ENGINE, ENGINES

    if as_json:
        listed = [
            {"name": name, "names": e.names, "verbs": list(e.verbs), "description": e.description}
            for name, e in ENGINES.items()
        ]
        print(json.dumps({"default": DEFAULT_ENGINE, "engines": listed}))
        return
    rows = [(name, ", ".join(e.verbs), e.names, e.description) for name, e in ENGINES.items()]
    print_table(("engine", "answers", "NAME in --model [engine:]NAME", "what it is"), rows)


@app.command()
def kinds(as_json: opts.Json = False) -> None:
    """List the manipulations with their place in the taxonomy: format, location, operator."""
    from promptkit.kinds import described

    found = described()
    if as_json:
        print(json.dumps({"kinds": found}))
        return
    print_table(("manipulation", "format", "location", "operator", "what it is"), [tuple(kind.values()) for kind in found])


app.command()(search)
app.command()(train)
app.command()(convert)
app.command()(align)
app.command()(bias)

task_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Start a task of your own.")
app.add_typer(task_app, name="task")


@task_app.callback()
def _of_task() -> None:
    """Start a task of your own."""


@task_app.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A csv, tsv, jsonl or parquet file with a header.")],
    label_column: opts.LabelColumn = None,
) -> None:
    """Write a commented task file and a template beside a data file, to start from."""
    from promptkit.own import starter

    written = starter(file, label_column)
    there = next((path for path in written if path.exists()), None)
    if there is not None:
        hint = "Move it, or continue with it as it is"
        raise TaskError(f"{there} already exists and is not overwritten", code="path-exists", hint=hint, path=str(there))
    for path, content in written.items():
        path.write_text(content, "utf-8", newline="")
        print(f"wrote {path}")
    print(f"next: promptkit render {next(iter(written))}")


def main() -> None:
    """Run the command; a mistake of the user is one paragraph on standard error, and exit code 1."""
    own = processes()  # of several, the others tell only what ends them
    logging.basicConfig(format="%(message)s", level=logging.WARNING if own.is_main else logging.ERROR, stream=sys.stderr)
    name = "promptkit" if own.is_main else f"promptkit (process {own.rank + 1} of {own.count})"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character still shows the rest
    try:
        app()
        sys.stdout.flush()
    except PromptkitError as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"{name}: {where}{error.strerror or error}.", file=sys.stderr)
        raise SystemExit(1) from None


def _show(run: Run) -> None:
    """A run's table, and what a reader of it should know."""
    from rich.console import Console

    from promptkit.run import run_table

    console = Console()
    print_wide(run_table(run))
    for note in run.notes:
        console.print(f"note: {note}", style="yellow", markup=False)
    console.print(f"{_took(run)}, {run.path}", highlight=False, markup=False)


def _took(run: Run | ShardRun) -> str:
    rows = f"{run.examples_per_second:.1f} rows/s" if run.examples_per_second else "no row was computed anew"
    return f"{run.seconds:.1f} s ({rows})"


def _said(answer: str | None) -> str:
    return "(no answer)" if answer is None else answer
