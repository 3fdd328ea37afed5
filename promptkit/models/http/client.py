"""A connection to an OpenAI-compatible server, with retries, timeouts, a budget, and counts of requests and tokens.

The openai client retries after status 408, 409, 429, 5xx and broken connections, with exponential backoff, jitter and the
server's Retry-After. This module also retries responses that are not JSON. It does not depend on models.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat, PositiveInt

from promptkit.core.errors import InputError, ServerError, missing_extra
from promptkit.models import registry
from promptkit.models.http.proxies import proxy_for

if TYPE_CHECKING:
    from openai import APIStatusError

PROXY_CODES = ("server-unreachable", "server-timeout", "response-not-json")
"""The errors that a proxy may have caused."""
PROXY_STATUSES = (407, 502, 503, 504)
"""The status codes that a proxy may have sent in place of the server."""
JSON_ATTEMPTS = 3
"""How often a request is sent if its responses are not JSON."""
MESSAGE_LENGTH = 300
"""Maximum number of characters of a server's message in an error."""


class ServerSettings(registry.Settings):
    """Settings of a connection."""

    base_url: str | None = None
    """Address of the server: http://127.0.0.1:8000/v1."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the API key, if the server needs one; a key cannot be set in any other way."""
    concurrency: PositiveInt = 16
    """Number of simultaneous requests."""
    timeout: PositiveFloat = 120.0
    """Timeout of one request in seconds."""
    max_retries: int = Field(default=12, ge=0)
    """Number of retries of a request; 12 are enough for a server's restart of about a minute."""
    max_requests: PositiveInt | None = None
    """Maximum number of requests of one command, which then stops; the same command with a larger value continues."""
    max_tokens_total: PositiveInt | None = None
    """Maximum number of tokens, read and written, of one command; see max_requests."""


class Refused(ServerError):
    """The server does not support requests of that form."""


class Server:
    """One server, as one command uses it; thread-safe."""

    def __init__(self, settings: ServerSettings) -> None:
        """Creates a client; nothing is sent.

        Raises:
            InputError: The address is missing or invalid, or it contains a secret.
            MissingPackage: The package openai is not installed.
        """
        self.url = _checked_url(settings.base_url)
        try:
            import openai
        except ImportError:
            raise missing_extra("openai", "http", "The http engine") from None
        self._settings = settings
        self._key = os.environ.get(settings.api_key_env, "")
        self._client = openai.OpenAI(
            base_url=self.url, api_key=self._key or "none", timeout=settings.timeout, max_retries=settings.max_retries
        )
        self._lock = threading.Lock()
        self._requests = self._prompt_tokens = self._completion_tokens = 0

    def get(self, path: str) -> object:
        """Returns the server's JSON, or None if the server does not have the path."""
        try:
            return self._send("GET", path, None)
        except Refused:
            return None

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        """Returns the server's JSON object.

        Raises:
            Refused: The server does not support a request of that form.
            ServerError: The server fails, or the budget is spent.
        """
        with self._lock:
            self._check_budget()
            self._requests += 1
        response = self._send("POST", path, body)
        if not isinstance(response, dict):
            raise self.unexpected_response(response)
        usage = response.get("usage")
        if isinstance(usage, dict):
            with self._lock:
                self._prompt_tokens += int(usage.get("prompt_tokens") or 0)
                self._completion_tokens += int(usage.get("completion_tokens") or 0)
        return response

    def close(self) -> None:
        """Aborts the requests that are in progress."""
        self._client.close()

    def usage(self) -> str:
        """Returns the number of requests and tokens so far, for a note."""
        return (
            f"{self._requests} requests to the server, {self._prompt_tokens} tokens read and {self._completion_tokens} written"
        )

    def unexpected_response(self, response: object) -> ServerError:
        """Returns the error for a response that does not have the requested form."""
        got = self.redact(repr(response)[:MESSAGE_LENGTH])
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
        tokens = self._prompt_tokens + self._completion_tokens
        for name, limit, spent in (
            ("max_requests", settings.max_requests, self._requests),
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

    def _send(self, method: str, path: str, body: Mapping[str, object] | None) -> object:
        import openai

        call: Callable[..., object] = self._client.post if method == "POST" else self._client.get
        content = {} if body is None else {"body": body}
        options = {"follow_redirects": False}  # a redirected POST would become a GET
        reason = ""
        for _ in range(JSON_ATTEMPTS):
            try:
                response = call(path, cast_to=object, options=options, **content)
            except ValueError as error:
                reason = str(error)
            except openai.APIConnectionError as error:  # also the base class of timeouts
                raise self._connection_error(error) from None
            except openai.APIStatusError as error:
                raise self._status_error(error) from None
            else:
                if not isinstance(response, str):  # the client returns responses that are not complete JSON as text
                    return response
                reason = self.redact(repr(response[:MESSAGE_LENGTH]))
        raise self._error("response-not-json", f"returned a response that is not JSON: {reason}", "Look at the server's log")

    def _connection_error(self, error: Exception) -> ServerError:
        import openai

        if isinstance(error, openai.APITimeoutError):
            seconds = self._settings.timeout
            what, hint = f"did not respond within {seconds:g} s", "Try --set timeout=600, or a smaller concurrency"
            return self._error("server-timeout", what, hint, seconds=seconds)
        what = f"cannot be reached: {error.__cause__ or error}"
        return self._error("server-unreachable", what, "Check the address and that the server is running")

    def _status_error(self, error: APIStatusError) -> ServerError:
        import openai

        variable, message = self._settings.api_key_env, self._message(error)
        if isinstance(error, openai.AuthenticationError):
            code = "api-key-refused" if self._key else "missing-api-key"
            what = f"refused the key in {variable}" if self._key else f"requires a key, and {variable} is not set"
            return self._error(code, what, f"Set {variable} to a valid key", variable=variable)
        if isinstance(error, openai.RateLimitError):
            what = f"received too many requests: {message}"
            return self._error("too-many-requests", what, "Try --set concurrency=2, or wait")
        if 300 <= error.status_code < 400:
            location = error.response.headers.get("location", "another address")
            return self._error("redirected", f"redirects to {location}", "Set base_url to that address", location=location)
        if error.status_code < 500 and error.status_code not in PROXY_STATUSES:
            what = f"The server {self.url} refused a request: {message}"
            return Refused(what, code="request-refused", url=self.url, status=error.status_code)
        what = f"failed with status {error.status_code}: {message}"
        return self._error("server-failure", what, "Look at the server's log", status=error.status_code)

    def _error(self, code: str, what: str, hint: str, **fields: object) -> ServerError:
        proxy = proxy_for(self.url) if code in PROXY_CODES or fields.get("status") in PROXY_STATUSES else None
        if proxy is not None:
            what = f"{what}. The connection goes through the proxy {proxy.address}, which {proxy.variable} sets"
            hint = f"{hint}, or add the server's host to NO_PROXY to connect directly"
            fields |= {"proxy": proxy.address, "variable": proxy.variable}
        return ServerError(
            self.redact(f"The server {self.url} {what}"),
            code=code,
            hint=f"{hint}; completed responses are kept, and the same command continues",
            url=self.redact(self.url),
            **fields,
        )

    def _message(self, error: APIStatusError) -> str:
        body = error.body if isinstance(error.body, dict) else {}
        return self.redact(" ".join(str(body.get("message") or error.message).split()))[:MESSAGE_LENGTH]

    def redact(self, text: str) -> str:
        """Removes the key, which some servers repeat in their messages."""
        return text.replace(self._key, "(the key)") if self._key else text


def _checked_url(url: str | None) -> str:
    if url is None:
        hint = "Write --set base_url=http://127.0.0.1:8000/v1"
        raise InputError("The http engine needs the address of a server", code="missing-base-url", hint=hint)
    hint = "Write http://HOST:PORT/v1; a key goes into the environment variable that api_key_env names"
    if "@" in url or "?" in url:  # the message must not repeat it, because it may contain a key
        what = "an address with a user name, a key or a query"
        raise InputError("Invalid server address", code="secret-in-base-url", got=what, hint=hint)
    if not url.startswith(("http://", "https://")):
        raise InputError("Invalid server address", code="invalid-base-url", got=url, hint=hint, base_url=url)
    return url.rstrip("/")
