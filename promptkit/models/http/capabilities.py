"""Finds out what a server supports by trying requests, from the most exact way of scoring labels to the least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from promptkit.core.errors import ServerError
from promptkit.models.http.client import Refused, Server
from promptkit.models.http.protocol import (
    Constraint,
    constraint_body,
    id_spelling,
    named_body,
    parse_reply,
    prompt_tokens,
    reply_text,
    top_logprobs,
)

TOP_COUNTS = (20, 5, 1)
"""Numbers of most likely tokens to try, largest first."""
NONSENSE_WORDS = ("qzx", "vvk")
"""Words that a model answers with only if the server enforces them."""
CONSTRAINTS: tuple[Constraint, ...] = ("choice", "schema")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCapabilities:
    """The most exact way in which a server answers."""

    prompts: Literal["ids", "text", "chat"]
    """`ids`: token ids are read as they are. `text`: the server encodes a text. `chat`: chat messages only."""
    top: int = 0
    """How many of the most likely next tokens it returns."""
    named: bool = False
    """Whether it returns the log-probabilities of tokens that a request names."""
    constrained: Constraint = ""
    """For chat, what restricts a reply to the labels: vLLM's choice, OpenAI's JSON schema, or nothing."""


def probe(server: Server, model: str, ids: Sequence[int] | None, text: str) -> ServerCapabilities:
    """Returns the capabilities of a server.

    Args:
        server: The server.
        model: The model's name at the server.
        ids: The token ids of a prompt to try; None without a tokenizer, so that only chat is tried.
        text: The text of that prompt.

    Raises:
        ServerError: The server supports neither completions nor chat for the model.
    """
    if ids is not None:
        found = _probe_ids(server, model, ids) or _probe_text(server, model, text)
        if found is not None:
            return found
    return _probe_chat(server, model)


def _probe_ids(server: Server, model: str, ids: Sequence[int]) -> ServerCapabilities | None:
    body = {"model": model, "prompt": list(ids), "max_tokens": 1, "temperature": 0}
    if _returns_named_tokens(server, body, ids):
        return ServerCapabilities(prompts="ids", named=True, top=_max_top(server, body))
    try:
        response = server.post("/completions", body)
    except Refused:
        return None
    if prompt_tokens(response) not in (None, len(ids)):
        return None
    return ServerCapabilities(prompts="ids", top=_max_top(server, body))


def _returns_named_tokens(server: Server, body: Mapping[str, object], ids: Sequence[int]) -> bool:
    named = sorted(set(ids))[:2]
    try:
        response = server.post("/completions", {**body, **named_body(named)})
    except Refused:
        return False
    return {*map(id_spelling, named)} <= top_logprobs(server, response).keys() and prompt_tokens(response) == len(ids)


def _probe_text(server: Server, model: str, text: str) -> ServerCapabilities | None:
    body = {"model": model, "prompt": text, "max_tokens": 1, "temperature": 0}
    try:
        server.post("/completions", body)
    except Refused:
        return None
    return ServerCapabilities(prompts="text", top=_max_top(server, body))


def _max_top(server: Server, body: Mapping[str, object]) -> int:
    for count in TOP_COUNTS:
        try:
            found = len(top_logprobs(server, server.post("/completions", {**body, "logprobs": count})))
        except Refused:
            continue
        return min(count, found)
    return 0


def _probe_chat(server: Server, model: str) -> ServerCapabilities:
    messages = [{"role": "user", "content": "Answer yes or no: is water wet?"}]
    body: dict[str, object] = {"model": model, "messages": messages, "max_tokens": 16, "temperature": 0}
    try:
        server.post("/chat/completions", {**body, "max_tokens": 1})
    except Refused as error:
        raise ServerError(
            f"The server {server.url} offers neither completions nor chat for the model {model}: {error}",
            code="no-usable-endpoint",
            hint="Check the model's name and that base_url ends in /v1",
            url=server.url,
            model=model,
        ) from None
    for constrained in CONSTRAINTS:
        try:
            response = server.post("/chat/completions", {**body, **constraint_body(constrained, NONSENSE_WORDS)})
        except Refused:
            continue
        if parse_reply(constrained, reply_text(server, response)).strip() in NONSENSE_WORDS:
            return ServerCapabilities(prompts="chat", constrained=constrained)
    return ServerCapabilities(prompts="chat")
