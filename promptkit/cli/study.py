"""`promptkit study`: evaluates a grid of settings."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import Annotated, Literal

import typer

from promptkit.cli import options as opts
from promptkit.cli.interrupt import exit_on_interrupt
from promptkit.core.caller import yaml_file
from promptkit.core.errors import RunError
from promptkit.display.terminal import print_wide


def study(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Study file (.yaml), or name of a study that promptkit ships.")],
    plot: opts.Plot = None,
    no_cache: opts.NoCache = False,
    out: opts.Out = opts.DEFAULT_OUT,
    as_json: opts.Json = False,
) -> None:
    """Evaluate a grid of options on one task or several. Each cell is a run, and finished runs are reused."""
    from promptkit.config.study import StudyConfig
    from promptkit.display import plots
    from promptkit.display.progress import Display
    from promptkit.studies import figures
    from promptkit.studies.folder import write_study
    from promptkit.studies.progress import LiveTable, RunsBar, StudyProgress

    with yaml_file():
        config = StudyConfig.from_yaml(file)
    if plot is not None:
        plots.check_drawable(plot)
    with exit_on_interrupt(), yaml_file(), ExitStack() as shown:
        progress: Display[StudyProgress] | Literal[False] = False
        if not as_json:
            progress = shown.enter_context(LiveTable() if sys.stderr.isatty() else RunsBar())
        result = config.run(out=out, cache=not no_cache, progress=progress)
    baseline_results = config.compute_baselines(result)
    if plot is not None:
        plots.write(figures.default_figure(result, baseline_results), plot)
    comparison = config.comparison(result)
    if as_json:
        printed = result.to_json() | ({"baselines": baseline_results.to_json()} if baseline_results else {})
        print(json.dumps(printed | ({"comparison": comparison.to_json()} if comparison else {})))
    else:
        print_wide(result.table(baselines=baseline_results).rich())
        if comparison is not None:
            print()
            print_wide(comparison.rich())
        print(f"{result.seconds:.1f} s, {len({cell.run.path for cell in result.cells})} runs in {out}, {write_study(result)}")
    if result.failures:
        raise RunError(result.failure_summary, code="cells-failed", failures=len(result.failures))
