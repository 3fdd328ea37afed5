"""Failed requests are sent again after the wait that the server asks for, and an unreachable server is reported at once."""

from __future__ import annotations

import logging
import time
from email.utils import formatdate
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import openai
import pytest

import promptkit as pk
from promptkit.core.errors import ServerError
from promptkit.models.http.retries import wait_seconds
from tests.support.errors import refused
from tests.support.servers import Script, load_http, serving

httpx = import_module("httpx2" if find_spec("httpx2") else "httpx")  # depends on the version of openai
URL = "http://127.0.0.1:9/v1"
"""A port on which nothing listens."""


def status_error(status: int, **headers: str) -> openai.APIStatusError:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx.Response(status, headers=names, request=httpx.Request("POST", URL))
    return openai.APIStatusError("busy", response=response, body=None)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (status_error(503, retry_after="7"), 7.0),
        (status_error(429, retry_after="600"), None),
        (status_error(400), None),
        (status_error(400, x_should_retry="true", retry_after="2"), 2.0),
        (status_error(503, x_should_retry="false"), None),
    ],
)
def test_the_wait_is_the_one_that_the_server_asks_for(error: openai.APIStatusError, seconds: float | None) -> None:
    assert wait_seconds(error, 1) == seconds


def test_the_server_can_ask_for_a_time_of_day() -> None:
    seconds = wait_seconds(status_error(429, retry_after=formatdate(time.time() + 30, usegmt=True)), 1)
    assert seconds == pytest.approx(30, abs=3)


@pytest.mark.parametrize("retry_after", ["", "soon", "-1"])
def test_waits_double_up_to_a_maximum(retry_after: str) -> None:
    error = status_error(500, **({"retry_after": retry_after} if retry_after else {}))
    for attempt, longest in ((1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (50, 8.0)):
        seconds = wait_seconds(error, attempt)
        assert seconds is not None
        assert 0.75 * longest <= seconds <= longest


@pytest.mark.parametrize(("settings", "attempts"), [({}, 4), ({"max_retries": 6}, 7), ({"max_retries": 0}, 1)])
def test_a_server_that_is_never_reached_is_reported_at_once_and_given_up_soon(
    settings: dict[str, int], attempts: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[int] = []

    def no_wait(error: openai.APIError, attempt: int) -> float:
        waits.append(attempt)
        return 0.0

    monkeypatch.setattr("promptkit.models.http.client.wait_seconds", no_wait)
    with caplog.at_level(logging.WARNING), refused(ServerError, "server-unreachable", url=URL):
        pk.load("http:tiny", base_url=URL, **settings).load()
    assert waits == [*range(1, attempts + 1)]
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == (attempts > 1)  # the later ones are too close in time
    assert all(part in warning for warning in warnings for part in (URL, f"1 of {attempts}", "0.0 s"))


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no such size"}},
        [{"error": {"message": "no such size"}}],
        {"detail": "no such size"},
        {"detail": [{"loc": ["body"], "msg": "no such size"}]},
        {"error": "no such size"},
    ],
)
def test_the_reason_of_a_refusal_is_part_of_the_error(body: Any) -> None:
    with serving(Script(lambda _: (400, body))) as url, refused(ServerError, "no-usable-endpoint") as error:
        load_http(url).load()
    assert "no such size" in str(error.value)
