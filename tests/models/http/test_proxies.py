"""Errors of a connection name the proxy that it goes through, and the address that the server redirects to."""

from __future__ import annotations

import pytest

import promptkit as pk
from promptkit.core.errors import InputError, ServerError
from tests.support.errors import refused
from tests.support.servers import Script, load_http, reply, serving


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_connection_error_names_the_proxy_without_its_password(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://user:secret@127.0.0.1:9")
    fields = {"url": "http://server.invalid/v1", "proxy": "http://127.0.0.1:9", "variable": variable}
    with refused(ServerError, "server-unreachable", **fields) as error:
        load_http("http://server.invalid/v1").load()
    assert "http://127.0.0.1:9" in str(error.value)
    assert "secret" not in f"{error.value} {error.value.fields}"


def test_a_failure_of_a_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(lambda body: (502, {"error": {"message": "Bad Gateway"}}))
    with serving(script) as url:
        monkeypatch.setenv("HTTP_PROXY", url.removesuffix("/v1"))
        with refused(ServerError, "server-failure", status=502, variable="HTTP_PROXY"):
            load_http("http://server.invalid/v1").load()


def test_a_bypassed_proxy_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with refused(ServerError, "server-unreachable", proxy=None):
        load_http("http://127.0.0.1:9/v1").load()


def test_an_address_is_needed() -> None:
    with refused(InputError, "missing-base-url"):
        pk.load("http:m")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirection_is_an_error_that_names_the_new_address(status: int) -> None:
    new = "https://server.invalid/v1/chat/completions"
    script = Script(lambda body: reply("Paris"))
    with serving(script) as url:
        script.faults = [lambda handler: handler.send(status, {}, Location=new) or False]
        with refused(ServerError, "redirected", url=url, location=new):
            load_http(url).load()
    assert len(script.bodies) == 1
