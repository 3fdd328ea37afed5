"""A connection to an OpenAI-compatible server, with retries, timeouts, a budget, and counts of requests and tokens.

A request is sent again after status 408, 409, 429, 5xx, timeouts and broken connections, with exponential backoff, jitter and
the server's Retry-After, and after a response that is not JSON. A warning says so at once, and then every few seconds.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat, PositiveInt

from promptkit.core.caller import engine_setting
from promptkit.core.errors import InputError, ServerError, missing_extra
from promptkit.models import registry
from promptkit.models.http.proxies import proxy_for
from promptkit.models.http.retries import FIRST_WAIT, is_unconnected, wait_seconds
from promptkit.models.http.spending import Spending

if TYPE_CHECKING:
    from openai import APIError, APIStatusError

PROXY_CODES = ("server-unreachable", "server-timeout", "response-not-json")
"""The errors that a proxy may have caused."""
PROXY_STATUSES = (407, 502, 503, 504)
"""The status codes that a proxy may have sent in place of the server."""
JSON_ATTEMPTS = 3
"""How often a request is sent if its responses are not JSON."""
FIRST_RETRIES = 3
"""Number of retries while no connection has been established yet, unless `max_retries` is set: three and a half seconds."""
FIRST_CONNECT_TIMEOUT = 2.0
CONNECT_TIMEOUT = 30.0
"""Seconds to establish a connection: before the first one was established, and later."""
WARNING_INTERVAL = 5.0
"""Minimum number of seconds between two warnings about retries."""
MESSAGE_LENGTH = 300
"""Maximum number of characters of a server's message in an error."""

_log = logging.getLogger(__name__)


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
    """Number of retries of a request; by default 12, enough for a server's restart of about a minute, but only 3 if the server
    cannot be reached from the start."""
    max_requests: PositiveInt | None = None
    """Maximum number of requests of one command, which then stops; the same command with a larger value continues."""
    max_tokens_total: PositiveInt | None = None
    """Maximum number of tokens, read and written, of one command; see max_requests."""


class HttpSettings(ServerSettings):
    """Settings of the http engine."""

    tokenizer: str | None = None
    """Hub id, folder, .gguf file or demo: the model's tokenizer. Without it only chat is used."""
    max_model_len: PositiveInt | None = None
    """Maximum number of tokens of a prompt and its continuation. Default: what the server reports."""


class Refused(ServerError):
    """The server does not support requests of that form."""


class Server:
    """One server, as one command uses it; thread-safe."""

    def __init__(self, settings: ServerSettings, spending: Spending | None = None) -> None:
        """Creates a client; nothing is sent.

        Args:
            settings: The settings of the connection.
            spending: The requests and tokens so far, with their budget; none so far, unless given.

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
        self._client = openai.OpenAI(base_url=self.url, api_key=self._key or "none", max_retries=0)
        weakref.finalize(self, self._client.close)
        self._reached = False
        self._closed = threading.Event()
        self._last_warning = -WARNING_INTERVAL
        self._lock = threading.Lock()
        self._spending = spending or Spending(settings)

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
        if not self._closed.is_set():
            self._spending.add_request()
        response = self._send("POST", path, body)
        if not isinstance(response, dict):
            raise self.unexpected_response(response)
        self._spending.add_tokens(response.get("usage"))
        return response

    def pause(self, attempt: int) -> None:
        """Waits before a request is sent again, twice as long after each attempt, or until the connection is closed."""
        self._closed.wait(FIRST_WAIT * 2 ** (attempt - 1))

    def close(self) -> None:
        """Aborts the requests that are in progress; no further one can be sent."""
        self._closed.set()
        self._client.close()

    def reconnected(self) -> Server:
        """Returns the server with a new connection, and with the same budget and counts of requests and tokens."""
        server = Server(self._settings, self._spending)
        server._reached = self._reached
        return server

    def usage(self) -> str:
        """Returns the number of requests and tokens so far, for a note."""
        return self._spending.usage()

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

    def _send(self, method: str, path: str, body: Mapping[str, object] | None) -> object:
        import openai

        call: Callable[..., object] = self._client.post if method == "POST" else self._client.get
        content = {} if body is None else {"body": body}
        attempt = not_json = 0
        while True:
            attempt += 1
            try:
                response = call(
                    path,
                    cast_to=object,
                    options={
                        "timeout": openai.Timeout(self._settings.timeout, connect=self._connect_timeout),
                        "follow_redirects": False,  # a redirected POST would become a GET
                    },
                    **content,
                )
            except ValueError as error:
                reason = str(error)
            except (openai.APIConnectionError, openai.APIStatusError) as error:
                self._wait(error, attempt)
                continue
            else:
                if not isinstance(response, str):  # the client returns responses that are not complete JSON as text
                    self._reached = True
                    return response
                reason = self.redact(repr(response[:MESSAGE_LENGTH]))
            not_json += 1
            if not_json == JSON_ATTEMPTS:
                what = f"returned a response that is not JSON: {reason}"
                raise self._error("response-not-json", what, "Look at the server's log")

    @property
    def _connect_timeout(self) -> float:
        return min(self._settings.timeout, CONNECT_TIMEOUT if self._reached else FIRST_CONNECT_TIMEOUT)

    def _wait(self, error: APIError, attempt: int) -> None:
        """Waits before a request is sent again, or raises ServerError if it is not sent again."""
        unconnected = is_unconnected(error)
        self._reached = self._reached or not unconnected
        settings = self._settings
        is_first = not self._reached and "max_retries" not in settings.model_fields_set
        retries = min(FIRST_RETRIES, settings.max_retries) if is_first else settings.max_retries
        seconds = wait_seconds(error, attempt)
        if seconds is None or attempt > retries or self._closed.is_set():
            raise self._server_error(error) from None
        self._warn(f"{self._reason(error)}. Attempt {attempt} of {retries + 1} failed, the next one is in {seconds:.1f} s.")
        if self._closed.wait(seconds):
            raise self._server_error(error) from None

    def _warn(self, message: str) -> None:
        """Logs a warning about a retry, unless another request logged one a moment ago."""
        now = time.monotonic()
        with self._lock:
            if now - self._last_warning < WARNING_INTERVAL:
                return
            self._last_warning = now
        _log.warning("%s", self.redact(f"The server {self.url} {message}"))

    def _reason(self, error: APIError) -> str:
        """What went wrong, as the predicate of a sentence about the server."""
        import openai

        if isinstance(error, openai.APIStatusError):
            message = self._message(error)
            if isinstance(error, openai.RateLimitError):
                return f"received too many requests: {message}"
            return f"failed with status {error.status_code}: {message}"
        if is_unconnected(error):
            timed_out = isinstance(error, openai.APITimeoutError)
            return f"cannot be reached: {f'no connection within {self._connect_timeout:g} s' if timed_out else error.__cause__}"
        if isinstance(error, openai.APITimeoutError):
            return f"did not respond within {self._settings.timeout:g} s"
        return f"cannot be reached: {error.__cause__ or error}"

    def _server_error(self, error: APIError) -> ServerError:
        import openai

        if isinstance(error, openai.APIStatusError):
            return self._status_error(error)
        if isinstance(error, openai.APITimeoutError) and not is_unconnected(error):
            hint = f"Try {engine_setting('timeout', 600)}, or a smaller concurrency"
            return self._error("server-timeout", self._reason(error), hint, seconds=self._settings.timeout)
        hint = "Check the address and that the server is running"
        if not self._reached:
            hint += f"; {engine_setting('max_retries', 20)} waits two minutes for a server that is still starting"
        return self._error("server-unreachable", self._reason(error), hint)

    def _status_error(self, error: APIStatusError) -> ServerError:
        import openai

        variable = self._settings.api_key_env
        if isinstance(error, openai.AuthenticationError):
            code = "api-key-refused" if self._key else "missing-api-key"
            what = f"refused the key in {variable}" if self._key else f"requires a key, and {variable} is not set"
            return self._error(code, what, f"Set {variable} to a valid key", variable=variable)
        if isinstance(error, openai.RateLimitError):
            return self._error("too-many-requests", self._reason(error), f"Try {engine_setting('concurrency', 2)}, or wait")
        if 300 <= error.status_code < 400:
            location = error.response.headers.get("location", "another address")
            return self._error("redirected", f"redirects to {location}", "Set base_url to that address", location=location)
        if error.status_code < 500 and error.status_code not in PROXY_STATUSES:
            reason = self._message(error)
            what = f"The server {self.url} refused a request: {reason}"
            return Refused(what, code="request-refused", url=self.url, status=error.status_code, reason=reason)
        return self._error("server-failure", self._reason(error), "Look at the server's log", status=error.status_code)

    def _error(self, code: str, what: str, hint: str, **fields: object) -> ServerError:
        proxy = proxy_for(self.url) if code in PROXY_CODES or fields.get("status") in PROXY_STATUSES else None
        if proxy is not None:
            what = f"{what}. The connection goes through the proxy {proxy.address}, which {proxy.variable} sets"
            hint = f"{hint}, or add the server's host to NO_PROXY to connect directly"
            fields |= {"proxy": proxy.address, "variable": proxy.variable}
        return ServerError(
            self.redact(f"The server {self.url} {what}"),
            code=code,
            hint=f"{hint}; completed responses are kept, and the same command continues" if self._reached else hint,
            url=self.redact(self.url),
            **fields,
        )

    def _message(self, error: APIStatusError) -> str:
        return self.redact(" ".join(str(_stated(error.body) or error.message).split()))[:MESSAGE_LENGTH]

    def redact(self, text: str) -> str:
        """Removes the key, which some servers repeat in their messages."""
        return text.replace(self._key, "(the key)") if self._key else text


def _stated(body: object) -> object:
    """Returns the message in the body of an error; None if it has none.

    Some servers return a list of errors (Gemini), or describe them in `detail` (FastAPI).
    """
    if isinstance(body, list):
        return next((found for part in body if (found := _stated(part))), None)
    if not isinstance(body, dict):
        return body if isinstance(body, str) and not body.lstrip().startswith("<") else None  # a page of a proxy
    stated = body.get("message") or _stated(body.get("error"))
    return stated or body.get("detail")


def _checked_url(url: str | None) -> str:
    if url is None:
        hint = f"Write {engine_setting('base_url', 'http://127.0.0.1:8000/v1')}"
        reason = "The http engine needs the address of a server"
        raise InputError(reason, code="missing-base-url", hint=hint, setting="base_url")
    hint = "Write http://HOST:PORT/v1; a key goes into the environment variable that api_key_env names"
    if "@" in url or "?" in url:  # the message must not repeat it, because it may contain a key
        what = "an address with a user name, a key or a query"
        raise InputError("Invalid server address", code="secret-in-base-url", got=what, hint=hint, setting="base_url")
    if not url.startswith(("http://", "https://")):
        raise InputError("Invalid server address", code="invalid-base-url", got=url, hint=hint, base_url=url)
    return url.rstrip("/")
