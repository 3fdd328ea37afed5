"""The values that the parts of promptkit exchange. Frozen, and without behaviour of their own.

Manipulations, aligners and models never import one another; this is where they meet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from promptkit.within import Edit, Prefix

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


# ---- rows ------------------------------------------------------------------------------------------


Part = Literal["pool", "fit", "dev"]
"""A part of a task's train split: demonstrations come from the pool, aligners are fitted on fit, searches choose by dev."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row without its label: all that a manipulation or a fit may see of a test row."""

    id: str
    """Hash of the inputs; an exact repeat gets `#2`, `#3` by row order."""
    inputs: Mapping[str, str]
    """Template variable -> text."""
    choices: tuple[str, ...] = ()
    """The answers that this row offers, in its own order; none where the task declares labels, or asks for any text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledExample(Example):
    """One row with its answer: a demonstration, a row to fit on, or the gold of a test row."""

    label: str
    """The label, the right one of `choices`, or the text that is a right answer."""
    accepted: tuple[str, ...] = ()
    """Where the answer is a text: every text that is right, `label` first."""
    working: Mapping[str, str] = field(default_factory=dict)
    """Template variable -> text, for the target block of a demonstration alone: how the answer is come by."""

    def unlabelled(self) -> Example:
        """What a model may see of it."""
        return Example(id=self.id, inputs=self.inputs, choices=self.choices)

    def answered(self) -> Example:
        """With its working, and the right answer as the one that is offered, so that how likely that is can be asked."""
        return Example(id=self.id, inputs={**self.inputs, **self.working}, choices=(self.label,))


# ---- the taxonomy ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Where a manipulation stands in the taxonomy of neural network reprogrammability."""

    format: Literal["fixed", "learnable"]
    location: Literal["input", "embedding", "hidden"]
    operator: Literal["additive", "concatenative", "parametric"]


# ---- what goes into a model ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of a prompt before it is encoded."""

    text: str
    """The text itself, or the name of one control token or slot."""
    part: str
    """Whose it is: `instruction`, `demonstration 3`, `query`, `separator`, `frame` (BOS, turn markers), or `soft NAME`."""
    control: bool = False
    """True for a control token, which is the only way that one gets into a prompt."""
    learned: int = 0
    """How many learned vectors stand here; the text is then the name of their slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The tokens `start` to `stop` (exclusive) of a prompt belong to `part`."""

    part: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """Learned numbers."""

    data: bytes
    """float32, little-endian, row by row."""
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Learned vectors, in the space of the model's token embeddings."""

    data: bytes
    """float32, little-endian, row by row: shape (rows, d_model)."""
    d_model: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """A prompt as a language model reads it."""

    ids: tuple[int, ...]
    """Token ids, control tokens included; -1-j stands for row j of `vectors`, -1 also for a slot that is not filled."""
    spans: tuple[Span, ...] = ()
    """Contiguous, in order, and covering `ids`; a token that straddles two parts is the first one's."""
    vectors: Vectors | None = None
    """What stands at the negative ids in the place of what the embedding module gives: already scaled, if it scales."""
    prefixes: tuple[Prefix[Array], ...] = ()
    """Keys and values before it."""
    edits: tuple[Edit[Array], ...] = ()
    """Changes of its hidden states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Ask for the log-probability of each token of each continuation, given the input."""

    continuations: tuple[tuple[int, ...], ...]
    """Token ids, none of them empty; they are alternatives, not a sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Ask what the model holds at the last position of the input, or over several."""

    token_ids: tuple[int, ...] = ()
    """Tokens whose next-token log-probabilities are wanted."""
    top_m: int = 0
    """How many of the likeliest next tokens are wanted."""
    hidden_layer: int | None = None
    """The layer whose hidden state is wanted: 0 is the embedding, -1 the last layer's normalised output."""
    mean_from: int | None = None
    """The hidden state's mean over the input's positions from this one on is wanted, and not that of the last alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Ask for texts that go on from the input."""

    max_tokens: int
    """The most tokens of each text."""
    n: int = 1
    """How many texts; more than one is of use with a temperature above 0 only."""
    known: int = 0
    """How many of these, the first ones, are known already: they are not written again, and are no part of the output."""
    stop: tuple[str, ...] = ()
    """A text ends before the first of these; so it does at the model's own end tokens, which are never part of it."""
    temperature: float = 0.0
    """0 takes the likeliest token (greedy); above 0 tokens are drawn from softmax(logits / temperature)."""
    seed: int = 0
    """What is drawn depends on (seed, number of the text, step) alone, besides the probabilities."""


Verb = Score | Read | Generate


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The unit of work: an input and one verb."""

    input: TextInput
    verb: Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOutput:
    """The answer to `Score`."""

    logprobs: tuple[tuple[float, ...], ...]
    """Natural-log probabilities over the whole vocabulary: one per token of each continuation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOutput:
    """The answer to `Read`."""

    logprobs: tuple[float, ...] = ()
    """Of the tokens asked for, in their order."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest next tokens and their log-probabilities, likeliest first."""
    hidden: tuple[float, ...] = ()
    """Shape (d_model,), each a float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One text that a model wrote."""

    ids: tuple[int, ...]
    """Every token written, those of the stop string and the end token included."""
    text: str
    """What they say, up to the stop string or the end token."""
    ended: Literal["stop", "end", "length"]
    """By a stop string, by the model's own end token, or by having the most tokens allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOutput:
    """The answer to `Generate`."""

    generations: tuple[Generation, ...]
    """n of them, less those that are `known`."""


Output = ScoreOutput | ReadOutput | GenerateOutput


# ---- what a model says of itself -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Plain text as token ids."""

    ids: tuple[int, ...]
    starts: tuple[int, ...]
    """For each token, the offset in the text of its first character; never decreasing."""


class Tokenizer(Protocol):
    """Text to ids for one model. Text is only ever text: no marker in it acts as a control token."""

    @property
    def control(self) -> Mapping[str, int]:
        """Every control token of the model: name -> id."""
        ...

    @property
    def bos(self) -> tuple[int, ...]:
        """What the model's tokenizer itself puts before a plain text; empty for some models."""
        ...

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens with which the model ends a text."""
        ...

    def encode(self, text: str) -> Encoding:
        """Encode without special tokens; a control token's name in the text is encoded as text."""
        ...

    def name(self, token_id: int) -> str:
        """The token's own spelling in the vocabulary."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids."""
        ...

    def chat(self, turns: Sequence[tuple[str, str]]) -> str | None:
        """The model's chat template around (role, content) turns, ready for the answer; None if it refuses."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a manipulation may know of a model, read from the model so that nobody types it."""

    tokenizer: Tokenizer
    d_model: int
    vocabulary: int
    """How many tokens its embedding has a row for."""
    layers: int
    kv_heads: int
    context_length: int
    """The most tokens that an input and its continuation may have together."""
    instruct: bool
    """Whether the model was trained on chat turns."""


class Model(Protocol):
    """A frozen model: what answers lists of requests."""

    name: str
    card: Card
    verbs: frozenset[str]
    """The names of the verbs that it answers: a subset of {"Score", "Read", "Generate"}."""
    hidden_states: bool
    """Whether `Read` gives them."""

    def identity(self) -> Mapping[str, object]:
        """Everything about the model and its settings that determines a result; needs no weights."""
        ...

    def load(self) -> None:
        """Load the weights, if they are not yet; `answer` does so too."""
        ...

    def batches(self, requests: Sequence[Request]) -> Sequence[tuple[int, ...]]:
        """The indices of the requests that are computed together, in the order of `answer`."""
        ...

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        """Yield (indices of requests, their outputs) a batch at a time.

        The batches depend on `requests` and the settings alone. Those whose requests are all in
        `done` are skipped; the others are computed whole.
        """
        ...

    def notes(self) -> Sequence[str]:
        """What the model had to do that a reader of the results should know, such as splitting a batch."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """A model that reads learned vectors among the tokens of a prompt."""

    def embed(self, ids: Sequence[int]) -> Vectors:
        """What its embedding module gives these tokens, so that as vectors they are the tokens."""
        ...


@runtime_checkable
class Opens(Protocol):
    """A model whose layers take learned keys, values and edits."""

    def keys_values(self, ids: Sequence[int]) -> Prefix[Array]:
        """What its layers hold of these tokens, so that as a prefix they are the tokens."""
        ...


# ---- what a manipulation makes of a row ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One row as the model will read it, with the continuations that are to be scored."""

    input: TextInput
    pieces: tuple[Piece, ...]
    """What `input` was encoded from."""
    demos: tuple[str, ...]
    """Ids of the demonstrations shown, in order."""
    demo_labels: tuple[str, ...]
    """Their labels, where labels are the same for every row; none elsewhere."""
    dropped: tuple[str, ...]
    """Ids of the demonstrations left out because the prompt would not fit the model's context."""
    targets: tuple[str, ...]
    """The text of each continuation: the template's target block with one label word."""
    continuations: tuple[tuple[int, ...], ...]
    """Token ids of the targets, counted from the shared boundary."""
    boundary: int
    """How many of the prompt's own last tokens are scored with every continuation because one of them
    merges with the prompt; 0 where none does, as it should be."""
    given: tuple[int, ...] = ()
    """By the channel: how many of each continuation's first tokens are its label's, behind which the input is scored."""
    stop: tuple[str, ...] = ()
    """What would begin a further example: a text that the model writes has ended before it."""
