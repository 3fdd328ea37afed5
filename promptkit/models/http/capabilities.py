"""Finds out what a server supports by trying requests, from the most exact way of scoring labels to the least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from promptkit.core.errors import ServerError
from promptkit.models.http.client import Refused, Server
from promptkit.models.http.forms import NEUTRAL, RequestForm, fit_form
from promptkit.models.http.protocol import (
    CONSTRAINTS,
    Constraint,
    constraint_body,
    named_body,
    parse_reply,
    prompt_tokens,
    reply_text,
    top_body,
    top_entries,
)

TOP_COUNTS = (20, 5, 1)
"""Numbers of most likely tokens to try, largest first."""
NONSENSE_WORDS = ("qzx", "vvk")
"""Words that a model answers with only if the server enforces them."""
PROBE_STOP = "\n\n\n\n"
"""A stop string that hardly any reply contains."""
PROBE_TOKENS = 256
"""Maximum number of tokens of a chat reply that is tried; enough for a short reasoning before an enforced word."""


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
    """For chat, how a reply is restricted to the labels."""
    form: RequestForm = field(default_factory=RequestForm)
    """The form of the requests that it accepts."""


def probe(server: Server, model: str, ids: Sequence[int] | None, text: str) -> ServerCapabilities:
    """Returns the capabilities of a server.

    Args:
        server: The server.
        model: The model's name at the server.
        ids: The token ids of a prompt to try; None without a tokenizer, so that only chat is tried.
        text: The text of that prompt.

    Raises:
        ServerError: The server supports neither completions nor chat for the model, or it has another tokenizer.
    """
    if ids is not None:
        found = _probe_ids(server, model, ids)
        if found is not None:
            _check_tokenizer(server, {"model": model, "prompt": text, "max_tokens": 1, "temperature": 0}, len(ids))
        else:
            found = _probe_text(server, model, text)
        if found is not None:
            return found
    return _probe_chat(server, model)


def _probe_ids(server: Server, model: str, ids: Sequence[int]) -> ServerCapabilities | None:
    body = {"model": model, "prompt": list(ids), "max_tokens": 1, "temperature": 0}
    if _returns_named_tokens(server, body, ids):
        return ServerCapabilities(prompts="ids", named=True, top=_max_top(server, body), form=_form(server, body))
    try:
        response = server.post("/completions", body)
    except Refused:
        return None
    if prompt_tokens(response) not in (None, len(ids)):
        return None
    return ServerCapabilities(prompts="ids", top=_max_top(server, body), form=_form(server, body))


def _returns_named_tokens(server: Server, body: Mapping[str, object], ids: Sequence[int]) -> bool:
    named = sorted(set(ids))[:2]
    try:
        response = server.post("/completions", {**body, **named_body(named)})
    except Refused:
        return False
    return {*named} <= {entry.token_id for entry in top_entries(server, response)} and prompt_tokens(response) == len(ids)


def _check_tokenizer(server: Server, body: Mapping[str, object], expected: int) -> None:
    """Raises ServerError if the server reads the text of a prompt as another number of tokens than the tokenizer.

    A difference of one is allowed: the server may insert BOS where the tokenizer does not.
    """
    try:
        count = prompt_tokens(server.post("/completions", body))
    except Refused:  # the server reads only token ids
        return
    if count is not None and abs(count - expected) > 1:
        raise ServerError(
            f"The server {server.url} reads a text as {count} tokens, and the tokenizer encodes it as {expected}",
            code="tokenizer-mismatch",
            hint="Set tokenizer to the tokenizer of the server's model",
            url=server.url,
            tokens=count,
            expected=expected,
        )


def _probe_text(server: Server, model: str, text: str) -> ServerCapabilities | None:
    body = {"model": model, "prompt": text, "max_tokens": 1, "temperature": 0}
    try:
        server.post("/completions", body)
    except Refused:
        return None
    return ServerCapabilities(prompts="text", top=_max_top(server, body), form=_form(server, body))


def _max_top(server: Server, body: Mapping[str, object]) -> int:
    for count in TOP_COUNTS:
        try:
            found = len(top_entries(server, server.post("/completions", {**body, **top_body(count)})))
        except Refused:
            continue
        return min(count, found)
    return 0


def _form(server: Server, body: Mapping[str, object]) -> RequestForm:
    """Returns the form in which the server accepts a completion with every setting."""
    form, _ = fit_form(server, "/completions", {**body, **NEUTRAL, "seed": 0, "stop": [PROBE_STOP]})
    return form


def _probe_chat(server: Server, model: str) -> ServerCapabilities:
    question = {"role": "user", "content": "Answer yes or no: is water wet?"}
    body: dict[str, object] = {"model": model, "max_tokens": 1, "temperature": 0, **NEUTRAL, "seed": 0, "stop": [PROBE_STOP]}
    try:
        form, _ = fit_form(server, "/chat/completions", {**body, "messages": [question]})
    except Refused as error:
        raise ServerError(
            f"The server {server.url} offers neither completions nor chat for the model {model}: {error}",
            code="no-usable-endpoint",
            hint="Check the model's name and that base_url ends in /v1",
            url=server.url,
            model=model,
        ) from None
    instruction = {"role": "system", "content": "Answer briefly."}
    form, _ = fit_form(server, "/chat/completions", {**body, "messages": [instruction, question]}, form)
    body |= {"messages": [question], "max_tokens": PROBE_TOKENS}
    for constrained in CONSTRAINTS:
        try:
            request = {**form.encode(body), **constraint_body(constrained, NONSENSE_WORDS)}
            response = server.post("/chat/completions", request)
        except Refused:
            continue
        if parse_reply(constrained, reply_text(server, response)).strip() in NONSENSE_WORDS:
            return ServerCapabilities(prompts="chat", constrained=constrained, form=form)
    return ServerCapabilities(prompts="chat", form=form)
