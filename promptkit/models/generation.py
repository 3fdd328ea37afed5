"""Texts as they are written, a token a step: which token is taken, and when a text ends. Knows nothing of attention."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from promptkit.core.model import Tokenizer
from promptkit.core.requests import Generate, GenerateOutput, Generation, Request

TAIL = 8
"""How many of the prompt's last tokens are decoded with a text: some tokenizers drop a text's first space."""


@dataclass(slots=True, kw_only=True)
class Text:
    """One text of one request."""

    request: int
    """Index into the requests that are written together."""
    sample: int
    verb: Generate
    tail: tuple[int, ...]
    """The prompt's last tokens, learned vectors left out."""
    ids: list[int] = field(default_factory=list)
    written: str = ""
    """What the ids say."""
    generation: Generation | None = None
    """The whole text, once it has ended."""

    @property
    def uniform(self) -> float:
        """In [0, 1): what is drawn at this step, a function of (seed, sample, step) alone."""
        key = f"{self.verb.seed}\0{self.sample}\0{len(self.ids)}".encode()
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) / 2**64

    def add(self, token: int, tokenizer: Tokenizer, ends: frozenset[int]) -> None:
        """Take the next token, and see whether the text has ended."""
        self.ids.append(token)
        if token in ends:
            self._end("end", self.written)
            return
        before = tokenizer.decode(self.tail)
        self.written = tokenizer.decode([*self.tail, *self.ids])[len(before) :]
        stops = [place for stop in self.verb.stop if (place := self.written.find(stop)) >= 0]
        if stops:
            self._end("stop", self.written[: min(stops)])
        elif len(self.ids) == self.verb.max_tokens:
            self._end("length", self.written)

    def finish(self) -> None:
        """End it where an engine wrote no further, for want of room."""
        if self.generation is None:
            self._end("length", self.written)

    def _end(self, how: str, text: str) -> None:
        self.generation = Generation(ids=tuple(self.ids), text=text, ended=how)  # type: ignore[arg-type]


def texts_of(requests: Sequence[Request]) -> list[Text]:
    """The texts that are to be written, a request's samples side by side."""
    return [
        Text(request=index, sample=sample, verb=request.verb, tail=tuple(i for i in request.input.ids[-TAIL:] if i >= 0))
        for index, request in enumerate(requests)
        if isinstance(request.verb, Generate)
        for sample in range(request.verb.known, request.verb.n)
    ]


def outputs_of(texts: Sequence[Text], count: int) -> list[GenerateOutput]:
    """The output of each of the `count` requests, all of whose texts have ended."""
    generations: list[list[Generation]] = [[] for _ in range(count)]
    for text in texts:
        assert text.generation is not None
        generations[text.request].append(text.generation)
    return [GenerateOutput(generations=tuple(each)) for each in generations]


def seed_of(seed: int, sample: int) -> int:
    """For an engine that draws by itself: a seed of 63 bits, such that no sample of one seed is a sample of another."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{sample}".encode(), digest_size=8).digest()) >> 1
