"""A local HTTP server whose responses a script gives, for tests of the http engine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import promptkit as pk
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Generate, Request, Score
from promptkit.models.http.chat import CharacterTokenizer

Body = dict[str, Any]
Answer = tuple[int, Any]


class ScriptedServer(Protocol):
    """What `serving` needs of a script."""

    faults: list[Callable[[Any], bool]]
    """Called with the handler of one request each, in place of a response; True gives the response as well."""
    bodies: list[dict[str, Any]]
    """The requests so far."""
    keys: set[str]
    """The Authorization headers so far."""
    lock: threading.Lock

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Returns the status and the JSON value of a response."""
        ...


class Script:
    """A script from one function for chat and one for completions, each of which returns a status and a JSON value."""

    def __init__(
        self,
        chat: Callable[[dict[str, Any]], tuple[int, Any]] | None = None,
        completions: Callable[[dict[str, Any]], tuple[int, Any]] | None = None,
    ) -> None:
        self.chat, self.completions = chat, completions
        self.faults: list[Callable[[Any], bool]] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.lock = threading.Lock()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        respond = self.chat if path.endswith("/chat/completions") else self.completions
        return respond(body) if respond is not None else refusal("no such path", 404)


def reply(content: Any, finish: str = "stop", **message: Any) -> tuple[int, Any]:
    """Returns a chat response."""
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    return 200, {"choices": [{"message": {"content": content, **message}, "finish_reason": finish}], "usage": usage}


def refusal(message: str, status: int = 400) -> tuple[int, Any]:
    """Returns an error response."""
    return status, {"error": {"message": message}}


@contextmanager
def serving(script: ScriptedServer, port: int = 0) -> Iterator[str]:
    """Serves the script on a local port; yields the base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send(200, {"data": [{"id": "tiny", "max_model_len": 300}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with script.lock:
                script.keys.add(self.headers["Authorization"])
                script.bodies.append(body)
                fault = script.faults.pop(0) if script.faults else None
            if fault is None or fault(self):
                self.send(*script.answer(self.path, body))

        def send(self, status: int, body: Any, cut: int | None = None, **headers: str) -> None:
            content = json.dumps(body).encode()[:cut]
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def load_http(url: str, **settings: Any) -> Any:
    """Returns the model of a server without retries."""
    return pk.load("http:m", base_url=url, **{"timeout": 5, "max_retries": 0, **settings})


def classify(chat: Callable[[Body], Answer], *words: str, settings: Any = None) -> tuple[list[str | None], Script, Any]:
    """Labels of two prompts, "fine" and "dull", or None without an answer; with the server's script and the model."""
    words = words or ("negative", "positive")
    tokenizer, script = CharacterTokenizer(), Script(chat)
    verb = Score(continuations=tuple(tokenizer.encode(word).ids for word in words))
    requests = [Request(input=TextInput(ids=tokenizer.encode(text).ids), verb=verb) for text in ("fine", "dull")]
    with serving(script) as url:
        model = load_http(url, **(settings or {}))
        outputs = {index: output for (index,), (output,) in model.answer(requests)}
        model.notes()
    rows = [outputs[index].logprobs for index in (0, 1)]
    places = [max(range(len(row)), key=lambda place: sum(row[place]), default=None) for row in rows]
    return [None if place is None else words[place] for place in places], script, model


def write(chat: Callable[[Body], Answer], verb: Generate, ids: tuple[int, ...] | None = None) -> tuple[Any, Script, Any]:
    """The generated text of one prompt, with the server's script and the model."""
    script = Script(chat)
    ids = ids or CharacterTokenizer().encode("Where?").ids
    with serving(script) as url:
        model = load_http(url)
        ((_, (output,)),) = model.answer([Request(input=TextInput(ids=ids), verb=verb)])
        model.notes()
    return output.generations[0], script, model


def right(body: Body) -> str:
    """The right label of a prompt of `classify`."""
    return "positive" if "fine" in body["messages"][-1]["content"] else "negative"


def noted(model: Any, word: str) -> bool:
    """Whether a note contains the word."""
    return any(word in note for note in model.notes())
