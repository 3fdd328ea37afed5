"""Sends requests in the form that a server accepts, and counts the causes of less exact answers."""

from __future__ import annotations

from collections.abc import Mapping

from promptkit.core.errors import ServerError
from promptkit.models.http.client import Server
from promptkit.models.http.counts import ResponseCounts
from promptkit.models.http.forms import RequestForm, messages_in
from promptkit.models.http.protocol import failure, prompt_tokens

ATTEMPTS = 3
"""Maximum number of times that a request is sent if the server reports that the generation failed."""


class Exchange:
    """The requests to one model at a server."""

    def __init__(self, server: Server, form: RequestForm, counts: ResponseCounts) -> None:
        """Creates an exchange.

        Args:
            server: The server.
            form: The form of the requests that it accepts.
            counts: Counts changed requests, truncated prompts and the models that answered.
        """
        self.server = server
        self.counts = counts
        self._form = form

    def post(self, path: str, body: Mapping[str, object], **extra: object) -> dict[str, object]:
        """Returns the server's response.

        Args:
            path: The path of the endpoint.
            body: The request, before it is changed to the form that the server accepts.
            extra: Fields that are sent as they are.

        Raises:
            Refused: The server does not support a request of that form.
            ServerError: The server fails, or reports that the generation failed.
        """
        request = {**self._form.encode(body), **extra}
        reason: str | None = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self.server.pause(attempt)
            response = self.server.post(path, request)
            reason = failure(response)
            if reason is None:
                self.counts.add_changes(self._form.changes(body))
                self.counts.add_prompt(_characters(body), prompt_tokens(response))
                self.counts.add_model(str(response.get("model") or body["model"]))
                return response
        raise ServerError(
            f"The server {self.server.url} reported that the generation failed: {self.server.redact(str(reason))}",
            code="generation-failed",
            hint="Look at the server's log; completed responses are kept, and the same command continues",
            url=self.server.url,
        )


def _characters(body: Mapping[str, object]) -> int:
    """Returns the length of the prompt in characters, or in tokens if it is sent as token ids."""
    if "messages" in body:
        return sum(len(message["content"]) for message in messages_in(body))
    prompt = body["prompt"]
    return len(prompt) if isinstance(prompt, str | list) else 0
