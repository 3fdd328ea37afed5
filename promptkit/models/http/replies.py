"""Scores labels by the one that a chat reply names, for servers that return no log-probabilities."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from math import log, log1p

from promptkit.core.inputs import TextInput
from promptkit.core.model import Tokenizer
from promptkit.core.named_labels import named_label
from promptkit.core.requests import Score, ScoreOutput
from promptkit.core.thinking import without_thoughts
from promptkit.models.http.capabilities import ServerCapabilities
from promptkit.models.http.chat import messages_of, template_arguments
from promptkit.models.http.client import Refused
from promptkit.models.http.exchange import Exchange
from promptkit.models.http.forms import NEUTRAL
from promptkit.models.http.protocol import Constraint, constraint_body, end_reason, is_withheld, parse_reply, reply_text

_PART = re.compile(r"\w+|\W")
"""A word, or one character between words."""
REST = 1e-6
"""Probability of each label that the reply does not name: the server returns none."""
REPLY_TOKENS = 32
"""Maximum number of tokens of a reply beyond the longest label."""
REASONING_TOKENS = 4096
"""Maximum number of tokens of a reply that is requested again because a reasoning took all of the first one's tokens."""


class LabelReplies:
    """Labels read from the chat replies of one model at a server."""

    def __init__(self, exchange: Exchange, model: str, capabilities: ServerCapabilities, tokenizer: Tokenizer) -> None:
        self._exchange = exchange
        self._server = exchange.server
        self._counts = exchange.counts
        self._model = model
        self._constrained = capabilities.constrained
        self._tokenizer = tokenizer

    def score(self, prompt: TextInput, verb: Score) -> ScoreOutput:
        """Returns a log-probability near 0 for the label that the reply names, or no answer if it names none."""
        words = [self._tokenizer.decode(ids).strip() for ids in verb.continuations]
        named = self._named_label(prompt, words)
        self._counts.add_reply(names_label=named is not None)
        if named is None:
            return ScoreOutput(logprobs=(), answered=False)
        rows = []
        for place, ids in enumerate(verb.continuations):
            logprob = log1p(-REST) if place == named else log(REST)
            rows.append((logprob, *[0.0] * (len(ids) - 1)))
        return ScoreOutput(logprobs=tuple(rows))

    def _named_label(self, prompt: TextInput, words: Sequence[str]) -> int | None:
        """Returns the index of the label that the reply names, or None."""
        longest = max(len(word.encode()) for word in words)  # no token is shorter than a byte
        body = {"model": self._model, "max_tokens": REPLY_TOKENS + longest, "temperature": 0, **NEUTRAL}
        body |= {"messages": messages_of(prompt.ids), **template_arguments(prompt.ids)}
        response, constrained = self._reply(body, words)
        reply = reply_text(self._server, response)
        if end_reason(response) == "length" and not (without_thoughts(reply) or "").strip():
            response, constrained = self._reply({**body, "max_tokens": REASONING_TOKENS}, words)
            reply = reply_text(self._server, response)
        self._counts.add_withheld(is_withheld(response))
        if constrained:
            answer = parse_reply(constrained, (without_thoughts(reply) or "").strip())
            if answer in words:
                return words.index(answer)
        named = named_label(reply, words)
        return named_label(reply, differing(words)) if named is None else named

    def _reply(self, body: Mapping[str, object], words: Sequence[str]) -> tuple[dict[str, object], Constraint]:
        """Returns the response to a request that restricts the reply to the words, if the server allows that for them."""
        if self._constrained:
            try:
                extra = constraint_body(self._constrained, words)
                return self._exchange.post("/chat/completions", body, **extra), self._constrained
            except Refused:  # such as too many or too long labels
                self._counts.add_unconstrained()
        return self._exchange.post("/chat/completions", body), ""


def differing(texts: Sequence[str]) -> list[str]:
    """Returns the texts without the words that all begin with and those that all end with.

    These are the words around a label in the target block, as in `It was good, overall`, which a reply need not repeat. If one
    of the texts would have fewer than two characters, all are returned as they are.
    """
    parts = [_PART.findall(text) for text in texts]
    before = _shared(parts)
    after = _shared([row[before:][::-1] for row in parts])
    short = ["".join(row[before : len(row) - after]).strip() for row in parts]
    return short if all(len(text) > 1 for text in short) else list(texts)


def _shared(parts: Sequence[Sequence[str]]) -> int:
    """Returns how many parts all rows begin with."""
    return sum(1 for _ in takewhile(lambda column: len({*column}) == 1, zip(*parts, strict=False)))
