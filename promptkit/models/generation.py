"""Generation of texts one token at a time: which token is drawn and when a text ends. Shared by all engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from promptkit.core.hashing import blake2b_int
from promptkit.core.model import Tokenizer
from promptkit.core.requests import Generate, GenerateOutput, Generation, Request
from promptkit.core.thinking import answer_start, open_thought
from promptkit.models.constraint import Constrain, Constraint

TAIL = 8
"""Number of the prompt's last tokens that are decoded with a text, because some tokenizers drop a text's first space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What an engine needs besides its probabilities to generate texts."""

    tokenizer: Tokenizer
    """Decodes texts, to find stop strings in them."""
    ends: frozenset[int]
    """Tokens that end a text."""
    constrain: Constrain | None = None
    """Returns the constraint of a schema; None for an engine that restricts texts itself."""


@dataclass(slots=True, kw_only=True)
class Text:
    """One text of one request while it is generated."""

    request: int
    """Index into the requests that are generated together."""
    sample: int
    """Number of the text among the samples of its request, from 0."""
    verb: Generate
    tail: tuple[int, ...]
    """The prompt's last tokens, without learned vectors."""
    ids: list[int] = field(default_factory=list)
    """The tokens generated so far."""
    written: str = ""
    """The decoded text of `ids`."""
    constraint: Constraint | None = None
    """Which tokens may follow; None for any."""
    generation: Generation | None = None
    """The finished text; None until it has ended."""

    @property
    def uniform(self) -> float:
        """A number in [0, 1) to sample this step's token with: a function of the seed, the sample and the step."""
        return blake2b_int(f"{self.verb.seed}\0{self.sample}\0{len(self.ids)}") / 2**64

    def add(self, token: int, writing: Writing) -> None:
        """Appends a token and ends the text if the token, a stop string or the maximum length ends it."""
        self.ids.append(token)
        if self.constraint is not None:
            self.constraint.accept(token)
        if token in writing.ends:
            self._end("end", self.written)
            return
        tail = writing.tokenizer.decode(self.tail)
        self.written = writing.tokenizer.decode([*self.tail, *self.ids])[len(tail) :]
        stop = stop_position(self.written, self.verb.stop, thought=open_thought(tail)) if self.verb.stop else None
        if stop is not None:
            self._end("stop", self.written[:stop])
        elif len(self.ids) == self.verb.max_tokens:
            self._end("length", self.written)

    def finish(self) -> None:
        """Ends a text that the engine stopped early, because the model's context was full."""
        if self.generation is None:
            self._end("length", self.written)

    def _end(self, ended: Literal["stop", "end", "length"], text: str) -> None:
        self.generation = Generation(ids=tuple(self.ids), text=text, ended=ended)


def stop_position(text: str, stops: Sequence[str], *, thought: str = "") -> int | None:
    """Returns where the first stop string of a text begins, or None if there is none.

    A stop string within a thought does not count, and a newline counts only after text that is not white space: a reply may
    begin with newlines. After a thought this holds for any stop string of white space.

    Args:
        text: The text generated so far.
        stops: The stop strings.
        thought: The marker that the prompt ends in if the text begins within a thought.
    """
    if not any(stop in text for stop in stops):
        return None
    start = answer_start(thought + text)
    if start is None:
        return None
    needs_text = {stop for stop in stops if stop == "\n" or (start > 0 and not stop.strip())}
    start = max(0, start - len(thought))
    after_blank = len(text) - len(text[start:].lstrip())
    places = [text.find(stop, after_blank if stop in needs_text else start) for stop in stops]
    return min((place for place in places if place >= 0), default=None)


def texts_of(requests: Sequence[Request], constrain: Constrain | None = None) -> list[Text]:
    """Returns the texts to generate, with the samples of one request next to each other.

    Args:
        requests: The requests.
        constrain: Returns the constraint of a schema; None for an engine that restricts texts itself.
    """
    return [
        Text(
            request=index,
            sample=sample,
            verb=request.verb,
            tail=tuple(i for i in request.text.ids[-TAIL:] if i >= 0),
            constraint=constrain(request.verb.json_schema) if constrain and request.verb.json_schema else None,
        )
        for index, request in enumerate(requests)
        if isinstance(request.verb, Generate)
        for sample in range(request.verb.known, request.verb.n)
    ]


def outputs_of(texts: Sequence[Text], count: int) -> list[GenerateOutput]:
    """Returns the outputs of `count` requests from their finished texts."""
    generations: list[list[Generation]] = [[] for _ in range(count)]
    for text in texts:
        assert text.generation is not None
        generations[text.request].append(text.generation)
    return [GenerateOutput(generations=tuple(samples)) for samples in generations]


def sampling_seed(seed: int, sample: int) -> int:
    """Returns a seed of 63 bits for an engine that samples by itself; different seeds share no sample."""
    return blake2b_int(f"{seed}\0{sample}") >> 1
