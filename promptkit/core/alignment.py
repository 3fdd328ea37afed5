"""Protocols and values of aligners, which turn a model's output into an answer. The aligners are in `promptkit.align`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from promptkit.core.examples import Example
from promptkit.core.requests import Generate, ScoreOutput

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


class RandomWords(NamedTuple):
    """A bag of random words from the inputs of the fit part, a content-free input.

    For each template variable it has as many words as the texts of the fit part have on average.
    """

    seed: int
    """Random seed."""
    number: int
    """Number of the bag; different numbers give different words."""


ContentFreeInput = str | RandomWords
"""A text, or random in-domain words, that replaces the inputs of a row to measure the prior of a prompt."""

Layer = int | float
"""A layer by its index, where 0 is the embedding and -1 the last layer's normalized output, or as a fraction of the depth
between 0 and 1: 0.5 is the middle layer."""
LAYERS: tuple[Layer, ...] = (0.6, -1)
"""Candidate layers of hidden-state probes; the layer is chosen by cross-validation. Middle layers represent the meaning of a
text best, and the last layer the next tokens; which is better depends on the task (`benchmarks/alignment_learned`)."""


class PerClass(NamedTuple):
    """Labeled rows of the fit part, the same number for each label."""

    rows: int
    """Rows for each label; all rows of a label that has fewer."""
    seed: int
    """Random seed of the choice of rows."""


class TopTokens(NamedTuple):
    """The tokens with the highest mean probability at the answer position, which are the same for every row.

    The mean is over labeled rows, each of which contributes its `most` most likely tokens.
    """

    most: int
    """Number of tokens."""
    of: PerClass
    """The labeled rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The data that an aligner is fitted on, besides the outputs for the evaluated rows. It is collected in the same pass."""

    stand_ins: tuple[ContentFreeInput, ...] = ()
    """Content-free inputs; each replaces a row's inputs in every context in which an evaluated row is scored."""
    premise: bool = False
    """Whether labels are also scored after the premise: the prompt's end without instruction, demonstrations and inputs."""
    rows: int = 0
    """Number of rows of the fit part."""
    labels: bool = False
    """Whether the labels of rows of the fit part are needed."""
    labeled: tuple[PerClass, ...] = ()
    """Labeled rows of the fit part."""
    labeled_fewest: int = 0
    """Minimum number of labeled rows, over all labels."""
    tokens: tuple[TopTokens, ...] = ()
    """Tokens whose log-probabilities at the answer position are needed for every row."""
    tokens_each: int = 0
    """Minimum number of tokens for each label."""
    layers: tuple[Layer, ...] = ()
    """Layers whose hidden state at the answer position is needed for every row."""
    named: tuple[TopTokens, ...] = ()
    """Tokens whose texts are embedded as mean hidden states of the last layer, together with the label words."""
    rows_each: int = 0
    """Minimum number of rows for each label."""
    classes: int = 0
    """Required number of labels; 0 for any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """A model's outputs for rows, without their labels. The first axis of every array is the row."""

    logprobs: Floats
    """Label log-probabilities in the declared order, not normalized, shape (rows, K)."""
    context: Integers
    """Index of the context of each row, among the contexts of the evaluated rows, shape (rows,); -1 for any other context."""
    tokens: Mapping[TopTokens, Floats] = field(default_factory=dict)
    """Next-token log-probabilities over the full vocabulary, shape (rows, tokens)."""
    hidden: Mapping[Layer, Floats] = field(default_factory=dict)
    """Layer -> hidden states, shape (rows, d_model)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitData:
    """The data that an aligner may use to fit."""

    items: Outputs
    """Outputs for the evaluated rows, for transductive methods."""
    rows: Outputs
    """Outputs for rows of the fit part: at least as many as `Needs` asks for, if the fit part has them."""
    stand_ins: Mapping[ContentFreeInput, Floats]
    """Content-free input -> label log-probabilities, shape (contexts, K)."""
    premise: Floats | None
    """Label log-probabilities after the premise, shape (1, K), or (rows, K) if each row has its own candidates."""
    labels: tuple[str, ...] = ()
    """The labels in the declared order."""
    labeled: Mapping[PerClass, Integers] = field(default_factory=dict)
    """Labeled rows -> their indices in `rows`."""
    names: Mapping[TopTokens, tuple[str, ...]] = field(default_factory=dict)
    """Source tokens -> the text of each token."""
    name_vectors: Mapping[TopTokens, Floats] = field(default_factory=dict)
    """Source tokens -> embeddings of their texts, shape (tokens, d_model)."""
    label_vectors: Floats | None = None
    """Embeddings of the label words, shape (K, d_model)."""


class OutputReader(Protocol):
    """The first aligner of a chain: defines the request for a row and reads the answer from the model's output."""

    @property
    def name(self) -> str:
        """The name on the command line."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the declared order; empty if each row has its own candidates or the answer is generated."""
        ...

    def label_words(self) -> Mapping[str, str]:
        """Returns the word that demonstrations show for each label; empty if they show the answer itself."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Returns the settings that determine the result."""
        ...


@runtime_checkable
class Scorer(OutputReader, Protocol):
    """Scores the candidates of a row by the log-probabilities of words."""

    def candidates(self, example: Example) -> tuple[str, ...]:
        """Returns the candidates of a row, in order; ties go to the first."""
        ...

    def words(self, example: Example) -> tuple[str, ...]:
        """Returns the words to score, in a fixed order."""
        ...

    def align(self, output: ScoreOutput) -> tuple[float, ...]:
        """Returns one score for each candidate, in order, in natural-log units.

        Args:
            output: Token log-probabilities of each of the `words`.
        """
        ...


@runtime_checkable
class Extractor(OutputReader, Protocol):
    """Extracts the answer from generated text; with several samples, the most frequent answer."""

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens of a text."""
        ...

    @property
    def samples(self) -> int:
        """Number of texts generated for each row."""
        ...

    def verb(self, example: Example, stop: Sequence[str]) -> Generate:
        """Returns the generation request for a row.

        Args:
            example: The row.
            stop: Stop strings that mark the start of the next example.
        """
        ...

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Extracts the answer.

        Args:
            text: The generated text.
            choices: The answer candidates of the row, if it has any.

        Returns:
            The answer, or None if the text has none.
        """
        ...

    def normalized(self, answer: str) -> str:
        """Returns the normal form of an answer; answers with the same normal form are equal."""
        ...

    def is_correct(self, answer: str | None, accepted: Sequence[str]) -> bool:
        """Returns whether an answer equals one of the accepted answers; None is never correct."""
        ...


class Fitted(Protocol):
    """A calibration after fitting."""

    def apply(self, outputs: Outputs) -> Floats:
        """Returns calibrated label log-probabilities, shape (rows, K). A row's result does not depend on the other rows."""
        ...


@runtime_checkable
class Calibration(Protocol):
    """An aligner that follows a scorer and corrects its label log-probabilities.

    Implementations are dataclasses; their fields are the settings that determine the result.
    """

    @property
    def name(self) -> str:
        """The name on the command line."""
        ...

    @property
    def needs(self) -> Needs:
        """The data that `fit` needs."""
        ...

    def fit(self, support: FitData, labels: Integers | None = None) -> Fitted:
        """Fits the calibration.

        Args:
            support: The model's outputs that `needs` asks for.
            labels: Indices of the labels of `support.rows`, shape (rows,), if it needs them; -1 for a row that is itself
                evaluated.
        """
        ...
