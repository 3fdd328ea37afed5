"""The form of requests that a server accepts: which fields it refuses, and how it names the maximum length.

OpenAI's reasoning models refuse `max_tokens` and `temperature`, strict servers refuse fields that they do not know, and some
chat templates have no system role. `fit_form` finds the accepted form by changing a refused request step by step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from promptkit.models.http.client import Refused, Server

STANDARD: Mapping[str, object] = {"top_p": 1, "frequency_penalty": 0, "presence_penalty": 0}
"""Sampling settings of OpenAI's protocol that leave the model's distribution unchanged."""
EXTENSIONS: Mapping[str, object] = {"top_k": -1, "min_p": 0, "repetition_penalty": 1, "repeat_penalty": 1}
"""Further settings of vLLM, SGLang and llama.cpp that leave the distribution unchanged; their defaults may not."""
NEUTRAL: Mapping[str, object] = {**STANDARD, **EXTENSIONS}
"""All settings that leave the distribution unchanged, sent with every request that the server accepts them in."""
OPTIONAL = (*EXTENSIONS, *STANDARD, "seed", "stop", "temperature")
"""The fields that can be left out, the least important first."""
LOWEST_TEMPERATURE = 0.01
"""Replaces a temperature of 0 where the server accepts only positive ones."""
REFUSING_STATUSES = (400, 422)
"""The status codes with which servers refuse a field of a request."""
MAX_CHANGES = len(OPTIONAL) + 3
"""Maximum number of changes to a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestForm:
    """The form of a request that a server accepts."""

    length: str = "max_tokens"
    """The field for the maximum number of tokens."""
    lowest_temperature: float = 0
    """The lowest temperature that the server accepts."""
    omitted: tuple[str, ...] = ()
    """The fields that the server refuses."""
    folds_system: bool = False
    """Whether system messages are refused, so that they are sent at the start of the next user message."""

    def encode(self, body: Mapping[str, object]) -> dict[str, object]:
        """Returns the request in this form."""
        sent = {name: value for name, value in body.items() if name not in self.omitted}
        if "max_tokens" in sent:
            sent[self.length] = sent.pop("max_tokens")
        if "temperature" in sent:
            sent["temperature"] = max(_temperature(sent), self.lowest_temperature)
        if self.folds_system and "messages" in sent:
            sent["messages"] = without_system(messages_in(sent))
        return sent

    def changes(self, body: Mapping[str, object]) -> list[str]:
        """Returns notes on the changes of this form to a request that can affect the result."""
        changed = []
        if "temperature" in body and "temperature" in self.omitted:
            changed.append("temperature is refused, so the server's default applies")
        elif _temperature(body) < self.lowest_temperature:
            changed.append(f"temperature 0 is refused, so {self.lowest_temperature} is sent")
        if refused := [name for name in STANDARD if name in body and name in self.omitted]:
            changed.append(f"{', '.join(refused)} refused, so the server's defaults apply")
        if "seed" in body and "seed" in self.omitted:
            changed.append("seed is refused, so another run gives other samples")
        if self.length != "max_tokens":
            changed.append(f"max_tokens is refused, so {self.length} is sent")
        if self.folds_system and any(message["role"] == "system" for message in messages_in(body)):
            changed.append("system messages are refused, so they are sent at the start of the user's first message")
        return changed

    def alternatives(self, body: Mapping[str, object], reason: str) -> Iterator[RequestForm]:
        """Yields forms to try after a refusal: first those for the fields that the server's message names.

        Args:
            body: The request, before encoding.
            reason: The server's message.
        """
        present = [name for name in OPTIONAL if name in body and name not in self.omitted]
        named = [name for name in present if re.search(rf"\b{name}\b", reason)]
        if "max_tokens" in body and self.length == "max_tokens" and "max_" in reason:
            yield replace(self, length="max_completion_tokens")
        if not self.folds_system and any(message["role"] == "system" for message in messages_in(body)):
            yield replace(self, folds_system=True)
        yield self._omitting([name for name in named if name in EXTENSIONS])
        for name in named:
            yield from self._without(name)
        yield self._omitting(named)
        yield self._omitting([name for name in EXTENSIONS if name in present])
        yield self._omitting([name for name in NEUTRAL if name in present])
        if "max_tokens" in body and self.length == "max_tokens":
            yield replace(self, length="max_completion_tokens")
        for name in present:
            if name not in named:
                yield from self._without(name)
        yield replace(self._omitting(present), length="max_completion_tokens")

    def _without(self, name: str) -> Iterator[RequestForm]:
        if name == "temperature" and not self.lowest_temperature:
            yield replace(self, lowest_temperature=LOWEST_TEMPERATURE)
        yield self._omitting([name])

    def _omitting(self, names: Sequence[str]) -> RequestForm:
        lowest = 0 if "temperature" in names else self.lowest_temperature
        return replace(self, omitted=tuple(sorted({*self.omitted, *names})), lowest_temperature=lowest)


def fit_form(
    server: Server, path: str, body: Mapping[str, object], form: RequestForm | None = None
) -> tuple[RequestForm, dict[str, object]]:
    """Returns the first form in which the server accepts a request, and its response.

    A change is kept if the server accepts the request or gives another reason for the refusal.

    Args:
        server: The server.
        path: The path of the endpoint.
        body: The request with every field that is of use.
        form: The form to start from.

    Raises:
        Refused: The server accepts none of the forms; the error is that of the unchanged request.
    """
    form = form or RequestForm()
    try:
        return form, server.post(path, form.encode(body))
    except Refused as error:
        if error.fields["status"] not in REFUSING_STATUSES:
            raise
        refusal, reason = error, _reason(error)
    tried = {form}
    for _ in range(MAX_CHANGES):
        for candidate in form.alternatives(body, reason):
            if candidate in tried:
                continue
            tried.add(candidate)
            try:
                return candidate, server.post(path, candidate.encode(body))
            except Refused as error:
                if _reason(error) != reason:
                    form, reason = candidate, _reason(error)
                    break
        else:
            break
    raise refusal


def messages_in(body: Mapping[str, object]) -> Sequence[Mapping[str, str]]:
    """Returns the messages of a request; none if it is not one for chat."""
    messages = body.get("messages")
    return messages if isinstance(messages, list) else ()


def _temperature(body: Mapping[str, object]) -> float:
    """Returns the temperature of a request; 1 if it has none."""
    temperature = body.get("temperature")
    return temperature if isinstance(temperature, int | float) else 1


def without_system(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Returns the messages with each system message at the start of the user message that follows it."""
    folded: list[dict[str, str]] = []
    system: list[str] = []
    for message in messages:
        if message["role"] == "system":
            system.append(message["content"])
            continue
        content = message["content"]
        if system and message["role"] == "user":
            content, system = "\n\n".join([*system, content]), []
        folded.append({"role": message["role"], "content": content})
    return [*folded, *({"role": "user", "content": text} for text in system)]


def _reason(error: Refused) -> str:
    """Returns the server's message without numbers, which may differ between equal refusals."""
    return re.sub(r"\d+", "", str(error))
