"""The figure of a finished run: its metric for each alignment, its label maps, and its first images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptkit.analysis.image_views import ImageViews
from promptkit.analysis.label_maps import map_panel
from promptkit.display.estimates import estimates_panel
from promptkit.display.panels import Panel, stack_panels
from promptkit.metrics.intervals import Estimate
from promptkit.runs.result import named_label_maps
from promptkit.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_run(run: Run, views: ImageViews | None = None) -> Figure:
    """Returns the figure of a run.

    Args:
        run: The run.
        views: Images to show first.
    """
    metric = run.main_metric
    estimates = [(result.align, Estimate(**result.metrics[metric.name])) for result in run.results]
    title = run.title
    panels: list[Panel] = [] if views is None else [views.panel()]
    panels.append(estimates_panel(estimates, x=metric.title, title=title))
    panels += [map_panel(name, label_map) for name, label_map in named_label_maps(run.results).items()]
    return stack_panels(panels, f"{title}; 95% intervals")
