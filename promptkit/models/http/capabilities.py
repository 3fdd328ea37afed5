"""What a server can do, found out once by asking it, from the most exact way of scoring labels to the least."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from promptkit.core.errors import ServerError
from promptkit.models.http.client import Refused, Server

MOST_TOP = (20, 5, 1)
"""How many of the likeliest tokens a server may be ready to tell."""
NONSENSE = ("qzx", "vvk")
"""Words that no model would answer unless it must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCapabilities:
    """The most exact way in which a server answers."""

    prompts: Literal["ids", "text", "chat"]
    """Token ids, which are read as they are; a text, which the server encodes; chat messages."""
    top: int = 0
    """How many of the likeliest next tokens it tells."""
    named: bool = False
    """Whether it tells the log-probabilities of tokens that a request names."""
    constrained: Literal["choice", "schema", ""] = ""
    """Of chat: how an answer is held to the labels; by vLLM's choice, OpenAI's JSON schema, or not at all."""


def probe(server: Server, model: str, ids: Sequence[int] | None, text: str) -> ServerCapabilities:
    """The abilities of a server, tried on a prompt of `ids` that say `text`; without a tokenizer there are no ids."""
    if ids is not None:
        found = _of_ids(server, model, ids) or _of_text(server, model, text)
        if found is not None:
            return found
    return _of_chat(server, model)


def choices_body(constrained: str, words: Sequence[str]) -> dict[str, Any]:
    """What holds a chat's answer to the words."""
    if constrained == "choice":
        return {"structured_outputs": {"choice": list(words)}}
    if constrained == "schema":
        properties = {"answer": {"type": "string", "enum": list(words)}}
        schema = {"type": "object", "properties": properties, "required": ["answer"], "additionalProperties": False}
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}}
    return {}


def parse_reply(constrained: str, reply: str) -> str:
    """The answer in a chat's reply."""
    if constrained == "schema":
        try:
            return str(json.loads(reply)["answer"])
        except (ValueError, TypeError, KeyError):
            return reply
    return reply


def top_logprobs(server: Server, answer: Mapping[str, Any]) -> Mapping[str, float]:
    """Token as the server spells it -> log-probability, of the first token of a completion; empty if it tells none."""
    try:
        told = (answer["choices"][0].get("logprobs") or {}).get("top_logprobs") or [{}]
        return {str(token): float(value) for token, value in told[0].items()}
    except (LookupError, TypeError, AttributeError, ValueError):
        raise server.unexpected_response(answer) from None


def named_body(token_ids: Sequence[int]) -> dict[str, object]:
    """What asks vLLM's server for the log-probabilities of these tokens, each spelt as its id."""
    return {"logprobs": 1, "logprob_token_ids": list(token_ids), "return_tokens_as_token_ids": True}


def id_spelling(token_id: int) -> str:
    """How such a server spells a token."""
    return f"token_id:{token_id}"


def _of_ids(server: Server, model: str, ids: Sequence[int]) -> ServerCapabilities | None:
    body = {"model": model, "prompt": list(ids), "max_tokens": 1, "temperature": 0}
    wanted = sorted(set(ids))[:2]
    try:
        answer = server.post("/completions", {**body, **named_body(wanted)})
    except Refused:
        answer = None
    if answer is not None and {*map(id_spelling, wanted)} <= top_logprobs(server, answer).keys() and _read(answer) == len(ids):
        return ServerCapabilities(prompts="ids", named=True, top=_most(server, body))
    try:
        answer = server.post("/completions", body)
    except Refused:
        return None
    return ServerCapabilities(prompts="ids", top=_most(server, body)) if _read(answer) in (None, len(ids)) else None


def _of_text(server: Server, model: str, text: str) -> ServerCapabilities | None:
    body = {"model": model, "prompt": text, "max_tokens": 1, "temperature": 0}
    try:
        server.post("/completions", body)
    except Refused:
        return None
    return ServerCapabilities(prompts="text", top=_most(server, body))


def _most(server: Server, body: Mapping[str, object]) -> int:
    for count in MOST_TOP:
        try:
            found = len(top_logprobs(server, server.post("/completions", {**body, "logprobs": count})))
        except Refused:
            continue
        return min(count, found)
    return 0


def _of_chat(server: Server, model: str) -> ServerCapabilities:
    messages = [{"role": "user", "content": "Answer yes or no: is water wet?"}]
    body = {"model": model, "messages": messages, "max_tokens": 16, "temperature": 0}
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
    ways: tuple[Literal["choice", "schema"], ...] = ("choice", "schema")
    for constrained in ways:
        try:
            reply = reply_of(server, server.post("/chat/completions", {**body, **choices_body(constrained, NONSENSE)}))
        except Refused:
            continue
        if parse_reply(constrained, reply).strip() in NONSENSE:
            return ServerCapabilities(prompts="chat", constrained=constrained)
    return ServerCapabilities(prompts="chat")


def reply_of(server: Server, answer: Mapping[str, Any]) -> str:
    """What a chat's assistant says."""
    try:
        return str(answer["choices"][0]["message"]["content"] or "")
    except (LookupError, TypeError):
        raise server.unexpected_response(answer) from None


def _read(answer: Mapping[str, Any]) -> int | None:
    """How many tokens the server has read, if it says so."""
    usage = answer.get("usage")
    read = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return read if isinstance(read, int) else None
