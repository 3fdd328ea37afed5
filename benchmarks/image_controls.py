"""Shared code of the image benchmarks: options, passes over a task, maps fitted on their outputs, and controls."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS
from promptkit.analysis.realign import align
from promptkit.classical.majority import majority
from promptkit.classical.pixels import pixel_regression
from promptkit.collect.requirements import fit_part, select_fit_rows
from promptkit.core.examples import Example
from promptkit.core.manipulation import Modifier
from promptkit.core.model import Model, image_card
from promptkit.core.output_reader import OutputReader
from promptkit.core.registry import build, spelling
from promptkit.metrics.intervals import mean_of, resamples
from promptkit.models.vision.demo import ARCHITECTURE, MEAN, STD
from promptkit.needs.labeled_rows import LabeledRows
from promptkit.runs.finished import read_rows
from promptkit.tasks.sampling import by_hash

CENTROIDS = ("hidden:layer=-1", "hidden:layer=-1:scale=normalize", "prototypical:layer=-1")
PROBES = ("linear:layer=-1:scale=normalize", "linear:layer=-1:scale=standardize")
PIXELS, MAJORITY = "logistic regression on pixels", "majority of the pool"
RANDOM_FULL, RANDOM_CENTROID = "random weights, `full`", "random weights, `hidden:layer=-1`"
CONTROLS = (MAJORITY, PIXELS, *CENTROIDS, *PROBES, RANDOM_FULL, RANDOM_CENTROID)
"""Classifiers that need neither the classes of the pretrained network nor a program."""
Correct = dict[tuple[str, int], list[Any]]
"""Name and number of labeled rows per label -> for each draw, whether each row is correct, shape (rows,)."""


def option_parser(description: str | None, results: Path) -> argparse.ArgumentParser:
    """Returns a parser of the options that both benchmarks have.

    Args:
        description: The description of the benchmark.
        results: The folder of results.json and README.md by default.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, help="folder with fashion-mnist/, if the data is not installed")
    parser.add_argument("--limit", default=1000, type=int, help="number of evaluated rows")
    parser.add_argument("--out", default=Path("runs"), type=Path)
    parser.add_argument("--results", default=results, type=Path, help="folder of results.json and README.md")
    parser.add_argument("--readme", action="store_true", help="only write the tables of the results into README.md")
    return parser


def versions() -> dict[str, str]:
    """Returns the versions of the packages that the results depend on."""
    return {package: version(package) for package in ("torch", "scikit-learn")} | {"promptkit": pk.__version__}


def drawn(name: str, per_class: int, draw: int) -> str:
    """Returns a map or probe with a number of labeled rows per label and the seed of their draw."""
    return spelling(build("calibration", CALIBRATIONS, f"{name}:per_class={per_class}:seed={draw}"))


def one_pass(
    predictor: pk.Predictor, task: pk.Task, names: Sequence[str], *, per_class: int, draws: int, limit: int, out: Path
) -> Path:
    """Evaluates a task with everything that maps of up to `per_class` labeled rows need, and returns the folder of the run."""
    spellings = [drawn(name, per_class, draw) for name in names for draw in range(draws)]
    run = pk.evaluate([with_map(predictor, each) for each in spellings], task, limit=limit, out=out)
    print(f"{run.path}: {run.seconds:.0f} s", flush=True)
    return Path(run.path)


def with_map(predictor: pk.Predictor, spelled: str) -> pk.Predictor:
    """Returns the predictor with another map or probe after its first aligner."""
    aligners = [predictor.reader, build("calibration", CALIBRATIONS, spelled)]
    return pk.Predictor(predictor.model, predictor.manipulate, aligners)


def predictor_of(model: Model, reader: OutputReader, programs: Sequence[Modifier] = ()) -> pk.Predictor:
    """Returns a predictor of images that is followed by a map, which `with_map` replaces."""
    return pk.Predictor(model, [pk.ImageProcessor(), *programs], [reader, pk.labelmap.Full()])


def fitted(run: Path, names: Sequence[str], sizes: Sequence[int], draws: int) -> Correct:
    """Fits maps and probes on the outputs of a run, with several numbers of labeled rows per label."""
    spellings = {(name, size, draw): drawn(name, size, draw) for name in names for size in sizes for draw in range(draws)}
    rows = aligned(run, [*spellings.values()])
    correct: Correct = {}
    for (name, size, _), spelled in spellings.items():
        correct.setdefault((name, size), []).append(rows[spelled])
    return correct


def aligned(run: Path, spellings: Sequence[str]) -> dict[str, Any]:
    """Returns for each map, and for the first aligner if it has scores, whether each row is correct."""
    alignments = align(run, ",".join(dict.fromkeys(spellings)))
    if alignments.unavailable:
        raise SystemExit("\n".join(f"{each.name}: {each.reason}" for each in alignments.unavailable))
    return {result.align: np.asarray(result.correct, float) for result in alignments.results}


def controls(
    task: pk.Task, model: Model, run: Path, sizes: Sequence[int], *, image_size: int, draws: int, limit: int, out: Path
) -> Correct:
    """Evaluates the controls on the same labeled rows as the maps.

    Args:
        task: The task.
        model: The pretrained network.
        run: A run of it that has read its features.
        sizes: Numbers of labeled rows per label.
        image_size: The height and width of the images that the network reads.
        draws: The number of draws of the labeled rows.
        limit: The number of evaluated rows.
        out: The folder of runs.
    """
    predictor = predictor_of(random_network(model, image_size), pk.Classes(task.labels))
    names = {"full": RANDOM_FULL, "hidden:layer=-1": RANDOM_CENTROID}
    random_run = one_pass(predictor, task, [*names], per_class=max(sizes), draws=draws, limit=limit, out=out)
    of_random = {(names[name], size): rows for (name, size), rows in fitted(random_run, [*names], sizes, draws).items()}
    pretrained = fitted(run, [*CENTROIDS, *PROBES], sizes, draws)
    return {**pretrained, **of_random, **without_a_model(task, run, sizes, draws)}


def random_network(model: Model, size: int) -> Model:
    """Returns the architecture of the demo classifier with the weights that it has before training."""
    from efficientnet_lite_pytorch import EfficientNet

    torch.manual_seed(0)
    module = EfficientNet.from_name(ARCHITECTURE, image_size=[size, size])
    names = [str(number) for number in range(len(image_card(model.card).class_names))]
    return pk.load_module(module, size=size, normalization=((MEAN,) * 3, (STD,) * 3), class_names=names, name="random")


def without_a_model(task: pk.Task, run: Path, sizes: Sequence[int], draws: int) -> Correct:
    """Evaluates classifiers without a network on the same labeled rows as the maps."""
    known = {row.id: row for row in task.rows(task.spec.split)}
    evaluated = [known[record["id"]] for record in read_rows(run, frozenset({"id"}))[1]]
    items, gold = [Example(id=row.id, inputs=row.inputs) for row in evaluated], [row.label for row in evaluated]
    part = fit_part(by_hash(task.part("fit"), None), task.rows(task.spec.split))
    correct: Correct = {(MAJORITY, 0): [_scored([majority(task.pool(), task.labels)] * len(items), gold)]}
    for size in sizes:
        samples = [select_fit_rows((LabeledRows(size, draw),), part) for draw in range(draws)]
        correct[PIXELS, size] = [_scored(pixel_regression(labeled, items), gold) for labeled in samples]
    return correct


def resampled(draws: Sequence[Any]) -> Any:
    """Returns the accuracy of each draw over all rows, then over resamples of the rows, shape (draws, 1 + resamples)."""
    return np.array([mean_of(correct)(resamples(len(correct))) for correct in draws])


def shown(name: str) -> str:
    """Returns a name for a table; controls are in italics."""
    written = name if "`" in name or (name in CONTROLS and " " in name) else f"`{name}`"
    return f"*{written}*" if name in CONTROLS else written


def best_control(values: Mapping[tuple[str, int], Any], size: int) -> str:
    """Returns the control that is most accurate on the evaluated rows, which favors the controls."""
    known = [name for name in CONTROLS if (name, size) in values]
    return max(known, key=lambda name: float(values[name, size][:, 0].mean()))


def _scored(predictions: Sequence[str], gold: Sequence[str]) -> Any:
    return np.array([*map(str.__eq__, predictions, gold)], float)
