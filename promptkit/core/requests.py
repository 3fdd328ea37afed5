"""What a model is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from promptkit.core.arrays import Array
from promptkit.core.inputs import TextInput


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
    """The layer whose hidden state is wanted: 0 is the embedding, -1 the last layer's normalized output."""
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
    hidden: Array | None = None
    """The hidden state, of shape (d_model,); None where none was requested."""


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
