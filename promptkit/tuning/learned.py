"""Learned prompts: manipulations that are trained anew in each fold, so that no row is answered with a prompt trained on it.

The manipulations of a fold are trained on the rows of the other folds, 80% of them to train on and 20% to choose the step by,
and those of the predictor for new rows in the same way on all rows. What is trained is kept in the folder of the tuning run:

    learned/NUMBER-NAME/FOLD/1-MANIPULATION    the trained manipulation, as `promptkit train` saves it; fold 0 has all rows
    learned/NUMBER-NAME/FOLD/rows.json         the number of rows that training computed; written last
    training/                                  checkpoints of the current training run, from which it resumes
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import cast

from promptkit.core.files import write_folder
from promptkit.core.manipulation import Learnable, Manipulation, Modifier
from promptkit.manipulate.compose import composed, without_modifiers
from promptkit.manipulate.learned.storage import load_manipulation, save
from promptkit.predictor.predictor import Predictor
from promptkit.runs.files import read_json, to_file
from promptkit.training.trainer import train_manipulations
from promptkit.tuning.candidates import PromptCandidate
from promptkit.tuning.folds import TuningRows
from promptkit.tuning.training import trained_predictor, training_requests

LEARNED, TRAINING, ROWS = "learned", "training", "rows.json"
Watch = Callable[[int, int, int], None]
"""Called after each training step with the fold, the steps done, and the maximum number of steps; it may raise to stop."""


class FoldTraining:
    """Trains the manipulations of a prompt for each fold when they are first needed, and keeps them in a folder.

    Args:
        prompt: The learned prompt.
        number: Its number in the space.
        rows: The labeled rows and their folds.
        folder: The folder of the tuning run.
        cache: Whether to cache answers to requests that building a prompt needs.
        watch: Called after each training step.
    """

    def __init__(
        self, prompt: PromptCandidate, number: int, rows: TuningRows, folder: Path, *, cache: bool, watch: Watch
    ) -> None:
        self._prompt, self._rows, self._cache, self._watch = prompt, rows, cache, watch
        name = re.sub(r"[^\w=,.+-]+", "-", prompt.name)[:60].strip("-")
        self._path, self._training = folder / LEARNED / f"{number}-{name}", folder / TRAINING
        self._predictors: dict[int, Predictor] = {}
        self.requests = 0
        """The number of requests that the training so far counts as."""

    def train(self) -> None:
        """Trains the manipulations of every fold, in their order.

        Raises:
            PromptkitError: The manipulations cannot be trained.
        """
        for fold in range(1, self._rows.of + 1):
            self.predictor(fold)

    def predictor(self, fold: int) -> Predictor:
        """Returns the predictor with the manipulations of a fold, which are trained on the rows of the other folds.

        Args:
            fold: The number of the fold, from 1; 0 for the manipulations that are trained on all rows.

        Raises:
            PromptkitError: The manipulations cannot be trained.
        """
        if fold not in self._predictors:
            path = self._path / str(fold)
            if not (path / ROWS).is_file():
                self._train(fold, path)
            self.requests += training_requests(cast("dict[str, int]", read_json(path / ROWS)))
            self._predictors[fold] = self._loaded(path)
        return self._predictors[fold]

    def discard(self) -> None:
        """Deletes the trained manipulations and the checkpoints."""
        for path in (self._training, self._path):
            shutil.rmtree(path, ignore_errors=True)

    def _train(self, fold: int, path: Path) -> None:
        """Trains the manipulations for a fold and saves them."""
        predictor, config = trained_predictor(self._prompt), self._prompt.training
        assert predictor is not None
        assert config is not None
        trained = train_manipulations(
            predictor,
            self._rows.training_task(fold),
            config,
            out=self._training,
            cache=self._cache,
            progress=lambda step, steps: self._watch(fold, step, steps),
        )
        metadata = {"task": self._rows.task.name, "prompt": dict(without_modifiers(predictor.manipulate).settings())}
        for number, learned in enumerate(trained.learned, start=1):
            save(learned, path / f"{number}-{learned.name}", metadata=metadata)
        write_folder(path, {ROWS: to_file(dict(trained.rows_computed))})
        shutil.rmtree(self._training, ignore_errors=True)

    def _loaded(self, path: Path) -> Predictor:
        predictor, numbers = self._prompt.predictor, count(1)
        parts: list[Manipulation | Modifier] = [without_modifiers(predictor.manipulate)]
        for modifier in predictor.manipulate.modifiers:
            is_learned = isinstance(modifier, Learnable)
            parts.append(load_manipulation(path / f"{next(numbers)}-{modifier.name}") if is_learned else modifier)
        return predictor.with_stages(composed(parts), predictor.chain, predictor.columns)
