"""Base class of extractions: aligners that find the answer in generated text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np

from promptkit.align.extract.normalize import NORMALIZATIONS
from promptkit.align.extract.numbers import to_number
from promptkit.align.extract.outcome import numbers_of, texts_outcome, with_closed_answers, with_numbers
from promptkit.align.gold_text import GoldText
from promptkit.align.vote_counts import majority
from promptkit.core.answer_record import AnswerRecord, GenerationRecord
from promptkit.core.arguments import checked
from promptkit.core.capabilities import VerbName
from promptkit.core.errors import InputError, TaskError, Unsupported
from promptkit.core.examples import Example, LabeledExample, TaskKind
from promptkit.core.hashing import sha256
from promptkit.core.metric_input import MetricInput
from promptkit.core.model import ModelCard
from promptkit.core.output_reader import Answers, Outcome, OutputReader, Target
from promptkit.core.registry import settings_of
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Generate, GenerateOutput, Output
from promptkit.core.thinking import without_thoughts

if TYPE_CHECKING:
    from torch import Tensor

    from promptkit.core.arrays import Floats

Normalization = Literal["exact", "words", "number"]
"""How answers are normalized before they are compared; see `promptkit.align.extract.normalize`."""


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Generates text and extracts the answer from it.

    A text in which no answer is found counts as wrong, and the share of such texts is reported. The thoughts of a reasoning
    model are not part of its answer, and a text with an unclosed thought has none. If a model continues with another question
    after its answer, that part of the text is ignored.

    Subclasses implement `find`.

    Raises:
        InputError: A setting is out of range.
    """

    max_tokens: int = 256
    """Maximum number of tokens to generate."""
    stop: tuple[str, ...] = ()
    """Stop strings, in addition to those that mark the start of the next example."""
    normalize: Normalization = "words"
    """How answers are normalized before they are compared: `exact`, `words` or `number`."""
    samples: int = 1
    """Texts generated for each row; their most frequent answer is the prediction."""
    temperature: float = 0.0
    """Sampling temperature; 0 is greedy decoding."""
    seed: int = 0
    """Random seed of the sampling. The draws of a row depend only on the seed and the row."""
    numeric: bool = False
    """Whether answers are quantities, so that the distance from the correct number is measured, too."""
    name: ClassVar[str]
    task_kind: ClassVar[TaskKind] = "generation"
    verb: ClassVar[VerbName] = "Generate"
    has_scores: ClassVar[bool] = False
    labels: ClassVar[tuple[str, ...]] = ()
    closed_answers: ClassVar[tuple[str, ...]] = ()
    """All answers that it can find, if they are a closed set; figures of each of them are then available."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        checked(self)
        if self.max_tokens < 1 or not 0 <= self.temperature < float("inf"):
            raise InputError(
                f"The extraction {self.name} needs max_tokens of at least 1 and a temperature of at least 0",
                code="out-of-range",
                got=f"max_tokens={self.max_tokens}, temperature={self.temperature}",
                aligner=self.name,
                max_tokens=self.max_tokens,
                temperature=self.temperature,
            )
        check_sampling(self.samples, self.temperature)
        if not all(self.stop):
            raise InputError(
                f"A stop string of {self.name} is empty",
                code="empty-stop",
                got=f"stop={self.stop!r}",
                hint="Leave it out",
                aligner=self.name,
                stop=self.stop,
            )

    @property
    def branch(self) -> str:
        """The name of the extraction, or `majority` if several texts of a row vote."""
        return "majority" if self.samples > 1 else self.name

    @property
    def answer_tokens(self) -> int:
        """The maximum number of tokens to generate."""
        return self.max_tokens

    @property
    def gold_scorer(self) -> OutputReader:
        """Scores the gold text."""
        return GoldText(self.template_values())

    def for_model(self, card: ModelCard) -> Self:
        """Returns the extraction itself, which is the same for every model."""
        return self

    def notes(self) -> tuple[str, ...]:
        """Returns an empty tuple."""
        return ()

    def source_classes(self) -> Mapping[str, Sequence[str]]:
        """Returns an empty mapping."""
        return {}

    def settings(self) -> Mapping[str, object]:
        """Returns the name and all settings."""
        return settings_of(self)

    def template_values(self) -> Mapping[str, object]:
        """Returns an empty mapping: templates use the variables of the rows only."""
        return {}

    def label_words(self) -> Mapping[str, str]:
        """Returns an empty mapping: demonstrations show the answer text itself."""
        return {}

    def demonstrated(self, row: LabeledExample) -> tuple[str, ...]:
        """Returns the correct answer."""
        return (row.label,)

    def candidates(self, example: Example) -> tuple[str, ...]:
        """Returns no candidates: every text can be an answer."""
        return ()

    def words(self, example: Example) -> tuple[str, ...]:
        """Returns no words: nothing is scored."""
        return ()

    # ---- questions and answers ---------------------------------------------------------------------

    def request(self, example: Example, rendered: Rendered) -> Generate:
        """Returns the generation request for a row; see `generate`."""
        return self.generate(example, rendered.stop)

    def generate(self, example: Example, stop: Sequence[str]) -> Generate:
        """Returns the generation request for a row.

        Args:
            example: The row.
            stop: Stop strings that mark the start of the next example; empty strings are ignored.
        """
        key = sha256(f"{self.seed}\0{example.id}")
        return Generate(
            max_tokens=self.max_tokens,
            n=self.samples,
            stop=tuple(dict.fromkeys([*self.stop, *filter(None, stop)])),
            temperature=self.temperature,
            seed=int.from_bytes(key[:6]) if self.temperature else 0,
        )

    def scores(self, rendered: Rendered, output: Output) -> tuple[float, ...] | None:
        """Returns None: texts have no scores."""
        return None

    def prediction(self, example: Example, rendered: Rendered, output: Output) -> str | None:
        """Returns the most frequent answer of the texts, or None if none has an answer."""
        return self._majority(self._answers(example, rendered, output))

    def _answers(self, example: Example, rendered: Rendered, output: Output) -> list[str | None]:
        """Returns the answer of each text."""
        assert isinstance(output, GenerateOutput)
        texts = [rendered.answer_text(generation.text) for generation in output.generations]
        return [None if text is None else self.answer(text, example.choices) for text in texts]

    def _majority(self, answers: Sequence[str | None]) -> str | None:
        winner = majority([None if answer is None else self.normalized(answer) for answer in answers])
        return None if winner is None else answers[winner]

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Extracts the answer from the part of a text after its thoughts.

        Args:
            text: The generated text.
            choices: The answer candidates of the row, if it has any.

        Returns:
            The answer, or None if the text has none, or has an unclosed thought.
        """
        answer = without_thoughts(text)
        return None if answer is None else self.find(answer, choices)

    def find(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Finds the answer in a text without thoughts. See `answer` for arguments and result."""
        raise NotImplementedError

    def normalized(self, answer: str) -> str:
        """Returns the normal form of an answer; answers with the same normal form are equal."""
        return NORMALIZATIONS[self.normalize](answer)

    def is_correct(self, answer: str | None, accepted: Sequence[str]) -> bool:
        """Returns whether an answer equals one of the accepted answers; None is never correct."""
        return answer is not None and self.normalized(answer) in {self.normalized(self.compared(gold)) for gold in accepted}

    def compared(self, gold: str) -> str:
        """Returns what answers are compared with: what the rule extracts from the gold answer, or else all of it.

        A text that is equal to the gold answer is therefore correct wherever the rule finds an answer in it.
        """
        return self.find(gold) or gold

    def correct_fields(self, answer: str | None, accepted: Sequence[str]) -> Mapping[str, bool]:
        """Returns an empty mapping: texts have no fields."""
        return {}

    # ---- records -----------------------------------------------------------------------------------

    def record(self, example: Example, rendered: Rendered, output: Output, gold: LabeledExample | None) -> AnswerRecord:
        """Returns the texts with the answer of each, and the most frequent answer."""
        answers = self._answers(example, rendered, output)
        prediction = self._majority(answers)
        fields: AnswerRecord = {} if gold is None else self._gold_record(gold)
        fields["prediction"] = prediction
        if gold is not None:
            fields["correct"] = self.is_correct(prediction, gold.accepted)
        fields["generations"] = _generation_records(rendered, output, answers)
        return fields

    def unanswered(self, gold: LabeledExample | None) -> AnswerRecord:
        """Returns the record of a row without an answer."""
        if gold is None:
            return {}
        return {**self._gold_record(gold), "prediction": None, "correct": False}

    def _gold_record(self, gold: LabeledExample) -> AnswerRecord:
        fields: AnswerRecord = {"gold": gold.label, "accepted": list(gold.accepted)}
        if self.numeric:
            value = to_number(gold.label) if gold.value is None else gold.value
            if math.isnan(value):
                raise TaskError(
                    f"The correct answer of row {gold.id} is not a number",
                    code="not-a-number",
                    got=gold.label[:100],
                    hint="Correct the row, or leave out numeric",
                    row=gold.id,
                )
            fields["gold_value"] = value
        return fields

    def is_complete(self, record: Mapping[str, object], example: Example, gold: LabeledExample | None) -> bool:
        """Returns whether a record has as many texts as the row needs."""
        if gold is not None and not (record.get("gold") == gold.label and {"prediction", "correct"} <= record.keys()):
            return False
        texts, keys = record.get("generations"), GenerationRecord.__required_keys__
        return isinstance(texts, list) and [isinstance(x, dict) and x.keys() >= keys for x in texts] == [True] * self.samples

    # ---- results and training ----------------------------------------------------------------------

    def label_scores(self, records: Sequence[AnswerRecord]) -> Floats:
        """Raises Unsupported: texts have no scores."""
        raise self._no_scores()

    def answers(self, records: Sequence[AnswerRecord], scores: Floats | None = None) -> Answers:
        """Returns the extracted answers, which have no scores."""
        predictions = tuple(record.get("prediction") for record in records)
        return Answers(
            predictions=predictions,
            candidates=((),) * len(records),
            logprobs=np.zeros((len(records), 0)),
            values=numbers_of(predictions) if self.numeric else None,
        )

    def outcome(self, records: Sequence[AnswerRecord], scores: Floats | None = None) -> Outcome:
        """Returns the extracted answers and, with several texts for each row, the accuracies of votes among them."""
        outcome = texts_outcome(records, self.samples, self.normalized, self.compared)
        outcome = with_closed_answers(outcome, self.closed_answers, self.normalized)
        return with_numbers(outcome, records) if self.numeric else outcome

    def target(self, row: LabeledExample, example: Example, label_token_counts: tuple[int, ...]) -> Target:
        """Raises Unsupported: `gold_scorer` is trained in its place."""
        raise self._no_scores()

    def loss(self, target: Target, logprobs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Raises Unsupported: `gold_scorer` is trained in its place."""
        raise self._no_scores()

    def loss_of_output(self, target: Target, output: Output) -> tuple[float, tuple[float, ...] | None]:
        """Raises Unsupported: `gold_scorer` is trained in its place."""
        raise self._no_scores()

    def scored_input(self, rows: Sequence[LabeledExample], scores: Sequence[Sequence[float]]) -> MetricInput:
        """Raises Unsupported: generated texts have no scores."""
        raise self._no_scores()

    def _no_scores(self) -> Unsupported:
        return Unsupported(
            f"The extraction {self.name} reads generated texts, which have no scores",
            code="untrainable-aligner",
            hint="Use its gold_scorer",
            aligner=self.name,
        )


def _generation_records(rendered: Rendered, output: Output, answers: Sequence[str | None]) -> list[GenerationRecord]:
    assert isinstance(output, GenerateOutput)
    records: list[GenerationRecord] = []
    for generation, answer in zip(output.generations, answers, strict=True):
        record: GenerationRecord = {
            "text": generation.text,
            "tokens": len(generation.ids),
            "ended": generation.ended,
            "answer": answer,
        }
        is_unclosed = rendered.answer_text(generation.text) is None
        records.append({**record, "unclosed_thought": True} if is_unclosed else record)
    return records


def check_sampling(samples: int, temperature: float) -> None:
    """Raises InputError for fewer than one sample, an invalid temperature, or several samples at temperature 0."""
    if samples < 1 or not 0 <= temperature < float("inf"):
        raise InputError(
            "At least one sample is needed, at a temperature of at least 0",
            code="out-of-range",
            got=f"samples={samples}, temperature={temperature}",
            samples=samples,
            temperature=temperature,
        )
    if samples > 1 and temperature == 0:
        raise InputError(
            "At temperature 0 all samples are identical, so a vote among them is meaningless",
            code="identical-samples",
            got=f"samples={samples}, temperature={temperature}",
            hint="Set a temperature above 0, such as 0.7, or samples=1",
            samples=samples,
            temperature=temperature,
        )
