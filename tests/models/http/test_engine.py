"""The http engine with a small local server: exactness for each kind of server, and faults."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.errors import InputError, PromptkitError, ServerError
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Generate, Output, Read, Request, Score, ScoreOutput
from promptkit.evaluation.evaluate import evaluate
from tests.support.errors import refused
from tests.support.hf_models import answer
from tests.support.servers import serving
from tests.support.tiny import make_tokenizer

KEY = "sk-very-secret-4711"
PROMPTS = [TextInput(ids=(0, *range(20 + n, 30 + n))) for n in range(6)]
WORDS = tuple(make_tokenizer().encode(text, add_special_tokens=False) for text in (" good", " bad", " bad film", "!"))
SCORES = [Request(input=prompt, verb=Score(continuations=tuple(map(tuple, WORDS)))) for prompt in PROMPTS]


class FakeServer:
    """A server that answers from an hf model in this process, with the capabilities and faults that a test sets."""

    def __init__(self, folder: Path, *, ids: bool = True, named: bool = True, top: int = 20, completions: bool = True) -> None:
        self.model: Any = pk.load(folder)
        self.ids, self.named, self.top, self.completions = ids, named, top, completions
        self.constrained = ""
        self.reply = "yes"
        self.faults: list[Callable[[Any], bool]] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.lock = threading.Lock()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:  # noqa: PLR0911
        if path.endswith("/chat/completions"):
            return self.chat(body)
        if not self.completions:
            return 404, {"error": {"message": "no completions here"}}
        prompt = body["prompt"]
        if isinstance(prompt, list) and not self.ids:
            return 400, {"error": {"message": "prompt must be a text"}}
        if "logprob_token_ids" in body and not self.named:
            return 400, {"error": {"message": "logprob_token_ids is unknown"}}
        if (body.get("logprobs") or 0) > self.top:
            return 400, {"error": {"message": "too many logprobs"}}
        tokenizer = self.model.card.tokenizer
        ids = tuple(prompt) if isinstance(prompt, list) else (*tokenizer.bos, *tokenizer.encode(prompt).ids)
        usage = {"prompt_tokens": len(ids), "completion_tokens": body["max_tokens"]}
        with self.lock:
            if body["max_tokens"] > 1:
                verb = Generate(max_tokens=body["max_tokens"], stop=tuple(body.get("stop", ())))
                text = self.output(Request(input=TextInput(ids=ids), verb=verb)).generations[0]
                choice = {"text": text.text, "finish_reason": "length" if text.ended == "length" else "stop"}
                return 200, {"choices": [choice], "usage": usage}
            count = body.get("logprobs") or 0
            named = tuple(body.get("logprob_token_ids", ()))
            output = self.output(Request(input=TextInput(ids=ids), verb=Read(token_ids=named, top_m=count)))
        pairs = zip(named, output.logprobs, strict=True) if named else output.top
        spelling = (lambda i: f"token_id:{i}") if self.named else lambda i: tokenizer.decode([i])
        logprobs = {"top_logprobs": [{spelling(i): x for i, x in pairs}]} if count else None
        return 200, {"choices": [{"text": "", "logprobs": logprobs, "finish_reason": "length"}], "usage": usage}

    def chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        reply = self.reply
        if "structured_outputs" in body:
            if self.constrained != "choice":
                return 400, {"error": {"message": "structured_outputs is unknown"}}
            reply = body["structured_outputs"]["choice"][-1]
        elif "response_format" in body and self.constrained == "schema":
            schema = body["response_format"]["json_schema"]["schema"]
            reply = json.dumps({"answer": schema["properties"]["answer"]["enum"][-1]})
        return 200, {"choices": [{"message": {"content": reply}}], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}

    def output(self, request: Request) -> Any:
        return next(iter(self.model.answer([request])))[1][0]


def load(url: str, folder: Path | None, **settings: Any) -> Any:
    tokenizer = {"tokenizer": str(folder)} if folder else {}
    return pk.load("http:tiny", base_url=url, **{"timeout": 2, "max_retries": 3, **tokenizer, **settings})


def scores(outputs: list[Output]) -> list[float]:
    return [x for output in outputs if isinstance(output, ScoreOutput) for row in output.logprobs for x in row]


# ---- exactness --------------------------------------------------------------------------------------


def test_scores_by_named_tokens_equal_hf(folder: Path) -> None:
    expected = scores(answer(pk.load(folder), SCORES))
    with serving(FakeServer(folder)) as url:
        model = load(url, folder)
        assert scores(answer(model, SCORES)) == pytest.approx(expected, abs=1e-5)
        form = {"length": "max_tokens", "lowest_temperature": 0, "omitted": (), "folds_system": False}
        capabilities = {"prompts": "ids", "named": True, "top": 20, "constrained": "", "form": form}
        assert model.identity()["capabilities"] == capabilities
        assert model.card.context_length == 300
        assert len(model.notes()) == 1


def test_tokens_outside_the_top_get_an_upper_bound_and_a_note(folder: Path) -> None:
    expected = scores(answer(pk.load(folder), SCORES))
    with serving(FakeServer(folder, named=False, top=5)) as url:
        model = load(url, folder)
        result = scores(answer(model, SCORES))
    for one, other in zip(expected, result, strict=True):
        assert other == pytest.approx(one, abs=1e-5) or other > one
    outside = sum(model._counts._outside_top.values())
    assert outside > 0
    assert any(note.startswith(f"{outside} ") for note in model.notes())


def test_greedy_texts_equal_hf_for_prompts_of_ids_and_of_text(folder: Path) -> None:
    hf = pk.load(folder)
    texts = ["Review: the film was good", "The answer is"]
    requests = [
        Request(
            input=TextInput(ids=(*hf.card.tokenizer.bos, *hf.card.tokenizer.encode(text).ids)),
            verb=Generate(max_tokens=8, stop=("e",)),
        )
        for text in texts
    ]
    expected: list[Any] = answer(hf, requests)
    for script in (FakeServer(folder), FakeServer(folder, ids=False)):
        with serving(script) as url:
            result: list[Any] = answer(load(url, folder), requests)
        assert [x.generations[0].text for x in result] == [x.generations[0].text for x in expected]


@pytest.mark.parametrize("constrained", ["choice", "schema", ""])
def test_with_only_chat_labels_are_parsed_from_replies_and_noted(folder: Path, tmp_path: Path, constrained: str) -> None:
    script = FakeServer(folder, completions=False)
    script.constrained, script.reply = constrained, "It is Positive, I think."
    words = pk.Verbalizer({"negative": "Negative", "positive": "Positive"})
    with serving(script) as url:
        predictor = pk.Predictor(load(url, None), pk.Prompt("sentiment/review", demos=pk.demos.Balanced(k=2), chat=True), words)
        run = evaluate(predictor, pk.task("sentiment"), limit=6, out=tmp_path)
        assert run.results[0].predictions == ("positive",) * 6
        assert any(" 6 labels" in note for note in run.notes)
        roles = [message["role"] for message in script.bodies[-1]["messages"]]
        assert roles[-5:] == ["user", "assistant", "user", "assistant", "user"]
        script.reply = "I cannot say."
        if not constrained:
            other = evaluate(predictor, pk.task("sentiment"), limit=7, out=tmp_path, cache=False)
            assert any(note.startswith("7 replies") for note in other.notes)


# ---- faults -----------------------------------------------------------------------------------------


def fails(status: int, **headers: str) -> Callable[[Any], bool]:
    return lambda handler: handler.send(status, {"error": {"message": f"busy, {KEY}"}}, **headers) or False


def truncated(handler: Any) -> bool:
    handler.send(200, {"choices": [{"text": "a"}]}, cut=12)
    return False


def hangs_up(handler: Any) -> bool:
    handler.connection.close()
    return False


def slow(handler: Any) -> bool:
    time.sleep(0.5)
    return True


def never(handler: Any) -> bool:
    time.sleep(4)
    return False


@pytest.mark.parametrize(
    "fault", [fails(429, Retry_After="0.1"), fails(500), fails(503), truncated, slow, hangs_up], ids=lambda f: f.__name__
)
def test_temporary_faults_are_retried(folder: Path, fault: Callable[[Any], bool]) -> None:
    script = FakeServer(folder)
    with serving(script) as url:
        model = load(url, folder)
        model.load()
        expected = scores(answer(pk.load(folder), SCORES[:2]))
        script.faults = [fault, fault]
        assert scores(answer(model, SCORES[:2])) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("fault", "code", "fields"),
    [
        (fails(429), "too-many-requests", {}),
        (fails(500), "server-failure", {"status": 500}),
        (fails(401), "api-key-refused", {"variable": "OPENAI_API_KEY"}),
        (never, "server-timeout", {"seconds": 0.5}),
        (truncated, "response-not-json", {}),
        (lambda handler: handler.send(200, [1, 2]) or False, "unexpected-response", {"response": "[1, 2]"}),
        (
            lambda handler: handler.send(200, {"choices": "no"}) or False,
            "unexpected-response",
            {"response": "{'choices': 'no'}"},
        ),
        (lambda handler: handler.send(200, {}) or False, "unexpected-response", {"response": "{}"}),
    ],
)
def test_permanent_faults_are_reported_without_the_key(
    folder: Path,
    fault: Callable[[Any], bool],
    code: str,
    fields: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    script = FakeServer(folder)
    with serving(script) as url:
        model = load(url, folder, max_retries=0, **({"timeout": 0.5} if fault is never else {}))
        predictor = pk.Predictor(model, pk.Prompt("sentiment/review"), {"negative": "bad", "positive": "good"})
        model.load()
        script.faults = [fault] * 500
        with refused(ServerError, code, url=url, **fields) as error:
            evaluate(predictor, pk.task("sentiment"), limit=3, out=tmp_path)
    assert script.keys == {f"Bearer {KEY}"}
    assert KEY not in f"{error.value} {error.value.fields}"
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


def test_requests_are_retried_until_the_server_is_back(folder: Path) -> None:
    script = FakeServer(folder)
    with serving(script) as url:
        model = load(url, folder, max_retries=10)
        model.load()
    port = int(url.split(":")[2].split("/")[0])
    result: list[Output] = []
    thread = threading.Thread(target=lambda: result.extend(answer(model, SCORES)))
    thread.start()
    time.sleep(1.5)
    with serving(script, port):
        thread.join(30)
    assert scores(result) == pytest.approx(scores(answer(pk.load(folder), SCORES)), abs=1e-5)


def test_a_run_stopped_by_its_budget_can_be_resumed(folder: Path, tmp_path: Path) -> None:
    script = FakeServer(folder)
    words = {"negative": "bad", "positive": "good"}
    with serving(script) as url:

        def run(name: str, **settings: Any) -> Any:
            model = load(url, folder, **settings)
            return evaluate(
                pk.Predictor(model, pk.Prompt("sentiment/review"), words),
                pk.task("sentiment"),
                limit=8,
                out=tmp_path / name,
                cache=False,
            )

        full = run("whole")
        with refused(ServerError, "budget-spent", setting="max_requests", limit=26, spent=26):
            run("broken", max_requests=26)
        with refused(ServerError, "budget-spent", setting="max_tokens_total", limit=100):
            run("broken", max_tokens_total=100)
        again = run("broken")
    assert again.resumed > 0
    for file in ("run.json", "samples.jsonl", "summary.json"):
        assert (again.path / file).read_bytes() == (full.path / file).read_bytes()


@pytest.mark.parametrize(
    ("settings", "error", "code", "fields"),
    [
        ({}, InputError, "missing-base-url", {}),
        ({"base_url": "localhost:8000"}, InputError, "invalid-base-url", {"base_url": "localhost:8000"}),
        ({"base_url": f"http://user:{KEY}@host/v1"}, InputError, "secret-in-base-url", {}),
        ({"base_url": f"http://host/v1?key={KEY}"}, InputError, "secret-in-base-url", {}),
        (
            {"base_url": "http://127.0.0.1:9/v1", "max_retries": 0},
            ServerError,
            "server-unreachable",
            {"url": "http://127.0.0.1:9/v1"},
        ),
    ],
)
def test_an_invalid_or_unreachable_address_is_refused(
    settings: dict[str, Any], error: type[PromptkitError], code: str, fields: dict[str, str]
) -> None:
    with refused(error, code, **fields) as refusal:
        pk.load("http:tiny", **settings).load()
    assert KEY not in f"{refusal.value} {refusal.value.fields}"
