"""Protocols of later aligners: calibrations, probes and label mappings. The package `align` implements them.

The protocol of first aligners is in `promptkit.core.output_reader`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


class RandomWords(NamedTuple):
    """Random in-domain words used as content-free input (Fei et al. 2023, arXiv 2305.19148).

    The words are drawn by hash from the inputs of the fit part, for each variable as many as its texts have on average.
    """

    seed: int
    """The seed of the draw."""
    number: int
    """Which of several draws with the same seed, counted from 0."""


ContentFreeInput = str | RandomWords
"""Replaces the inputs of a row to measure the bias of a prompt: one text for every variable, such as `N/A`, or random words."""

Layer = int | float
"""A layer, counted as in `Read.hidden_layer`: 0 is the embedding, -1 the normalized output of the last layer. A number between
0 and 1 is a share of the depth: 0.5 is the layer half-way."""
LAYERS: tuple[Layer, ...] = (0.6, -1)
"""Candidate layers for hidden-state probes; the layer is chosen by cross-validation on the labeled rows. Which one is better
depends on the task (`benchmarks/alignment_learned`)."""


class PerClass(NamedTuple):
    """Labeled rows of the fit part: the same number of each label, drawn by hash."""

    rows: int
    """Rows of each label; a label with fewer rows contributes all of them."""
    seed: int
    """The seed of the draw."""


class TopTokens(NamedTuple):
    """The likeliest tokens at the answer slot, by their mean probability over labeled rows. They are the same for every row."""

    size: int
    """How many tokens. The mean of a row counts only this many of the row's likeliest tokens."""
    rows: PerClass
    """The labeled rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What an aligner needs in addition to the evaluated rows. It is collected in the same pass of the model."""

    content_free: tuple[ContentFreeInput, ...] = ()
    """Content-free inputs, each read in every context of the evaluated rows."""
    premise: bool = False
    """Whether the end of the prompt is read without instruction, demonstrations and inputs."""
    rows: int = 0
    """How many rows of the fit part to read."""
    labels: bool = False
    """Whether the labels of these rows are needed too."""
    labeled: tuple[PerClass, ...] = ()
    """Rows of the fit part to read, chosen by their labels."""
    min_labeled: int = 0
    """The minimum number of `labeled` rows, over all labels together."""
    tokens: tuple[TopTokens, ...] = ()
    """Tokens whose log-probabilities at the answer slot to read for every row."""
    min_tokens_per_label: int = 0
    """The minimum number of tokens per label."""
    layers: tuple[Layer, ...] = ()
    """Layers whose hidden state at the answer slot to read for every row."""
    named_tokens: tuple[TopTokens, ...] = ()
    """Tokens whose texts, like the label words, to read as mean hidden states of the last layer."""
    min_rows_per_label: int = 0
    """The minimum number of rows per label for an estimate."""
    classes: int = 0
    """The required number of labels; 0 for any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The model's outputs for rows, without their labels. The first axis of every array is the row."""

    logprobs: Floats
    """Log-probabilities of the labels in the declared order, not normalized, shape (rows, K)."""
    context: Integers
    """The index of each row's context among the contexts of the evaluated rows, shape (rows,); -1 for any other context."""
    tokens: Mapping[TopTokens, Floats] = field(default_factory=dict)
    """Next-token log-probabilities over the full vocabulary, shape (rows, tokens)."""
    hidden: Mapping[Layer, Floats] = field(default_factory=dict)
    """Hidden states by layer, shape (rows, d_model)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitData:
    """What an aligner is fitted on."""

    items: Outputs
    """The evaluated rows, for unsupervised estimates."""
    rows: Outputs
    """Rows of the fit part: as many as `Needs` requests, or all where there are fewer."""
    content_free: Mapping[ContentFreeInput, Floats]
    """Label log-probabilities for each content-free input, shape (contexts, K)."""
    premise: Floats | None
    """Label log-probabilities of the premise, shape (1, K), or (rows, K) if `items` have different answer choices."""
    labels: tuple[str, ...] = ()
    """The labels in the declared order."""
    labeled: Mapping[PerClass, Integers] = field(default_factory=dict)
    """The indices into `rows` of each choice of labeled rows."""
    names: Mapping[TopTokens, tuple[str, ...]] = field(default_factory=dict)
    """Source tokens -> the text of each token."""
    name_vectors: Mapping[TopTokens, Floats] = field(default_factory=dict)
    """The mean hidden state of each token's text, shape (tokens, d_model)."""
    label_vectors: Floats | None = None
    """The mean hidden state of each label word, shape (K, d_model)."""


class Fitted(Protocol):
    """A fitted calibration, probe or label mapping."""

    def apply(self, outputs: Outputs) -> Floats:
        """Returns label log-probabilities, shape (rows, K). Each row's result depends only on that row."""
        ...


@runtime_checkable
class Calibration(Protocol):
    """A later aligner: maps label log-probabilities, tokens or hidden states to label log-probabilities.

    Implementations are dataclasses whose fields are everything that determines a result.
    """

    @property
    def name(self) -> str:
        """Its name on the command line."""
        ...

    @property
    def needs(self) -> Needs:
        """What `fit` needs in addition to the evaluated rows."""
        ...

    def fit(self, support: FitData, labels: Integers | None = None) -> Fitted:
        """Fits it.

        Args:
            support: What it may be fitted on.
            labels: The labels of `support.rows` if `needs.labels`, shape (rows,); -1 for a label that may not be used.
        """
        ...
