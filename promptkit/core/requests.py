"""Requests to a model, and its outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal

import numpy as np

from promptkit.core.arrays import Array, as_array
from promptkit.core.inputs import ImageInput, Input, TextInput, image_input, text_input
from promptkit.core.interventions import NO_INTERVENTIONS, HiddenEdit, InputOperation, Interventions, KVPrefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Requests the log-probability of each token of each continuation, given the input.

    A causal model continues the input, an encoder-decoder writes a separate text, and a masked language model predicts each
    token of a continuation in place of the mask in the input, given the others.
    """

    continuations: tuple[tuple[int, ...], ...]
    """Alternative continuations of the input as token ids, none of them empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Requests next-token log-probabilities or a hidden state at the last position of the input, or a mean hidden state.

    The position is the first one of the decoder for an encoder-decoder, whose means are over the encoder's states, and the mask
    for a masked language model.
    """

    token_ids: tuple[int, ...] = ()
    """Tokens whose next-token log-probabilities to return."""
    top_m: int = 0
    """How many of the likeliest next tokens to return."""
    hidden_layer: int | None = None
    """The layer whose hidden state to return: 0 is the embedding, -1 the normalized output of the last layer, -2 the output of
    the layer before it."""
    mean_from: int | None = None
    """If given, the hidden state is the mean over all positions of the input from this one on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Requests generated texts that continue the input."""

    max_tokens: int
    """The maximum number of tokens of each text."""
    n: int = 1
    """How many texts to generate; more than one is useful only with a temperature above 0."""
    known: int = 0
    """How many of the `n` texts, counted from the first, are known already. They are not generated again and not returned."""
    stop: tuple[str, ...] = ()
    """Stop strings. A text ends before the first stop string, or at one of the model's end tokens. A stop string within a
    thought does not end a text, and a newline does so only after text that is not white space."""
    temperature: float = 0.0
    """0 takes the likeliest token (greedy decoding); above 0, tokens are sampled from softmax(logits / temperature)."""
    seed: int = 0
    """The seed of sampling. Given the probabilities, a sample depends only on (seed, number of the text, step)."""
    json_schema: str = ""
    """If given, the JSON text of the schema of an object that the text is restricted to. The object is written on one line with
    its fields in the order of the schema, and the text ends after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classify:
    """Requests the logits of the classes of a classifier."""

    classes: tuple[int, ...] = ()
    """Indices of the classes; all classes if empty."""


Verb = Score | Read | Generate | Classify


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a model reads for one row: an input, and the interventions on the model while it reads the input."""

    input: Input
    interventions: Interventions[Array] = NO_INTERVENTIONS

    @property
    def text(self) -> TextInput:
        """The input as an encoded prompt; raises Unsupported for an input of another modality."""
        return text_input(self.input)

    @property
    def image(self) -> ImageInput:
        """The input as an image; raises Unsupported for an input of another modality."""
        return image_input(self.input)

    def adding(
        self,
        *,
        operations: tuple[InputOperation[Array], ...] = (),
        prefixes: tuple[KVPrefix[Array], ...] = (),
        edits: tuple[HiddenEdit[Array], ...] = (),
    ) -> Prepared:
        """Returns a copy with further interventions, which are applied after the present ones."""
        present = self.interventions
        return replace(
            self,
            interventions=replace(
                present,
                operations=(*present.operations, *operations),
                prefixes=(*present.prefixes, *prefixes),
                edits=(*present.edits, *edits),
            ),
        )

    def request(self, verb: Verb) -> Request:
        """Returns the request to compute something for this input with these interventions."""
        return Request(input=self.input, interventions=self.interventions, verb=verb)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An input, what to compute for it, and the interventions on the model: the unit of work of a model."""

    input: Input
    verb: Verb
    interventions: Interventions[Array] = NO_INTERVENTIONS

    @property
    def text(self) -> TextInput:
        """The input as an encoded prompt; raises Unsupported for an input of another modality."""
        return text_input(self.input)

    @property
    def image(self) -> ImageInput:
        """The input as an image; raises Unsupported for an input of another modality."""
        return image_input(self.input)

    @property
    def prepared(self) -> Prepared:
        """What the model reads, without the verb."""
        return Prepared(input=self.input, interventions=self.interventions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOutput:
    """The output of `Score`."""

    logprobs: tuple[tuple[float, ...], ...]
    """The natural-log probability, over the whole vocabulary, of each token of each continuation; empty without an answer."""
    answered: bool = True
    """Whether the model gave an answer. False for a chat reply that was read for a continuation and names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOutput:
    """The output of `Read`."""

    logprobs: tuple[float, ...] = ()
    """The log-probabilities of `Read.token_ids`, in the same order."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest next tokens with their log-probabilities, likeliest first."""
    hidden: Array | None = None
    """The hidden state, shape (d_model,); None if it was not requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A generated text."""

    ids: tuple[int, ...]
    """All generated tokens, including those of the stop string and the end token."""
    text: str
    """The text before the stop string or the end token."""
    ended: Literal["stop", "end", "length"]
    """Why it ended: at a stop string, at the model's end token, or at the maximum number of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOutput:
    """The output of `Generate`."""

    generations: tuple[Generation, ...]
    """The texts that were not known: `n` - `known` of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyOutput:
    """The output of `Classify`."""

    logits: Array
    """The logits of the requested classes, shape (classes,)."""
    log_normalizer: float
    """log sum exp of the logits of all classes of the model."""

    @property
    def logprobs(self) -> Array:
        """The natural-log probabilities of the requested classes among all classes of the model, shape (classes,)."""
        return as_array(self.logits.numpy() - self.log_normalizer)


Output = ScoreOutput | ReadOutput | GenerateOutput | ClassifyOutput


def is_finite(output: Output) -> bool:
    """Returns whether all log-probabilities and hidden states of an output are finite numbers."""
    if isinstance(output, ScoreOutput):
        return all(isfinite(x) for tokens in output.logprobs for x in tokens)
    if isinstance(output, ReadOutput):
        states_are_finite = output.hidden is None or bool(np.isfinite(output.hidden.numpy()).all())
        return states_are_finite and all(map(isfinite, output.logprobs)) and all(isfinite(x) for _, x in output.top)
    if isinstance(output, ClassifyOutput):
        return isfinite(output.log_normalizer) and bool(np.isfinite(output.logits.numpy()).all())
    return True
