"""The parts of OpenAI's protocol, with vLLM's extensions, that the engine writes into requests and reads from responses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from promptkit.models.http.client import Server

Constraint = Literal["choice", "schema", ""]
"""What restricts a chat reply to given words: vLLM's structured outputs, OpenAI's JSON schema, or nothing."""
ID_PREFIX = "token_id:"
"""How vLLM's server spells a token in place of its text: this prefix and the token id."""


def named_body(token_ids: Sequence[int]) -> dict[str, object]:
    """Returns the fields that request the log-probabilities of these tokens from vLLM's server, spelled by token id."""
    return {"logprobs": 1, "logprob_token_ids": list(token_ids), "return_tokens_as_token_ids": True}


def id_spelling(token_id: int) -> str:
    """Returns how vLLM's server spells a token by its id."""
    return f"{ID_PREFIX}{token_id}"


def constraint_body(constrained: Constraint, words: Sequence[str]) -> dict[str, object]:
    """Returns the fields that restrict a chat reply to the words."""
    if constrained == "choice":
        return {"structured_outputs": {"choice": list(words)}}
    if constrained == "schema":
        properties = {"answer": {"type": "string", "enum": list(words)}}
        schema = {"type": "object", "properties": properties, "required": ["answer"], "additionalProperties": False}
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}}
    return {}


def parse_reply(constrained: Constraint, reply: str) -> str:
    """Returns the answer in a chat reply."""
    if constrained == "schema":
        try:
            return str(json.loads(reply)["answer"])
        except (ValueError, TypeError, KeyError):
            return reply
    return reply


def reply_text(server: Server, response: Mapping[str, object]) -> str:
    """Returns the assistant's text in a chat response."""
    try:
        return str(_object(_first_choice(response)["message"])["content"] or "")
    except (LookupError, TypeError):
        raise server.unexpected_response(response) from None


def completion_text(server: Server, response: Mapping[str, object]) -> str:
    """Returns the text of a completion."""
    try:
        text = _first_choice(response).get("text")
    except (LookupError, TypeError):
        text = None
    if not isinstance(text, str):
        raise server.unexpected_response(response)
    return text


def end_reason(response: Mapping[str, object]) -> Literal["stop", "end", "length"]:
    """Returns why generation ended, from a response whose text was already read."""
    choice = _first_choice(response)
    if choice.get("finish_reason") == "length":
        return "length"
    return "stop" if isinstance(choice.get("stop_reason"), str) else "end"


def top_logprobs(server: Server, response: Mapping[str, object]) -> Mapping[str, float]:
    """Returns the log-probabilities for the first token of a completion, by the server's spelling of each token."""
    try:
        logprobs = _object(_first_choice(response).get("logprobs") or {}).get("top_logprobs") or [{}]
        return {token: _number(value) for token, value in _first_object(logprobs).items()}
    except (LookupError, TypeError, ValueError):
        raise server.unexpected_response(response) from None


def prompt_tokens(response: Mapping[str, object]) -> int | None:
    """Returns how many tokens the server read, or None if the response does not contain the number."""
    usage = response.get("usage")
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) else None


def _first_choice(response: Mapping[str, object]) -> dict[str, object]:
    """Returns the first of a response's choices; raises LookupError or TypeError if there is none."""
    return _first_object(response["choices"])


def _first_object(value: object) -> dict[str, object]:
    """Returns the first item of a JSON array of objects; raises LookupError or TypeError if there is none."""
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} instead of a list")
    return _object(value[0])


def _object(value: object) -> dict[str, object]:
    """Returns a JSON object; raises TypeError for any other value."""
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} instead of an object")
    return value


def _number(value: object) -> float:
    """Returns a JSON number; raises TypeError or ValueError for any other value."""
    if not isinstance(value, int | float | str):
        raise TypeError(f"{type(value).__name__} instead of a number")
    return float(value)
