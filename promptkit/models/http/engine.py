"""The http engine: vLLM's server and any other with an OpenAI-compatible API.

Labels are scored as exactly as the server allows: by the log-probabilities of tokens that a request names (vLLM's server), by
those of the most likely tokens, or, where there is only chat, by the label that a reply names. Notes say what is inexact.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict
from functools import cached_property, partial

from promptkit.core.errors import PromptkitError, Unsupported
from promptkit.core.model import TextCard, Tokenizer
from promptkit.core.requests import Generate, GenerateOutput, Output, Read, Request, Score
from promptkit.models.base import BaseEngine
from promptkit.models.files.pretrained import read_tokenizer
from promptkit.models.files.source import resolve
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.http.capabilities import ServerCapabilities, probe
from promptkit.models.http.chat import CharacterTokenizer
from promptkit.models.http.client import HttpSettings, Server
from promptkit.models.http.completions import Completions
from promptkit.models.http.counts import ResponseCounts
from promptkit.models.http.exchange import Exchange
from promptkit.models.http.protocol import CONSTRAINTS
from promptkit.models.http.replies import LabelReplies
from promptkit.models.http.schemas import ServerSchemas
from promptkit.models.http.tokens import TokenTable
from promptkit.models.one_token import output_of, queries_of
from promptkit.models.registry import ENGINES

MAX_NAMED_IDS = 128
"""vLLM's maximum number of tokens that one request can name."""
UNLIMITED = 1 << 20
"""The context length, and the number of tokens per query, where the server has no known limit."""
PROBE_TEXT = "The capital of Österreich (est. 976) isn't 東京; it is"
"""A text that different tokenizers encode as different numbers of tokens."""


class HttpModel(BaseEngine):
    """A model behind a server; nothing is sent before its identity or an output is requested."""

    capabilities = ENGINES["http"].capabilities

    Settings = HttpSettings

    def __init__(self, name: str, settings: HttpSettings) -> None:
        """Creates a model; the tokenizer is read when it is needed.

        Raises:
            InputError: `base_url` is missing or invalid.
            MissingPackage: The package openai is not installed.
        """
        self.name = f"http:{name}"
        self._model = name
        self._settings = settings
        self._server = Server(settings)
        self._source = resolve(settings.tokenizer) if settings.tokenizer else None
        self._counts = ResponseCounts()

    @cached_property
    def card(self) -> TextCard:
        """The model's card; the context length is requested from the server unless it is set."""
        return TextCard(
            tokenizer=self._tokenizer,
            d_model=0,
            embedding_width=0,
            vocabulary=0,
            layers=0,
            kv_heads=0,
            context_length=self._context_length(),
            instruct=True,
        )

    def _context_length(self) -> int:
        if self._source is None:  # the tokens are characters, which the server's limit does not apply to
            return UNLIMITED
        if self._settings.max_model_len is not None:
            return self._settings.max_model_len
        listing = self._server.get("/models")
        models = listing.get("data") if isinstance(listing, dict) else None
        for model in models if isinstance(models, list) else ():
            if isinstance(model, dict) and model.get("id") == self._model and isinstance(model.get("max_model_len"), int):
                return model["max_model_len"] or UNLIMITED
        return UNLIMITED

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return CharacterTokenizer() if self._source is None else read_tokenizer(self._source, self.name)

    @cached_property
    def _capabilities(self) -> ServerCapabilities:
        return probe(self._server, self._model, None if self._source is None else self._probe_ids, PROBE_TEXT)

    @property
    def _probe_ids(self) -> list[int]:
        return [*self._tokenizer.bos, *self._tokenizer.encode(PROBE_TEXT).ids]

    @cached_property
    def _exchange(self) -> Exchange:
        return Exchange(self._server, self._capabilities.form, self._counts)

    @cached_property
    def _completions(self) -> Completions:
        tokenizer = self._tokenizer
        table = TokenTable(tokenizer) if isinstance(tokenizer, TransformersTokenizer) else None
        return Completions(self._exchange, self._model, self._capabilities, tokenizer, table, self._schemas)

    @cached_property
    def _schemas(self) -> ServerSchemas:
        prompt = self._probe_ids if self._capabilities.prompts == "ids" else PROBE_TEXT
        return ServerSchemas(self._server, self._model, self._capabilities, prompt)

    @cached_property
    def _replies(self) -> LabelReplies:
        return LabelReplies(self._exchange, self._model, self._capabilities, self._tokenizer)

    def identity(self) -> Mapping[str, object]:
        """Returns the server's address, the model's name there, the tokenizer's hash and the server's capabilities."""
        return {
            "engine": "http",
            "name": self.name,
            "base_url": self._server.url,
            "tokenizer": self._source.fingerprint() if self._source else None,
            "capabilities": asdict(self._capabilities),
        }

    def notes(self) -> Sequence[str]:
        """Returns how many requests and tokens were sent, and what the server did not answer exactly."""
        constraint = CONSTRAINTS.get(self._capabilities.constrained, "")
        top = self._capabilities.top
        return [self._server.usage(), *self._counts.notes(top=top, constraint=constraint, model=self._model)]

    def load(self) -> None:
        """Finds out what the server supports."""
        _ = self._capabilities

    def batches(self, requests: Sequence[Request]) -> Sequence[tuple[int, ...]]:
        """Returns each request as a separate batch, so that no output that was paid for is lost."""
        return [(index,) for index in range(len(requests))]

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        """Yields outputs as they arrive; after an error, outputs of requests that were already sent are still yielded.

        Raises:
            Unsupported: A request needs something that the server does not support.
            ServerError: The server fails.
        """
        self.check_supported(requests)
        pool = ThreadPoolExecutor(self._settings.concurrency)
        output = partial(self._output, self._completions, self._replies)  # of this connection, even after it is closed
        try:
            pending = {pool.submit(output, request): i for i, request in enumerate(requests) if i not in done}
            yield from _completed(pending)
        except PromptkitError:
            raise
        except BaseException:
            self._reconnect()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _reconnect(self) -> None:
        """Aborts the requests that are in progress; later ones use a new connection."""
        self._server.close()
        self._server = self._server.reconnected()
        for name in ("_exchange", "_completions", "_replies", "_schemas"):
            self.__dict__.pop(name, None)

    def check_supported(self, requests: Sequence[Request]) -> None:
        """Raises Unsupported if a request needs something that the engine or the server does not support."""
        super().check_supported(requests)
        capabilities = self._capabilities
        most = max((request.verb.top_m for request in requests if isinstance(request.verb, Read)), default=0)
        if most > capabilities.top:
            raise Unsupported(
                f"The server {self._server.url} returns at most {capabilities.top} of the most likely tokens",
                code="too-many-top-tokens",
                got=most,
                hint="Use a vllm or hf model",
                url=self._server.url,
                requested=most,
                limit=capabilities.top,
            )
        scores = any(isinstance(request.verb, Score | Read) for request in requests)
        if scores and capabilities.prompts != "chat" and not (capabilities.named or capabilities.top):
            raise Unsupported(
                f"The server {self._server.url} returns no log-probabilities for completions",
                code="no-logprobs",
                hint="Leave out tokenizer to read labels from its chat replies, or use another server",
                url=self._server.url,
            )

    def _check_schemas(self, schemas: Sequence[str]) -> None:
        """Raises Unsupported if the server does not restrict texts to one of the schemas."""
        if schemas:
            self._schemas.check(schemas)

    def _output(self, completions: Completions, replies: LabelReplies, request: Request) -> Output:
        verb = request.verb
        if isinstance(verb, Generate):
            samples = range(verb.known, verb.n)
            texts = tuple(completions.write(request.text, verb, sample) for sample in samples)
            return GenerateOutput(generations=texts)
        if self._capabilities.prompts == "chat":
            if isinstance(verb, Score):
                return replies.score(request.text, verb)
            raise Unsupported(
                f"The server {self._server.url} offers only chat, which returns no log-probabilities of tokens",
                code="no-chat-logprobs",
                hint="Use a vllm or hf model",
                url=self._server.url,
            )
        max_ids = MAX_NAMED_IDS if self._capabilities.named else UNLIMITED
        results = {query: completions.logprobs(query) for query in queries_of([request], max_ids=max_ids)}
        return output_of(request, results, max_ids=max_ids)


def _completed(pending: Mapping[Future[Output], int]) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
    """Yields outputs as they arrive. The first error cancels what has not started and is raised at the end."""
    failure: PromptkitError | None = None
    for future in as_completed(pending):
        try:
            output = future.result()
        except CancelledError:
            continue
        except PromptkitError as error:
            failure = failure or error
            for other in pending:
                other.cancel()
            continue
        yield (pending[future],), (output,)
    if failure is not None:
        raise failure
