"""Loads the weights in a background thread while prompts are rendered and baselines are fitted.

The first prompt without a record shows whether they are needed: they are if the score cache has no answer to it. Until then
nothing loads, so that a run whose answers are all known never loads weights.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from promptkit.core.errors import PromptkitError
from promptkit.evaluation.plan import FoldPlan, RunPlan
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel, NeedsAnswer
from promptkit.predictor.bound import BoundPredictor
from promptkit.runs.executor import InProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyLoading:
    """Where the weights load in the background, and what is done meanwhile."""

    executor: InProcess
    """Loads the weights."""
    meanwhile: Callable[[], None]
    """Called while they load, after all prompts are rendered."""

    def start_if_needed(self, prompt: FirstPrompt) -> None:
        """Starts to load the weights if they are certain to be needed.

        Args:
            prompt: A prompt of the run.
        """
        if not self.executor.has_started and prompt.is_unknown():
            self.executor.start_loading()

    def use_time(self) -> None:
        """Does what can be done while the weights load, if they do."""
        if self.executor.has_started:
            self.meanwhile()


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstPrompt:
    """The prompt of the first row of a fold without a record, which is rendered before all others."""

    fold: FoldPlan
    bound: BoundPredictor
    ask: CachedModel
    answered: Collection[str]
    """The ids of the rows that have records."""
    cache: ScoreCache | None
    model_identity: Mapping[str, object]
    """The identity of the model, for the score cache."""

    def is_unknown(self) -> bool:
        """Returns whether the model has to compute its answer. An error is left to the rendering of all prompts."""
        row = next((row for row in self.fold.rows if row.id not in self.answered), None)
        if row is None:
            return False
        example = row.unlabeled()
        try:
            with self.ask.refusing():
                (rendered,) = self.bound.encode([example])
                request = self.bound.request(example, rendered)
        except (NeedsAnswer, PromptkitError):
            return False
        known = self.cache is not None and bool(self.cache.find(self.model_identity, [request]))
        return not (known or rendered.skipped)


def can_load_early(plan: RunPlan) -> bool:
    """Returns whether the weights of a run can load in the background: nothing else may use PyTorch meanwhile.

    Loading changes settings of PyTorch that all threads share, such as the default data type.
    """
    manipulation = plan.predictor.manipulate
    other_models = [*manipulation.models, *(name for need in plan.needs for name in need.models)]
    return plan.model.capabilities.background_loading and not other_models and not manipulation.modifiers
