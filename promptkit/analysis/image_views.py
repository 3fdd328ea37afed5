"""Shows images as a classifier reads them, before and after the operations of a program, with their likeliest classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import PositiveInt

from promptkit.core.arguments import check_arguments
from promptkit.core.arrays import Array
from promptkit.core.errors import Unsupported
from promptkit.core.interventions import NO_INTERVENTIONS
from promptkit.core.model import ShowsPixels, image_card
from promptkit.core.requests import Classify, ClassifyOutput, Output, Request
from promptkit.display.images import Picture, pictures_panel
from promptkit.display.panels import Panel, stack_panels
from promptkit.display.table import Table
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.needs.fixed_sources import distinct_names
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOP = 3
"""The number of source classes to show for each image."""
ROWS = 4
"""The number of images to show by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageView:
    """An image as the model reads it, and its likeliest source classes."""

    pixels: Array
    """Shape (channels, height, width), values between 0 and 1, before the model's own normalization."""
    classes: tuple[tuple[str, float], ...]
    """The likeliest source classes and their probabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewedRow:
    """An image, without and with the operations of the manipulations."""

    id: str
    label: str
    """Its label in the task."""
    before: ImageView
    """Without the operations."""
    after: ImageView
    """With them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageViews:
    """Images as a model reads them. Prints as a table of their likeliest classes."""

    title: str
    """Task, split and model."""
    operations: tuple[str, ...]
    """The names of the operations, in order; empty if there are none."""
    rows: tuple[ViewedRow, ...]

    def panel(self) -> Panel:
        """Returns the pictures as a panel of a figure."""
        names = ["input", f"after {', '.join(self.operations)}"] if self.operations else ["input"]
        rows = [(row.label, [row.before, row.after][: len(names)]) for row in self.rows]
        pictures = [
            (label, [Picture(pixels=each.pixels.numpy(), classes=each.classes) for each in seen]) for label, seen in rows
        ]
        return pictures_panel(pictures, columns=names)

    def plot(self) -> Figure:
        """Draws each image before and after the operations, beside the likeliest source classes of both."""
        return stack_panels([self.panel()], f"{self.title}; images as the model reads them, with its likeliest classes")

    def table(self) -> Table:
        """Returns the likeliest source classes of each image before and after the operations."""
        columns = [("input", [row.before for row in self.rows])]
        if self.operations:
            columns.append((", ".join(self.operations), [row.after for row in self.rows]))
        texts = [["\n".join(f"{name} {share:.2f}" for name, share in seen.classes) for seen in each] for _, each in columns]
        rows = [(row.id, row.label, *cells) for row, *cells in zip(self.rows, *texts, strict=True)]
        names = ("row", "label", *(name for name, _ in columns))
        return Table(title=self.title, columns=names, rows=tuple(rows), names=len(names), caption="likeliest source classes")

    def to_json(self) -> list[dict[str, object]]:
        """Returns the likeliest source classes of each image before and after the operations, with their probabilities."""
        return [
            {"id": row.id, "label": row.label, "before": dict(row.before.classes), "after": dict(row.after.classes)}
            for row in self.rows
        ]

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


@check_arguments("view_images")
def view_images(predictor: Predictor, task: Task, *, n: PositiveInt = ROWS, split: str | None = None) -> ImageViews:
    """Returns images as a model reads them, before and after the operations of a predictor's manipulations.

    Args:
        predictor: The predictor, of an image classifier.
        task: The task.
        n: The number of images: the rows with the smallest hash of their id, as in a run with a limit.
        split: The split; the task's default if None.

    Raises:
        Unsupported: The model does not read images.
    """
    model, split = predictor.model, task.spec.split if split is None else split
    if not isinstance(model, ShowsPixels):
        raise Unsupported(
            f"The model {model.name} does not show the pixels that it reads",
            code="no-pixels",
            hint="Use an image classifier, such as vision:demo",
            model=model.name,
        )
    names = distinct_names(image_card(model.card).class_names)
    rows = by_hash(task.rows(split), n)
    rendered = predictor.bind(task, cache=ScoreCache()).encode([row.unlabeled() for row in rows])
    after = [each.request(Classify()) for each in rendered]
    before = [replace(request, interventions=NO_INTERVENTIONS) for request in after]
    requests: list[Request] = [*before, *after]
    images = [
        ImageView(pixels=pixels, classes=_likeliest(output, names))
        for pixels, output in zip(model.pixels(requests), CachedModel(model, ScoreCache())(requests), strict=True)
    ]
    return ImageViews(
        title=f"{task.name} · {split} · {model.name}",
        operations=tuple(operation.name for operation in after[0].interventions.operations),
        rows=tuple(
            ViewedRow(id=row.id, label=row.label, before=one, after=other)
            for row, one, other in zip(rows, images[: len(rows)], images[len(rows) :], strict=True)
        ),
    )


def _likeliest(output: Output, names: Sequence[str]) -> tuple[tuple[str, float], ...]:
    assert isinstance(output, ClassifyOutput)
    probabilities = np.exp(output.logprobs.numpy().astype(float))
    return tuple((names[s], float(probabilities[s])) for s in np.argsort(-probabilities, kind="stable")[:TOP])
