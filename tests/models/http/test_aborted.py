"""After a call whose outputs are not all taken, the model can be used again, and no request of that call is sent any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from promptkit.core.errors import ServerError
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Generate, Request
from promptkit.models.http.chat import CharacterTokenizer
from tests.support.errors import refused
from tests.support.hf_models import answer
from tests.support.servers import Answer, Body, Script, load_http, reply, serving

SAMPLES = 3
TEXTS = ("first", "second", "third", "fourth")


class Pausing:
    """Replies with the question; while `waits` is set, the second question gets its reply only after `released`."""

    def __init__(self) -> None:
        self.waits = True
        self.received, self.released = threading.Event(), threading.Event()

    def __call__(self, body: Body) -> Answer:
        text = body["messages"][-1]["content"]
        if self.waits and text == "second":
            self.received.set()
            self.released.wait(10)
        return reply(text)


def requests() -> list[Request]:
    verb = Generate(max_tokens=5, n=SAMPLES, temperature=1.0)
    return [Request(input=TextInput(ids=CharacterTokenizer().encode(text).ids), verb=verb) for text in TEXTS]


def close(outputs: Any) -> None:
    outputs.close()


def interrupt(outputs: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        outputs.throw(KeyboardInterrupt)


def abort(model: Any, script: Pausing, how: Callable[[Any], None]) -> None:
    """Takes one output, and aborts the call while a request of the next one is in progress."""
    before = {*threading.enumerate()}
    outputs = model.answer(requests())
    next(outputs)
    assert script.received.wait(10)
    how(outputs)
    workers = [thread for thread in threading.enumerate() if thread not in before and "ThreadPoolExecutor" in thread.name]
    assert workers
    # the worker continues only after the model has its new connection
    script.waits = False
    script.released.set()
    for worker in workers:
        worker.join(10)
        assert not worker.is_alive()


@pytest.mark.parametrize("how", [close, interrupt])
def test_a_model_can_be_used_again_after_an_aborted_call(how: Callable[[Any], None]) -> None:
    pausing = Pausing()
    script = Script(pausing)
    with serving(script) as url:
        model = load_http(url, concurrency=1)
        model.load()
        probes = len(script.bodies)
        abort(model, pausing, how)
        assert len(script.bodies) == probes + SAMPLES + 1
        outputs = answer(model, requests())
        assert [{sample.text for sample in output.generations} for output in outputs] == [{text} for text in TEXTS]
        assert len(script.bodies) == probes + SAMPLES + 1 + SAMPLES * len(TEXTS)
        assert model.notes()[0].startswith(f"{len(script.bodies)} requests ")


def test_the_budget_counts_the_requests_of_an_aborted_call() -> None:
    pausing = Pausing()
    script = Script(pausing)
    with serving(script) as url:
        load_http(url).load()
        limit = len(script.bodies) + SAMPLES + 2
        model = load_http(url, concurrency=1, max_requests=limit)
        model.load()
        abort(model, pausing, close)
        with refused(ServerError, "budget-spent", setting="max_requests", limit=limit, spent=limit):
            answer(model, requests())
