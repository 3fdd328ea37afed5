"""The space of tuning: which prompts, alignments and baselines are tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from promptkit.align.chain import reader_for
from promptkit.classical.baseline import Baseline
from promptkit.core.examples import LabeledExample
from promptkit.core.model import Model
from promptkit.tasks.task import Task
from promptkit.tuning.candidates import Candidate, PromptCandidate
from promptkit.tuning.default_prompts import default_prompts, learnable_manipulations
from promptkit.tuning.rows import labeled_rows
from promptkit.tuning.space_builder import SpaceBuilder


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Everything that is tried, cheapest first."""

    prompts: tuple[PromptCandidate, ...]
    """The prompts, each with the alignments of its answers."""
    baselines: tuple[Baseline, ...]
    """The baselines, which send no request to a language model."""
    learned: tuple[PromptCandidate, ...] = ()
    """Prompts with learned manipulations, which are trained in each fold if the budget suffices; each has its `training`."""
    apart: tuple[LabeledExample, ...] = ()
    """The rows that instructions are proposed from, and that are not answered."""
    seed: int = 0
    """The seed of proposed instructions."""
    notes: tuple[str, ...] = ()
    """What is left out, and why."""

    @property
    def all_prompts(self) -> tuple[PromptCandidate, ...]:
        """The prompts, then the learned ones; a candidate has the number of its prompt in this order."""
        return (*self.prompts, *self.learned)

    def cheapest(self) -> Space:
        """Returns the space with only the first prompt of each model, which is the cheapest one."""
        first = {id(each.predictor.model): each for each in reversed(self.prompts)}
        return replace(self, prompts=tuple(each for each in self.prompts if each in first.values()), learned=())

    def candidates(self, tokens: Sequence[float] = ()) -> list[Candidate]:
        """Returns every candidate: the baselines, then each prompt with each of its alignments.

        Args:
            tokens: The mean number of tokens of each prompt, in the order of `all_prompts`; 0 for those that are not given.
        """
        found = [Candidate(name=each.name, prompt=None, place=place) for place, each in enumerate(self.baselines)]
        for number, prompt in enumerate(self.all_prompts):
            mean = tokens[number] if number < len(tokens) else 0.0
            names = map(prompt.name_of, prompt.chains)
            found += [Candidate(name=name, prompt=number, place=place, tokens=mean) for place, name in enumerate(names)]
        return found


def default_space(task: Task, models: Sequence[Model], seed: int = 0, *, rows: Sequence[LabeledExample] | None = None) -> Space:
    """Returns the default space of a task.

    For texts these are prompts with the template of the task, with 0, 4, 8 and 16 demonstrations of several selectors, also in
    the chat format of a model that has one. For images it is the unchanged image. Every alignment that the answers allow is
    tried.

    Args:
        task: The task.
        models: The models. Sentence encoders are baselines.
        seed: The seed of demonstrations, alignments and training.
        rows: The labeled rows; by default all of the task.

    Raises:
        InputError: No model can answer the task (`empty-space`).
        PromptkitError: The rows cannot be read or rendered.
    """
    builder = SpaceBuilder(task, labeled_rows(task) if rows is None else rows, seed)
    add_default_space(builder, models)
    return built(builder)


def add_default_space(builder: SpaceBuilder, models: Sequence[Model]) -> None:
    """Adds the default space of models to a builder.

    The models take turns, so that a budget that does not suffice for all prompts tries the cheapest ones of every model.
    """
    verb = reader_for(builder.task).verb
    answering = [model for model in models if verb in model.capabilities]
    for turn in zip_longest(*(default_prompts(model, builder) for model in answering)):
        for model, manipulation in zip(answering, turn, strict=True):
            if manipulation is not None:
                builder.add(model, manipulation)
    for model in models:
        if model not in answering:
            builder.add_encoder(model)
            continue
        for manipulations in learnable_manipulations(model, builder):
            builder.add_learned(model, manipulations)


def built(builder: SpaceBuilder) -> Space:
    """Returns the space of everything that was added to a builder.

    Raises:
        InputError: There is no prompt (`empty-space`).
    """
    return Space(
        prompts=builder.prompts,
        learned=builder.learned,
        baselines=builder.baselines,
        apart=builder.apart,
        seed=builder.seed,
        notes=builder.notes,
    )
