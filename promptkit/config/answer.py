"""The options for scoring or generating answers, on the command line and in study files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, NonNegativeFloat, PositiveInt

from promptkit.config.values import SWITCH, Spelled, on_or_off
from promptkit.core.caller import setting
from promptkit.core.errors import InputError, unknown
from promptkit.tasks.field_descriptions import NamesFrom
from promptkit.tasks.strict_model import StrictModel

if TYPE_CHECKING:
    from promptkit.core.output_reader import OutputReader
    from promptkit.tasks.task import Task

PMI, CHANNEL = "pmi", "channel"
"""The scores that are computed from summed log-probabilities: by a calibration, and with a channel template."""
SCORES = ("sum", "mean", PMI, CHANNEL)


class AnswerOptions(StrictModel):
    """How the model's answers are scored or generated. They apply to tasks whose inputs are texts."""

    score: Annotated[str, NamesFrom("promptkit.config.answer:SCORES")] = "sum"
    """Score of an answer: {names}; sum and mean are over its token log-probabilities."""
    extract: Annotated[Spelled | None, NamesFrom("promptkit.align.extract:EXTRACTIONS")] = None
    """Rule that extracts the answer from a generated text, such as json_field:field=answer or pattern:regex=...: {names}."""
    max_tokens: PositiveInt | None = None
    """Maximum number of generated tokens."""
    samples: PositiveInt | None = None
    """Number of texts sampled per row; the majority answer counts."""
    temperature: NonNegativeFloat | None = None
    """Sampling temperature; 0 is greedy decoding; by default 0.7 for several samples."""
    constrain: Annotated[str | None, BeforeValidator(on_or_off)] = None
    """For json: on restricts generated texts to the schema (default), off does not."""

    def build_first_aligner(self, task: Task, *, seed: int = 0) -> OutputReader:
        """Builds the aligner that scores labels or extracts answers.

        Args:
            task: The task, whose kind and defaults determine the aligner.
            seed: The random seed of sampled texts.

        Raises:
            InputError: The score does not exist, or an option does not apply to this kind of task.
        """
        from promptkit.align.chain import reader_for

        if self.score not in SCORES:
            raise unknown("score", self.score, SCORES)
        if self.score in (PMI, CHANNEL) and task.spec.answer is not None:
            raise InputError(
                f"The score {self.score} compares given answers, and in the task {task.name} the model generates its answer",
                code="option-not-applicable",
                hint=f"Leave out {setting('score')}",
                option="score",
                value=self.score,
                task=task.name,
            )
        if self.constrain not in (None, *SWITCH):
            raise unknown(f"value of {setting('constrain')}", str(self.constrain), SWITCH)
        generation = {
            "max_tokens": self.max_tokens,
            "samples": self.samples,
            "temperature": self.temperature,
            "constrain": None if self.constrain is None else SWITCH[self.constrain],
        }
        settings: dict[str, object] = {name: value for name, value in generation.items() if value is not None}
        if self.temperature or self.samples:
            settings["seed"] = seed
        return reader_for(task, score="mean" if self.score == "mean" else "sum", extract=self.extract, **settings)
