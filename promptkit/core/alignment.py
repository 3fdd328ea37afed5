"""What aligners need and give: the interfaces that their implementations in `align/` keep. Without behavior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from promptkit.core.examples import Example
from promptkit.core.requests import Generate, ScoreOutput

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


class RandomWords(NamedTuple):
    """Random words of the fit part's inputs, as many for each variable as its texts have on average; drawn by hash."""

    seed: int
    number: int


ContentFreeInput = str | RandomWords
"""A text that stands for every input of a row, or words by chance that stand for each."""

Layer = int | float
"""As `Read.hidden_layer` counts layers: 0 the embedding, -1 the last one's normalized output. Between 0 and 1 it is a share of
the depth: 0.5 is the layer half-way."""
LAYERS: tuple[Layer, ...] = (0.6, -1)
"""Those that a read-out chooses from by its labeled rows: where a text's meaning has gathered, and where it has given way to
that of the next tokens. Which of them knows more of the labels is a matter of the task (`benchmarks/alignment_learned`)."""


class PerClass(NamedTuple):
    """Labeled rows of the fit part: so many of each label, or all where there are fewer; drawn by hash."""

    rows: int
    seed: int


class TopTokens(NamedTuple):
    """The likeliest tokens at the answer slot, by their mean probability over labeled rows: the same for every row.

    A row speaks for as many tokens as there are to be.
    """

    most: int
    of: PerClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What an aligner must see besides the rows that are evaluated; collected in the same pass."""

    stand_ins: tuple[ContentFreeInput, ...] = ()
    """Each is read in the place of a row's inputs, under every context that an evaluated row is read in."""
    premise: bool = False
    """The prompt's end alone: no instruction, no demonstrations, no inputs."""
    rows: int = 0
    """How many rows of the fit part."""
    labels: bool = False
    """Whether the labels of rows of the fit part too."""
    labeled: tuple[PerClass, ...] = ()
    """Rows of the fit part, chosen by their labels."""
    labeled_fewest: int = 0
    """The fewest of them, of all labels together."""
    tokens: tuple[TopTokens, ...] = ()
    """Tokens whose log-probabilities at the answer slot are read of every row."""
    tokens_each: int = 0
    """The fewest tokens for each label."""
    layers: tuple[Layer, ...] = ()
    """Layers whose hidden state at the answer slot is read of every row."""
    named: tuple[TopTokens, ...] = ()
    """Tokens whose texts, and with them the labels' words, are read as mean hidden states of the last layer."""
    rows_each: int = 0
    """The fewest rows for each label that it can be estimated on."""
    classes: int = 0
    """How many labels there must be; 0 for any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What a model gave for rows, and nothing of their labels: each field has a line a row."""

    logprobs: Floats
    """Shape (rows, K): of the labels in the declared order, not normalized."""
    context: Integers
    """Shape (rows,): which of the evaluated rows' contexts each was read under; -1 where it is none of them."""
    tokens: Mapping[TopTokens, Floats] = field(default_factory=dict)
    """Next-token log-probabilities over the whole vocabulary, shape (rows, tokens)."""
    hidden: Mapping[Layer, Floats] = field(default_factory=dict)
    """Layer -> hidden states, shape (rows, d_model)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitData:
    """What a fit may see."""

    items: Outputs
    """The rows that are evaluated, for what is estimated on them."""
    rows: Outputs
    """Rows of the fit part: at least as many as `Needs` says, if there are so many."""
    stand_ins: Mapping[ContentFreeInput, Floats]
    """Each -> label log-probabilities, shape (contexts, K)."""
    premise: Floats | None
    """Label log-probabilities, shape (1, K); shape (rows, K) where each of `items` has answers of its own."""
    labels: tuple[str, ...] = ()
    """In the declared order."""
    labeled: Mapping[PerClass, Integers] = field(default_factory=dict)
    """Which of `rows` they are."""
    names: Mapping[TopTokens, tuple[str, ...]] = field(default_factory=dict)
    """The text of each token."""
    name_vectors: Mapping[TopTokens, Floats] = field(default_factory=dict)
    """Shape (tokens, d_model)."""
    label_vectors: Floats | None = None
    """Shape (K, d_model)."""


class OutputReader(Protocol):
    """The first aligner of a chain: says what the model is asked of a row, and reads the answer from its output."""

    @property
    def name(self) -> str:
        """Its spelling."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the declared order; none where each row has answers of its own."""
        ...

    def label_words(self) -> Mapping[str, str]:
        """Label -> the word by which demonstrations show it; empty where answers stand as they are."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Everything about it that determines a result."""
        ...


@runtime_checkable
class Scorer(OutputReader, Protocol):
    """Scores words, and turns their scores into labels."""

    def candidates(self, example: Example) -> tuple[str, ...]:
        """The labels that the row may have, in order; ties go to the first."""
        ...

    def words(self, example: Example) -> tuple[str, ...]:
        """Every word to score, in a fixed order."""
        ...

    def align(self, output: ScoreOutput) -> tuple[float, ...]:
        """One score per candidate, in order; natural-log units."""
        ...


@runtime_checkable
class Extractor(OutputReader, Protocol):
    """Finds the answer in a text that the model writes, or the one that most of several texts give."""

    @property
    def max_tokens(self) -> int:
        """The most tokens of a text."""
        ...

    @property
    def samples(self) -> int:
        """How many texts are written for a row."""
        ...

    def verb(self, example: Example, stop: Sequence[str]) -> Generate:
        """What is to be written for the row; `stop` is what would begin a further example."""
        ...

    def answer(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """The answer in a text, or None if it holds none; `choices` are what the row offers, if it offers any."""
        ...

    def normalized(self, answer: str) -> str:
        """The answer after the stated normalization: answers are the same that have one form."""
        ...

    def is_correct(self, answer: str | None, accepted: Sequence[str]) -> bool:
        """Whether the answer is the same as one of those accepted; no answer never is."""
        ...


class Fitted(Protocol):
    """A calibration that has seen its support."""

    def apply(self, outputs: Outputs) -> Floats:
        """Calibrated label log-probabilities, shape (rows, K); each row's own, whatever the others are."""
        ...


@runtime_checkable
class Calibration(Protocol):
    """A later aligner: label log-probabilities to label log-probabilities, after the fact.

    A dataclass, whose fields are everything about it that determines a result.
    """

    @property
    def name(self) -> str:
        """Its spelling."""
        ...

    @property
    def needs(self) -> Needs:
        """What `fit` must see."""
        ...

    def fit(self, support: FitData, labels: Integers | None = None) -> Fitted:
        """Estimate it. `labels`, where it needs them: of `support.rows`, shape (rows,), -1 for one that may not be known."""
        ...
