"""Scores tokens and writes texts through a server's completions, as exactly as the server allows."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log
from typing import Literal

from promptkit.core.errors import Unsupported
from promptkit.core.inputs import TextInput
from promptkit.core.model import Tokenizer
from promptkit.core.requests import Generate, Generation
from promptkit.core.thinking import open_thought, without_thoughts
from promptkit.models.generation import TAIL, sampling_seed, stop_position
from promptkit.models.http.capabilities import ServerCapabilities
from promptkit.models.http.chat import messages_of, template_arguments
from promptkit.models.http.client import Server
from promptkit.models.http.counts import ResponseCounts
from promptkit.models.http.protocol import (
    ID_PREFIX,
    completion_text,
    end_reason,
    id_spelling,
    named_body,
    prompt_tokens,
    reply_text,
    top_logprobs,
)
from promptkit.models.one_token import TokenLogprobs, TokenQuery

MIN_PROBABILITY = 1e-12
"""Lower bound of the probability that the server's most likely tokens leave to all others."""
PARTIAL_CHARACTER = "\ufffd"
"""The replacement character, which any token that is a part of a character decodes to."""


class Completions:
    """The completions of one model at a server."""

    def __init__(
        self, server: Server, model: str, capabilities: ServerCapabilities, tokenizer: Tokenizer, counts: ResponseCounts
    ) -> None:
        self._server = server
        self._model = model
        self._capabilities = capabilities
        self._tokenizer = tokenizer
        self._counts = counts

    def logprobs(self, query: TokenQuery) -> TokenLogprobs:
        """Returns the log-probabilities that a query requests."""
        body = {"model": self._model, "prompt": self._prompt(query.input), "max_tokens": 1, "temperature": 0}
        if query.token_ids and self._capabilities.named:
            named = self._complete({**body, **named_body(query.token_ids)}, query.input)
            try:
                return {token: named[id_spelling(token)] for token in query.token_ids}
            except KeyError:
                raise self._server.unexpected_response(named) from None
        top_body = {**body, "logprobs": self._capabilities.top, "return_tokens_as_token_ids": True}
        top = self._complete(top_body, query.input)
        if query.top_m:
            return self._by_token_id(top)
        return {token: self._logprob_in_top(top, token) for token in query.token_ids}

    def write(self, prompt: TextInput, verb: Generate, sample: int) -> Generation:
        """Returns one text, through chat messages where the server offers only chat."""
        body: dict[str, object] = {
            "model": self._model,
            "max_tokens": verb.max_tokens,
            "temperature": verb.temperature,
            "top_p": 1,
        }
        if verb.temperature:
            body["seed"] = sampling_seed(verb.seed, sample) >> 32
        if verb.stop:
            body["stop"] = list(verb.stop)
        if self._capabilities.named:  # vLLM's server, which otherwise applies the model's generation settings
            body |= {"top_k": -1, "min_p": 0, "repetition_penalty": 1}
        text, ended = self._text(body, prompt)
        thought = open_thought(self._tokenizer.decode(prompt.ids[-TAIL:]))
        if verb.stop and ended != "length" and not (without_thoughts(thought + text) or "").strip():
            # a stop string at the start of the reply or in a thought does not end the text
            text, ended = self._text({name: value for name, value in body.items() if name != "stop"}, prompt)
            stop = stop_position(text, verb.stop, thought=thought)
            text, ended = (text, ended) if stop is None else (text[:stop], "stop")
        return Generation(ids=self._tokenizer.encode(text).ids, text=text, ended=ended)

    def _text(self, body: Mapping[str, object], prompt: TextInput) -> tuple[str, Literal["stop", "end", "length"]]:
        """Returns one text and why it ended."""
        if self._capabilities.prompts == "chat":
            chat = {**body, "messages": messages_of(prompt.ids), **template_arguments(prompt.ids)}
            response = self._server.post("/chat/completions", chat)
            return reply_text(self._server, response), end_reason(response)
        response = self._server.post("/completions", {**body, "prompt": self._prompt(prompt)})
        return completion_text(self._server, response), end_reason(response)

    def _complete(self, body: Mapping[str, object], prompt: TextInput) -> Mapping[str, float]:
        response = self._server.post("/completions", body)
        if prompt_tokens(response) not in (None, len(prompt.ids)):
            self._counts.add_length_mismatch()
        return top_logprobs(self._server, response)

    def _prompt(self, prompt: TextInput) -> object:
        if self._capabilities.prompts == "ids":
            return list(prompt.ids)
        bos = self._tokenizer.bos  # the server adds it
        ids = prompt.ids[len(bos) :] if prompt.ids[: len(bos)] == bos else prompt.ids
        return self._tokenizer.decode(ids)

    def _logprob_in_top(self, top: Mapping[str, float], token: int) -> float:
        """Returns a token's log-probability among the most likely tokens, or its upper bound if it is not one of them."""
        text = self._tokenizer.decode([token])
        for spelling in (id_spelling(token), text, self._tokenizer.name(token)):
            if spelling in top and PARTIAL_CHARACTER not in spelling:
                return top[spelling]
        self._counts.add_outside_top(text)
        rest = max(MIN_PROBABILITY, 1 - sum(map(exp, top.values())))
        return min(log(rest), min(top.values(), default=0.0))

    def _by_token_id(self, top: Mapping[str, float]) -> TokenLogprobs:
        if not all(token.startswith(ID_PREFIX) for token in top):
            raise Unsupported(
                f"The server {self._server.url} returns tokens as text instead of token ids",
                code="no-token-ids",
                hint="Use a vllm model",
                url=self._server.url,
            )
        return {int(token.removeprefix(ID_PREFIX)): value for token, value in top.items()}
