"""A connection to an OpenAI-compatible server: retries, time limits, a budget, and what went over the wire.

The openai client waits and tries again after 408, 409, 429, 5xx and broken connections, by exponential back-off with jitter
and as the server's Retry-After says; an answer that is no JSON is asked for again here. Knows nothing of models.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt

from promptkit.core.errors import InputError, ServerError, missing_extra
from promptkit.models import registry as base

BROKEN_ANSWERS = 3
"""How often an answer that is no JSON is asked for before it is given up."""
TOLD = 300
"""Characters of a server's own message that are shown."""


class ServerSettings(base.Settings):
    """Settings of a connection."""

    base_url: str | None = None
    """Where the server is: http://127.0.0.1:8000/v1."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key, if the server wants one; keys are given in no other way."""
    concurrency: PositiveInt = 16
    """Requests that are under way at once."""
    timeout: PositiveFloat = 120.0
    """Seconds that one request may take."""
    max_retries: int = Field(default=12, ge=0)
    """How often a request is tried again; 12 outlast a server's restart of about a minute."""
    max_requests: PositiveInt | None = None
    """The most requests of one command; then it stops, and the same command with more continues."""
    max_tokens_total: PositiveInt | None = None
    """The most tokens, read and written, of one command; as max_requests."""


class Refused(ServerError):
    """The server does not take a request of that form."""


class Server:
    """One server, as one command uses it. Safe for threads."""

    def __init__(self, settings: ServerSettings) -> None:
        """Nothing is sent yet. Raises for an address that is none, or that holds a secret."""
        url = settings.base_url
        if url is None:
            hint = "Write --set base_url=http://127.0.0.1:8000/v1"
            raise InputError("The http engine needs the address of a server", code="missing-base-url", hint=hint)
        if not url.startswith(("http://", "https://")) or "@" in url or "?" in url:
            hint = "Write http://HOST:PORT/v1; a key goes into the environment variable that api_key_env names"
            if "@" in url or "?" in url:  # which may hold a key, so that it is not shown
                shown = "an address with a user name, a key or a query"
                raise InputError("Invalid server address", code="secret-in-base-url", got=shown, hint=hint)
            raise InputError("Invalid server address", code="invalid-base-url", got=url, hint=hint, base_url=url)
        try:
            import openai
        except ImportError:
            raise missing_extra("openai", "http", "The http engine") from None
        self.url = url.rstrip("/")
        self._settings = settings
        self._key = os.environ.get(settings.api_key_env, "")
        self._client = openai.OpenAI(
            base_url=self.url, api_key=self._key or "none", timeout=settings.timeout, max_retries=settings.max_retries
        )
        self._lock = threading.Lock()
        self.requests = self.prompt_tokens = self.completion_tokens = 0

    def get(self, path: str) -> Any:
        """The JSON that the server answers; None where it has no such path."""
        try:
            return self._sent("GET", path, None)
        except Refused:
            return None

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        """The JSON object that the server answers. Raises Refused for a form of request that it does not take."""
        with self._lock:
            self._check_budget()
            self.requests += 1
        answer = self._sent("POST", path, body)
        if not isinstance(answer, dict):
            raise self.unexpected_response(answer)
        usage = answer.get("usage")
        if isinstance(usage, dict):
            with self._lock:
                self.prompt_tokens += int(usage.get("prompt_tokens") or 0)
                self.completion_tokens += int(usage.get("completion_tokens") or 0)
        return answer

    def close(self) -> None:
        """Break off what is under way."""
        self._client.close()

    def usage(self) -> str:
        """What went over the wire so far."""
        return f"{self.requests} requests to the server, {self.prompt_tokens} tokens read and {self.completion_tokens} written"

    def unexpected_response(self, answer: object) -> ServerError:
        """The error for an answer that is not of the form that was asked for."""
        got = self._clean(repr(answer)[:TOLD])
        return ServerError(
            f"The response of the server {self.url} does not follow the OpenAI protocol",
            code="unexpected-response",
            got=got,
            hint="Check that base_url ends in /v1",
            url=self.url,
            response=got,
        )

    def _check_budget(self) -> None:
        settings = self._settings
        tokens = self.prompt_tokens + self.completion_tokens
        for name, limit, spent in (
            ("max_requests", settings.max_requests, self.requests),
            ("max_tokens_total", settings.max_tokens_total, tokens),
        ):
            if limit is not None and spent >= limit:
                raise ServerError(
                    f"The budget is used up: {self.usage()}",
                    code="budget-spent",
                    got=f"{name}={limit}",
                    hint="Completed responses are kept: the same command continues, with the same budget again or a larger one",
                    setting=name,
                    limit=limit,
                    spent=spent,
                )

    def _sent(self, method: str, path: str, body: Mapping[str, object] | None) -> Any:
        import openai

        failure = ""
        for _ in range(BROKEN_ANSWERS):
            try:
                call: Any = self._client.post if method == "POST" else self._client.get
                answer = call(path, cast_to=object, **({} if body is None else {"body": body}))
                if not isinstance(answer, str):  # so the client gives what is no JSON, or not the whole of it
                    return answer
                failure = self._clean(repr(answer[:TOLD]))
            except ValueError as error:
                failure = str(error)
            except openai.APITimeoutError:
                seconds = self._settings.timeout
                raise self._failed(
                    "server-timeout",
                    f"did not respond within {seconds:g} s",
                    "Try --set timeout=600, or a smaller concurrency",
                    seconds=seconds,
                ) from None
            except openai.APIConnectionError as error:
                reason = str(error.__cause__ or error)
                raise self._failed(
                    "server-unreachable", f"cannot be reached: {reason}", "Check the address and that the server is running"
                ) from None
            except openai.AuthenticationError:
                variable = self._settings.api_key_env
                raise self._failed(
                    "api-key-refused" if self._key else "missing-api-key",
                    f"refused the key in {variable}" if self._key else f"requires a key, and {variable} is not set",
                    f"Set {variable} to a valid key",
                    variable=variable,
                ) from None
            except openai.RateLimitError as error:
                raise self._failed(
                    "too-many-requests", f"received too many requests: {self._told(error)}", "Try --set concurrency=2, or wait"
                ) from None
            except openai.APIStatusError as error:
                if error.status_code < 500:
                    raise Refused(
                        f"The server {self.url} refused a request: {self._told(error)}",
                        code="request-refused",
                        url=self.url,
                        status=error.status_code,
                    ) from None
                raise self._failed(
                    "server-failure",
                    f"failed with status {error.status_code}: {self._told(error)}",
                    "Look at the server's log",
                    status=error.status_code,
                ) from None
        raise self._failed("response-not-json", f"returned a response that is not JSON: {failure}", "Look at the server's log")

    def _failed(self, code: str, what: str, hint: str, **fields: object) -> ServerError:
        return ServerError(
            self._clean(f"The server {self.url} {what}"),
            code=code,
            hint=f"{hint}; completed responses are kept, and the same command continues",
            url=self._clean(self.url),
            **fields,
        )

    def _told(self, error: Any) -> str:
        body = error.body if isinstance(error.body, dict) else {}
        return self._clean(" ".join(str(body.get("message") or error.message).split()))[:TOLD]

    def _clean(self, text: str) -> str:
        """Without the key, which some servers repeat in their messages."""
        return text.replace(self._key, "(the key)") if self._key else text
