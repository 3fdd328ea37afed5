"""The result of a training run: the trained predictor, the learned manipulations and the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.core.arguments import check_arguments
from promptkit.core.manipulation import Learnable
from promptkit.core.paths import expanded
from promptkit.core.reporting import write_report
from promptkit.display.notes import note_lines
from promptkit.display.panels import Panel, stack_panels
from promptkit.display.training_curve import training_panel
from promptkit.manipulate.compose import without_modifiers
from promptkit.manipulate.learned.storage import check_free, save
from promptkit.predictor.predictor import Predictor
from promptkit.training.checkpoint import DevEvaluation
from promptkit.training.config import TrainingConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A finished training run."""

    predictor: Predictor
    """The predictor with the learned manipulations, at the step with the best dev evaluation."""
    learned: tuple[Learnable, ...]
    """The learned manipulations."""
    trainable: int
    """The number of trained parameters, including those of reparameterization networks, which are not saved."""
    task: str
    """The name of the task."""
    config: TrainingConfig
    """The configuration."""
    learning_rates: tuple[float | None, ...]
    """The peak learning rate of each learned manipulation; None if the optimizer has none."""
    losses: tuple[float, ...]
    """The mean loss of each step's rows, before the step."""
    dev_evaluations: tuple[DevEvaluation, ...]
    """The evaluations on dev, the first one before any step."""
    best: DevEvaluation
    """The best dev evaluation."""
    stop_reason: str
    """Why training ended."""
    rows: Mapping[str, int]
    """The number of rows of each part."""
    uses_all_rows: bool
    """Whether the task's single table is the training data, so that none of its rows can be evaluated."""
    notes: tuple[str, ...]
    """Warnings for readers of the metrics."""
    rows_computed: Mapping[str, int]
    """The number of rows that the model computed: for `steps`, once for each candidate, and for evaluations on `dev`."""
    resumed: int
    """The number of steps that were done before this call."""
    seconds: float
    """The time of all calls, including loading."""
    path: Path
    """The folder of the training run, which contains the learned manipulations."""

    def save(self, folder: str | Path) -> Path:
        """Saves the learned manipulations, for `load_manipulation` and `--prompt`; several in one subfolder each.

        Args:
            folder: The folder.

        Returns:
            The folder.

        Raises:
            CheckpointError: If the folder contains another learned manipulation.
        """
        target = expanded(folder)
        paths = self._paths(target)
        check_free(target, paths)
        prompt = dict(without_modifiers(self.predictor.manipulate).settings())
        common = {"task": self.task, "prompt": prompt, "metrics": {"dev": asdict(self.best)}}
        for learned, rate, path in zip(self.learned, self.learning_rates, paths, strict=True):
            training = {**self.config.settings(), "learning_rate": rate}
            save(learned, path, metadata={**common, "training": training, **self._described(learned)})
        return target

    def _described(self, learned: Learnable) -> Mapping[str, object]:
        return learned.describe(self.predictor.model.card)

    @property
    def saved(self) -> list[str]:
        """The folders of the learned manipulations, for `--prompt`."""
        return [*map(str, self._paths(self.path))]

    def _paths(self, folder: Path) -> list[Path]:
        numbered = [folder / f"{number}-{learned.name}" for number, learned in enumerate(self.learned, start=1)]
        return [folder] if len(self.learned) == 1 else numbered

    @property
    def title(self) -> str:
        """Task, model, and what was trained."""
        return f"{self.task} · {self.predictor.model.name} · {', '.join(learned.name for learned in self.learned)}"

    def panel(self) -> Panel:
        """Returns the losses and the evaluations on dev as a part of a figure."""
        evaluations = self.dev_evaluations
        return training_panel(
            self.losses,
            [(evaluation.step, evaluation.loss) for evaluation in evaluations],
            [(evaluation.step, evaluation.value) for evaluation in evaluations if evaluation.value is not None],
            metric=self.best.metric or "",
            best=self.best.step,
            title=self.title,
        )

    def plot(self) -> Figure:
        """Plots the loss of each step, and the loss and the main metric on dev rows."""
        return stack_panels([self.panel()], f"{self.rows['pool']} training rows, {self.rows['dev']} dev rows")

    @check_arguments("TrainingResult.report")
    def report(self, path: str | Path, *, text: bool = True) -> Path:
        """Writes an HTML page with the losses, the evaluations on dev rows and learned image programs.

        Args:
            path: The file to write.
            text: Whether the page contains the texts of prompts.

        Returns:
            The path of the file.

        Raises:
            MissingPackage: The package that draws charts is not installed.
        """
        return write_report(self.path, path, text=text)

    def to_json(self) -> dict[str, object]:
        """Returns the output of `promptkit train --json`."""
        return {
            "task": self.task,
            "model": self.predictor.model.name,
            "learned": [{**learned.settings(), **self._described(learned)} for learned in self.learned],
            "optimizer": self.config.settings()["optimizer"],
            "trainable": self.trainable,
            "rows": dict(self.rows),
            "notes": list(self.notes),
            "rows_computed": dict(self.rows_computed),
            "steps": len(self.losses),
            "losses": list(self.losses),
            "dev_evaluations": [asdict(evaluation) for evaluation in self.dev_evaluations],
            "best": asdict(self.best),
            "stop_reason": self.stop_reason,
            "resumed": self.resumed,
            "seconds": round(self.seconds, 3),
            "path": str(self.path),
        }

    def __str__(self) -> str:
        metric = self.best.metric or "loss"
        parameters = "tokens searched" if self.learned[0].is_discrete else "numbers trained"
        tokens = [f"found tokens: {text['tokens']}" for text in map(self._described, self.learned) if "tokens" in text]
        lines = [
            f"{self.task} · {self.predictor.model.name} · {self.trainable} {parameters} on {self.rows['pool']} rows",
            f"dev {metric} on {self.rows['dev']} rows: {_metrics(self.dev_evaluations[0])} before, {_metrics(self.best)} after "
            f"{self.best.step} steps",
            *tokens,
            f"{len(self.losses)} steps of {self.rows_computed.get('steps', 0)} rows in all, as {self.stop_reason}; "
            f"{self.seconds:.1f} s, {self.path}",
            *note_lines(self.notes),
        ]
        return "\n".join(lines)

    __repr__ = __str__


def _metrics(evaluation: DevEvaluation) -> str:
    if evaluation.value is None:
        return f"{evaluation.loss:.3f}"
    return f"{evaluation.value:.3f} (loss {evaluation.loss:.3f})"
