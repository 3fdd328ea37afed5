"""Scores tokens and writes texts through a server's completions, as exactly as the server allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, inf, isnan, log, nan
from typing import Literal

from promptkit.core.errors import Unsupported
from promptkit.core.inputs import TextInput
from promptkit.core.model import Tokenizer
from promptkit.core.requests import Generate, Generation
from promptkit.core.thinking import open_thought, without_thoughts
from promptkit.models.generation import TAIL, sampling_seed, stop_position
from promptkit.models.http.capabilities import ServerCapabilities
from promptkit.models.http.chat import messages_of, template_arguments
from promptkit.models.http.exchange import Exchange
from promptkit.models.http.forms import NEUTRAL
from promptkit.models.http.protocol import (
    completion_text,
    end_reason,
    is_withheld,
    named_body,
    prompt_tokens,
    reply_text,
    top_body,
    top_entries,
)
from promptkit.models.http.schemas import ServerSchemas
from promptkit.models.http.tokens import Entry, TokenTable
from promptkit.models.http.turns import Turns
from promptkit.models.one_token import TokenLogprobs, TokenQuery

MIN_PROBABILITY = 1e-12
"""Lower bound of the probability that the server's most likely tokens leave to all others."""
TOP_ATTEMPTS = 3
"""How often the most likely tokens are requested if the response has fewer."""
MAX_STOPS = 4
"""Maximum number of stop strings in a request of OpenAI's protocol; texts are cut at the others afterwards."""


class Completions:
    """The completions of one model at a server."""

    def __init__(
        self,
        exchange: Exchange,
        model: str,
        capabilities: ServerCapabilities,
        tokenizer: Tokenizer,
        table: TokenTable | None,
        schemas: ServerSchemas,
    ) -> None:
        """Creates completions.

        Args:
            exchange: Sends the requests.
            model: The model's name at the server.
            capabilities: What the server supports.
            tokenizer: The tokenizer of the prompts.
            table: Finds the tokens of responses; None for chat, which returns none.
            schemas: How texts are restricted to JSON schemas.
        """
        self._exchange = exchange
        self._server = exchange.server
        self._counts = exchange.counts
        self._model = model
        self._capabilities = capabilities
        self._tokenizer = tokenizer
        self._table = table
        self._schemas = schemas
        self._turns = Turns()

    def logprobs(self, query: TokenQuery) -> TokenLogprobs:
        """Returns the log-probabilities that a query requests; a value that is not a number is NaN."""
        body = {"model": self._model, "prompt": self._prompt(query.prepared.text), "max_tokens": 1, "temperature": 0, **NEUTRAL}
        if query.token_ids and self._capabilities.named:
            with self._turns.of("named"):
                response = self._complete({**body, **named_body(query.token_ids)}, query.prepared.text)
            named = {entry.token_id: entry.logprob for entry in top_entries(self._server, response)}
            try:
                return {token: named[token] for token in query.token_ids}
            except KeyError:
                raise self._server.unexpected_response(response) from None
        entries = self._top({**body, **top_body(self._capabilities.top)}, query.prepared.text)
        return self._by_token_id(entries) if query.top_m else self._in_top(entries, query.token_ids)

    def write(self, prompt: TextInput, verb: Generate, sample: int) -> Generation:
        """Returns one text, through chat messages where the server offers only chat."""
        body: dict[str, object] = {
            "model": self._model,
            "max_tokens": verb.max_tokens,
            "temperature": verb.temperature,
            **NEUTRAL,
            **self._schemas.body(verb.json_schema),
        }
        if verb.temperature:
            body["seed"] = sampling_seed(verb.seed, sample) >> 32
        # between the parts of an object a server may write white space, which ends no text
        stops = tuple(stop for stop in verb.stop if stop.strip()) if verb.json_schema else verb.stop
        if stops:
            body["stop"] = list(stops[:MAX_STOPS])
        text, ended = self._text(body, prompt)
        thought = open_thought(self._tokenizer.decode(prompt.ids[-TAIL:]))
        sends_stop = bool(stops) and "stop" not in self._capabilities.form.omitted
        if sends_stop and ended != "length" and not (without_thoughts(thought + text) or "").strip():
            # a stop string at the start of the reply or in a thought does not end the text
            text, ended = self._text({name: value for name, value in body.items() if name != "stop"}, prompt)
        ids = self._tokenizer.encode(text).ids
        stop = stop_position(text, stops, thought=thought)  # the server may not accept all stop strings, or ignore them
        if stop is not None:
            return Generation(ids=ids, text=text[:stop], ended="stop")
        return Generation(ids=ids, text=text, ended=ended)

    def _text(self, body: Mapping[str, object], prompt: TextInput) -> tuple[str, Literal["stop", "end", "length"]]:
        """Returns one text and why it ended."""
        if self._capabilities.prompts == "chat":
            chat = {**body, "messages": messages_of(prompt.ids), **template_arguments(prompt.ids)}
            response = self._exchange.post("/chat/completions", chat)
            text = reply_text(self._server, response)
            self._counts.add_withheld(is_withheld(response))
            return text, end_reason(response)
        response = self._complete({**body, "prompt": self._prompt(prompt)}, prompt)
        return completion_text(self._server, response), end_reason(response)

    def _top(self, body: Mapping[str, object], prompt: TextInput) -> list[Entry]:
        """Returns the most likely tokens.

        vLLM's server answers a batch of requests as if all of them named tokens if one of them does. Requests of this process
        are kept apart; those of other clients are recognized by the number of tokens, and the request is sent again.
        """
        for _ in range(TOP_ATTEMPTS):
            with self._turns.of("top"):
                response = self._complete(body, prompt)
            entries = top_entries(self._server, response)
            if len(entries) >= (self._capabilities.top if self._capabilities.named else 1):
                return entries
        raise self._server.unexpected_response(response)

    def _complete(self, body: Mapping[str, object], prompt: TextInput) -> dict[str, object]:
        response = self._exchange.post("/completions", body)
        if prompt_tokens(response) not in (None, len(prompt.ids)):
            self._counts.add_length_mismatch()
        return response

    def _prompt(self, prompt: TextInput) -> object:
        if self._capabilities.prompts == "ids":
            return list(prompt.ids)
        bos = self._tokenizer.bos  # the server adds it
        ids = prompt.ids[len(bos) :] if prompt.ids[: len(bos)] == bos else prompt.ids
        return self._tokenizer.decode(ids)

    def _in_top(self, entries: Sequence[Entry], tokens: Sequence[int]) -> TokenLogprobs:
        """Returns the log-probabilities of tokens; for one that is not among the entries, an upper bound."""
        assert self._table is not None
        values = [entry.logprob for entry in entries]
        if any(map(isnan, values)) or max(values) == -inf:
            return dict.fromkeys(tokens, nan)
        found = self._table.logprobs(entries, tokens)
        rest = max(MIN_PROBABILITY, 1 - sum(map(exp, values)))
        bound = min(log(rest), *(value for value in values if value > -inf))
        for token in tokens:
            if token not in found:
                self._counts.add_outside_top(self._tokenizer.decode([token]))
        return {token: found.get(token, bound) for token in tokens}

    def _by_token_id(self, entries: Sequence[Entry]) -> TokenLogprobs:
        top = {entry.token_id: entry.logprob for entry in entries if entry.token_id is not None}
        if len(top) < len(entries):
            raise Unsupported(
                f"The server {self._server.url} returns tokens as text instead of token ids",
                code="no-token-ids",
                hint="Use a vllm model",
                url=self._server.url,
            )
        return top
