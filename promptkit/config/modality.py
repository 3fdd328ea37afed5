"""Builds the first manipulation and the first aligner of a predictor, which depend on the kind of the task's inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.config.answer import CHANNEL, PMI, AnswerOptions
from promptkit.config.prompt import PromptOptions
from promptkit.config.reasoning import ReasoningPromptOptions
from promptkit.core.caller import setting
from promptkit.core.errors import InputError
from promptkit.tasks.strict_model import StrictModel

if TYPE_CHECKING:
    from promptkit.align.chain import Aligners
    from promptkit.core.manipulation import Manipulation
    from promptkit.core.output_reader import OutputReader
    from promptkit.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStages:
    """The first manipulation and the first aligner of a predictor."""

    encoder: Manipulation
    """Encodes rows as inputs of the model."""
    reader: OutputReader
    """Reads the answer from the model's output; calibrations follow it."""
    uncalibrated: Aligners | None
    """The aligners of the predictor without calibration; None if the first aligner alone predicts nothing."""


def build_first_stages(task: Task, prompt: PromptOptions, answer: AnswerOptions) -> FirstStages:
    """Builds the first manipulation and the first aligner for a task.

    Args:
        task: The task.
        prompt: The options of the prompt.
        answer: How answers are scored or generated.

    Raises:
        InputError: An option is invalid, or does not apply to this kind of task.
    """
    from promptkit.align.chain import CALIBRATIONS, needs_calibration
    from promptkit.manipulate.image.processor import ImageProcessor

    is_image = task.spec.modality == "image"
    if is_image:
        _check_no_option_for_texts(task, prompt, answer)
    reader = answer.build_first_aligner(task, seed=prompt.seed)
    uncalibrated: Aligners | None = None if needs_calibration(reader) else reader
    if answer.score == PMI:
        uncalibrated = [reader, CALIBRATIONS[PMI]()]
    encoder = ImageProcessor() if is_image else prompt.build_prompt(task, channel=answer.score == CHANNEL)
    return FirstStages(encoder=encoder, reader=reader, uncalibrated=uncalibrated)


def _check_no_option_for_texts(task: Task, prompt: PromptOptions, answer: AnswerOptions) -> None:
    given = [*_given(prompt, ReasoningPromptOptions), *_given(answer, AnswerOptions)]
    if given:
        raise option_for_texts(given[0], task.name)


def option_for_texts(option: str, task: str) -> InputError:
    """Returns the error for an option of prompts that is given for a task of images."""
    return InputError(
        f"{setting(option)} is for prompts, and the task {task} has images",
        code="option-not-applicable",
        hint="Leave it out",
        option=option,
        task=task,
    )


def _given(options: StrictModel, group: type[StrictModel]) -> list[str]:
    """The options of a group that differ from their defaults, without the seed."""
    values = options.model_dump(include=set(group.model_fields) - {"seed"})
    return [name for name, value in values.items() if value != type(options).model_fields[name].default]
