"""The parts of OpenAI's protocol, with extensions of other servers, that the engine writes and reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import inf, nan
from typing import Literal

from promptkit.models.http.client import Server
from promptkit.models.http.tokens import Entry

Constraint = Literal["choice", "guided", "schema", "grammar", ""]
"""The means by which a chat reply is restricted to given words: structured outputs of vLLM, the guided choice of older versions
of vLLM, the JSON schema of OpenAI, the grammar of llama.cpp, or none."""
CONSTRAINTS: Mapping[Constraint, str] = {
    "choice": "structured_outputs",
    "guided": "guided_choice",
    "schema": "response_format",
    "grammar": "grammar",
}
"""The ways to restrict a reply, in the order in which they are tried, with the field of the request."""
SchemaField = Literal["response_format", "json_schema"]
"""The field of a request that restricts its text to a JSON schema: of OpenAI and most servers, or of llama.cpp."""
ID_PREFIX = "token_id:"
"""How vLLM's server spells a token in place of its text: this prefix and the token id."""
BYTES_PREFIX = "bytes:"
"""How OpenAI's completions spell a token that is a part of a character: this prefix and escaped bytes."""
ROUNDING = 0.01
"""How far a log-probability may exceed 0 by rounding."""
TEXT_PARTS = ("text", "output_text")
"""The types of the parts of a message's content that are its text."""
OTHER_PARTS = ("thinking", "reasoning", "reasoning_text", "refusal", "tool_use", "tool_call")
"""The types of parts that are not the answer."""
FAILURES = ("abort", "insufficient_system_resource")
"""The finish reasons of a failed generation, besides those that end in `error`."""
WITHHELD = ("content_filter", "sensitive")
"""The finish reasons of a generation that a filter removed."""
TOO_LONG = ("length", "model_context_window_exceeded")
"""The finish reasons of a generation that reached a maximum length."""
CONTENT_REPLACEMENTS = ("refusal", "reasoning_content", "reasoning", "tool_calls")
"""The fields of a message that has no content."""


def named_body(token_ids: Sequence[int]) -> dict[str, object]:
    """Returns the fields that request the log-probabilities of these tokens from vLLM's server, spelled by token id."""
    return {"logprobs": 1, "logprob_token_ids": list(token_ids), "return_tokens_as_token_ids": True}


def top_body(count: int) -> dict[str, object]:
    """Returns the fields that request the log-probabilities of the most likely tokens, by token id where the server can."""
    return {"logprobs": count, "return_tokens_as_token_ids": True}


def constraint_body(constrained: Constraint, words: Sequence[str]) -> dict[str, object]:
    """Returns the fields that restrict a chat reply to the words."""
    if constrained == "choice":
        return {"structured_outputs": {"choice": list(words)}}
    if constrained == "guided":
        return {"guided_choice": list(words)}
    if constrained == "grammar":
        return {"grammar": "root ::= " + " | ".join(json.dumps(word, ensure_ascii=False) for word in words)}
    if constrained == "schema":
        return schema_body("response_format", words_schema(words))
    return {}


def words_schema(words: Sequence[str]) -> dict[str, object]:
    """Returns the schema of an object whose only field, `answer`, is one of the words."""
    properties = {"answer": {"type": "string", "enum": list(words)}}
    return {"type": "object", "properties": properties, "required": ["answer"], "additionalProperties": False}


def schema_body(field: SchemaField, schema: Mapping[str, object]) -> dict[str, object]:
    """Returns the field that restricts the text of a request to a JSON schema."""
    if field == "json_schema":
        return {"json_schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}}


def parse_reply(constrained: Constraint, reply: str) -> str:
    """Returns the answer in a chat reply."""
    if constrained == "schema":
        try:
            return str(json.loads(reply)["answer"])
        except (ValueError, TypeError, KeyError):
            return reply
    return reply


def reply_text(server: Server, response: Mapping[str, object]) -> str:
    """Returns the assistant's text in a chat response; empty if the message has only a refusal, a reasoning or tool calls."""
    try:
        message = _object(_first_choice(response)["message"])
        content = message.get("content")
        if content is None and ("content" in message or any(name in message for name in CONTENT_REPLACEMENTS)):
            return ""
        return content if isinstance(content, str) else _joined(content)
    except (LookupError, TypeError):
        raise server.unexpected_response(response) from None


def is_withheld(response: Mapping[str, object]) -> bool:
    """Returns whether a chat response has a refusal or a filtered text in place of an answer, after its text was read."""
    choice = _first_choice(response)
    return choice.get("finish_reason") in WITHHELD or bool(_object(choice["message"]).get("refusal"))


def failure(response: Mapping[str, object]) -> str | None:
    """Returns why the generation failed, as gateways report it in a response of status 200; None if it did not fail."""
    choices = response.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    if error := response.get("error") or choice.get("error"):
        return str(error.get("message") or error) if isinstance(error, dict) else str(error)
    reasons = [str(choice.get(name)) for name in ("finish_reason", "native_finish_reason")]
    return next((reason for reason in reasons if reason in FAILURES or reason.endswith("error")), None)


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
    if choice.get("finish_reason") in TOO_LONG:
        return "length"
    return "stop" if isinstance(choice.get("stop_reason"), str) else "end"


def top_entries(server: Server, response: Mapping[str, object]) -> list[Entry]:
    """Returns the tokens with log-probabilities at the first position of a completion.

    A log-probability that is null, as JSON writes NaN, is NaN.
    """
    try:
        logprobs = _object(_first_choice(response).get("logprobs") or {})
        if content := logprobs.get("content"):  # llama.cpp's server
            return [_entry(_object(item)) for item in _list(_first_object(content)["top_logprobs"])]
        top = _first_object(logprobs.get("top_logprobs") or [{}])
        in_bytes = any(token.startswith(BYTES_PREFIX) for token in top)
        return [_spelled(token, _logprob(value), in_bytes=in_bytes) for token, value in top.items()]
    except (LookupError, TypeError, ValueError):
        raise server.unexpected_response(response) from None


def prompt_tokens(response: Mapping[str, object]) -> int | None:
    """Returns how many tokens the server read, or None if the response does not contain the number."""
    usage = response.get("usage")
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) else None


def _entry(item: Mapping[str, object]) -> Entry:
    token_id, data = item.get("id"), item.get("bytes")
    return Entry(
        text=str(item.get("token", "")),
        logprob=_logprob(item["logprob"]),
        token_id=token_id if isinstance(token_id, int) else None,
        data=bytes(data) if isinstance(data, list) else None,
    )


def _spelled(token: str, logprob: float, *, in_bytes: bool) -> Entry:
    number = token.removeprefix(ID_PREFIX)
    token_id = int(number) if number != token and number.isdecimal() else None
    escaped = token.removeprefix(BYTES_PREFIX)
    data = escaped.encode("latin-1").decode("unicode_escape").encode("latin-1") if escaped != token else token.encode()
    return Entry(text=token, logprob=logprob, token_id=token_id, data=data if in_bytes else None)


def _joined(content: object) -> str:
    """Returns the text of a message whose content is a list of parts."""
    texts = []
    for part in _list(content):
        if isinstance(part, str):
            texts.append(part)
            continue
        kind = _object(part).get("type", "text")
        if kind in TEXT_PARTS:
            texts.append(_text(_object(part)["text"]))
        elif kind not in OTHER_PARTS:
            raise LookupError(kind)
    return "".join(texts)


def _first_choice(response: Mapping[str, object]) -> dict[str, object]:
    """Returns the choice that a response numbers 0, or else its first; raises LookupError or TypeError if there is none."""
    choices = [_object(choice) for choice in _list(response["choices"])]
    return next((choice for choice in choices if choice.get("index") == 0), None) or choices[0]


def _first_object(value: object) -> dict[str, object]:
    """Returns the first item of a JSON array of objects; raises LookupError or TypeError if there is none."""
    return _object(_list(value)[0])


def _list(value: object) -> list[object]:
    """Returns a JSON array; raises TypeError for any other value."""
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} instead of a list")
    return value


def _object(value: object) -> dict[str, object]:
    """Returns a JSON object; raises TypeError for any other value."""
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} instead of an object")
    return value


def _text(value: object) -> str:
    """Returns a JSON string; raises TypeError for any other value."""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of a string")
    return value


def _logprob(value: object) -> float:
    """Returns a log-probability, or NaN for null and infinity; raises TypeError or ValueError for any other value."""
    if value is None:
        return nan
    if not isinstance(value, int | float | str):
        raise TypeError(f"{type(value).__name__} instead of a number")
    logprob = float(value)
    if logprob == inf:
        return nan
    if logprob > ROUNDING:
        raise ValueError(f"{value} is not a log-probability")
    return logprob
