"""Scores labels by the one that a chat reply names, for servers that return no log-probabilities."""

from __future__ import annotations

from math import log, log1p

from promptkit.core.inputs import TextInput
from promptkit.core.model import Tokenizer
from promptkit.core.named_labels import named_label
from promptkit.core.requests import Score, ScoreOutput
from promptkit.models.http.capabilities import ServerCapabilities
from promptkit.models.http.chat import messages_of, template_arguments
from promptkit.models.http.client import Server
from promptkit.models.http.counts import ResponseCounts
from promptkit.models.http.protocol import constraint_body, parse_reply, reply_text

REST = 1e-6
"""Probability of each label that the reply does not name: the server returns none."""
REPLY_TOKENS = 32
"""Maximum number of tokens of a reply that names a label."""


class LabelReplies:
    """Labels read from the chat replies of one model at a server."""

    def __init__(
        self, server: Server, model: str, capabilities: ServerCapabilities, tokenizer: Tokenizer, counts: ResponseCounts
    ) -> None:
        self._server = server
        self._model = model
        self._constrained = capabilities.constrained
        self._tokenizer = tokenizer
        self._counts = counts

    def score(self, prompt: TextInput, verb: Score) -> ScoreOutput:
        """Returns log-probabilities near 0 for the label that the reply names, or equal ones if it names none."""
        words = [self._tokenizer.decode(ids).strip() for ids in verb.continuations]
        body = {"model": self._model, "messages": messages_of(prompt.ids), "max_tokens": REPLY_TOKENS, "temperature": 0}
        body |= template_arguments(prompt.ids)
        response = self._server.post("/chat/completions", {**body, **constraint_body(self._constrained, words)})
        named = named_label(parse_reply(self._constrained, reply_text(self._server, response)), words)
        self._counts.add_reply(names_label=named is not None)
        rows = []
        for place, ids in enumerate(verb.continuations):
            logprob = -log(len(words)) if named is None else log1p(-REST) if place == named else log(REST)
            rows.append((logprob, *[0.0] * (len(ids) - 1)))
        return ScoreOutput(logprobs=tuple(rows))
