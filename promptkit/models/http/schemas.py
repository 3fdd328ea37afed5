"""Restricts the texts of a server to JSON schemas, by a field of its requests that the server enforces.

OpenAI and the servers of vLLM, SGLang, llama.cpp and Ollama read `response_format` in chat requests, and vLLM also in those for
completions, where llama.cpp reads `json_schema`. Servers that do not know a field refuse it or ignore it. A test request with a
schema that only one of two words without a meaning can satisfy therefore finds out what a server enforces.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

from promptkit.core.caller import switch
from promptkit.core.errors import Unsupported
from promptkit.core.json_schema import find_object
from promptkit.core.schema_keywords import enforceable
from promptkit.core.thinking import without_thoughts
from promptkit.models.http.capabilities import NONSENSE_WORDS, PROBE_TOKENS, ServerCapabilities
from promptkit.models.http.client import Refused, Server
from promptkit.models.http.forms import NEUTRAL
from promptkit.models.http.protocol import SchemaField, completion_text, end_reason, reply_text, schema_body, words_schema

SCHEMA_FIELDS: Mapping[Literal["chat", "completions"], tuple[SchemaField, ...]] = {
    "chat": ("response_format",),
    "completions": ("response_format", "json_schema"),
}
"""The fields that may restrict a text to a schema, in the order in which they are tried."""
QUESTION = "Write a JSON object."


class ServerSchemas:
    """The way in which one server restricts texts to JSON schemas; nothing is sent before the first check."""

    def __init__(self, server: Server, model: str, capabilities: ServerCapabilities, prompt: object) -> None:
        """Stores the arguments.

        Args:
            server: The server.
            model: The model's name at the server.
            capabilities: What the server supports.
            prompt: A prompt for completions to try, as the server reads it: token ids, or a text; unused for chat.
        """
        self._server, self._model, self._capabilities, self._prompt = server, model, capabilities, prompt
        self._accepted: set[str] = set()

    def check(self, schemas: Sequence[str]) -> None:
        """Checks that the server restricts texts to schemas, given as JSON text. Schemas that it accepted are not sent again.

        Raises:
            Unsupported: It restricts no texts, or it refuses a schema.
        """
        for schema in schemas:
            if schema not in self._accepted:
                self._check(schema)
                self._accepted.add(schema)

    def body(self, schema: str) -> dict[str, object]:
        """Returns the fields of a request that restrict its text to a schema that was checked; none for an empty one."""
        return schema_body(self._field, _sent(schema)) if schema else {}

    def _check(self, schema: str) -> None:
        field = self._field
        try:
            self._post(schema_body(field, _sent(schema)))
        except Refused as error:
            raise Unsupported(
                f"The server {self._server.url} cannot restrict texts to this schema: {error.fields['reason']}",
                code="schema-refused",
                got=schema[:200],
                hint=f"Simplify the schema. {_alternatives()}",
                url=self._server.url,
                reason=error.fields["reason"],
            ) from None

    @cached_property
    def _field(self) -> SchemaField:
        """The field that the server enforces.

        Raises:
            Unsupported: There is none.
        """
        reasons = []
        for field in SCHEMA_FIELDS["chat" if self._is_chat else "completions"]:
            try:
                response = self._post(schema_body(field, words_schema(NONSENSE_WORDS)))
            except Refused as error:
                reasons.append(f"it refuses {field} ({error.fields['reason']})")
                continue
            if self._is_enforced(response):
                return field
            reasons.append(f"it ignores {field}")
        raise Unsupported(
            f"The server {self._server.url} does not restrict texts to a JSON schema: {' and '.join(reasons)}",
            code="server-cannot-constrain",
            hint=_alternatives(),
            url=self._server.url,
            reasons=tuple(reasons),
        )

    def _is_enforced(self, response: Mapping[str, object]) -> bool:
        """Whether a response to the test request has one of the words, or ended within a reasoning, which says nothing."""
        text = (reply_text if self._is_chat else completion_text)(self._server, response)
        answer = without_thoughts(text)
        if end_reason(response) == "length" and not (answer or "").strip():
            return True
        found = find_object(answer or "")
        return found is not None and found.get("answer") in NONSENSE_WORDS

    @property
    def _is_chat(self) -> bool:
        return self._capabilities.prompts == "chat"

    def _post(self, extra: Mapping[str, object]) -> dict[str, object]:
        body = {"model": self._model, "max_tokens": PROBE_TOKENS, "temperature": 0, **NEUTRAL}
        asked = {"messages": [{"role": "user", "content": QUESTION}]} if self._is_chat else {"prompt": self._prompt}
        path = "/chat/completions" if self._is_chat else "/completions"
        return self._server.post(path, {**self._capabilities.form.encode({**body, **asked}), **extra})


def _alternatives() -> str:
    return (
        f"Generate freely with {switch('constrain', False)}, or use a server with structured outputs, such as vLLM's, or the "
        "engine hf or vllm"
    )


def _sent(schema: str) -> Mapping[str, object]:
    """Returns a schema as it is sent: without the keywords that no engine enforces, which some servers refuse."""
    return enforceable(json.loads(schema))
