"""The web service of the examples answers as the predictor that it serves, and predicts rows of several requests together."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

import promptkit as pk
from tests.support.paths import ROOT

EXAMPLES = ROOT / "examples"
TEXTS = [f"a film number {number}" for number in range(40)]


def predictor() -> pk.Predictor:
    return pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), [pk.Verbalizer({"no": "bad", "yes": "good"})])


def expected(texts: list[Any], threshold: float | None = None) -> list[dict[str, Any]]:
    """What the service answers, from `predict`."""
    names = ("prediction", "probability", "probabilities", "abstained", "error")
    predictions = predictor().predict([{"text": text} for text in texts], threshold=threshold)
    return [{name: getattr(prediction, name) for name in names} for prediction in predictions]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that runs in another process."""
    folder = tmp_path_factory.mktemp("service") / "saved"
    predictor().save(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "service:app", "--app-dir", str(EXAMPLES), "--port", str(port)]
    environment = {**os.environ, "PREDICTOR": str(folder), "THRESHOLD": "0.9", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield wait_for(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for(address: str, process: subprocess.Popen[bytes]) -> str:
    for _ in range(600):
        assert process.poll() is None, "the service has ended"
        try:
            urlopen(f"{address}/health", timeout=5).close()
        except URLError:
            time.sleep(0.1)
        else:
            return address
    raise TimeoutError(address)


def post(address: str, body: object) -> list[dict[str, Any]]:
    request = Request(f"{address}/predict", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as response:
        answers: list[dict[str, Any]] = json.load(response)["predictions"]
    return answers


def test_the_service_is_healthy_and_names_its_labels(address: str) -> None:
    with urlopen(f"{address}/health", timeout=60) as response:
        assert json.load(response) == {"status": "ok", "model": "fake", "labels": ["no", "yes"]}


def test_answers_are_those_of_predict_also_for_many_requests_at_once(address: str) -> None:
    assert post(address, {"rows": [{"text": text} for text in TEXTS]}) == expected(TEXTS, 0.9)
    with ThreadPoolExecutor(8) as threads:
        answers = [*threads.map(lambda text: post(address, {"rows": [{"text": text}]}), TEXTS)]
    assert [answer for (answer,) in answers] == expected(TEXTS, 0.9)
    assert any(answer["abstained"] for (answer,) in answers)
    assert post(address, {"rows": []}) == []


def test_a_row_that_cannot_be_read_does_not_stop_the_others(address: str) -> None:
    answers = post(address, {"rows": [{"text": "fine"}, {"other": "fine"}, {"text": "poor"}]})
    assert [answer["error"] is None for answer in answers] == [True, False, True]
    assert [answers[0], answers[2]] == expected(["fine", "poor"], 0.9)


def test_a_request_without_rows_is_refused(address: str) -> None:
    with pytest.raises(HTTPError) as raised:
        post(address, {"texts": ["fine"]})
    assert raised.value.code == 422
    raised.value.close()


def service() -> ModuleType:
    spec = spec_from_file_location("service_example", EXAMPLES / "service.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # for the annotations of its data classes
    spec.loader.exec_module(module)
    return module


class Counting(pk.Predictor):
    """Counts the rows of each call of `predict`; fails once for a batch with the text `crash`."""

    def __init__(self) -> None:
        loaded = predictor()
        super().__init__(loaded.model, loaded.manipulate, [loaded.reader])
        self.batches: list[int] = []

    def predict(self, rows: Any, **options: Any) -> Any:
        self.batches.append(len(rows))
        if any(row["text"] == "crash" for row in rows):
            raise RuntimeError("out of memory")
        return super().predict(rows, **options)


def test_rows_that_wait_together_are_one_batch_and_a_failed_batch_stops_nothing() -> None:
    counting = Counting()
    module = service()

    async def requests() -> list[Any]:
        batches = module.Batches(counting)
        task = asyncio.create_task(batches.run())
        answers = await asyncio.gather(*(batches.answers([{"text": text}]) for text in TEXTS))
        with pytest.raises(RuntimeError, match="out of memory"):
            await batches.answers([{"text": "crash"}])
        answers.append(await batches.answers([{"text": "fine"}]))
        task.cancel()
        return [answer.model_dump() for (answer,) in answers]

    assert asyncio.run(requests()) == expected([*TEXTS, "fine"])
    assert counting.batches == [module.BATCH, len(TEXTS) - module.BATCH, 1, 1]
