"""The http engine: vLLM's server and any other that speaks OpenAI's protocol.

Labels are scored as exactly as the server allows: by the log-probabilities of tokens that a request names (vLLM's server),
by those of its likeliest tokens, or, where there is only chat, by which label its reply names; what is lost is told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict
from functools import cached_property
from math import exp, log, log1p
from typing import Any, Literal

from pydantic import PositiveInt

from promptkit.core.errors import PromptkitError, Unsupported
from promptkit.core.inputs import TextInput
from promptkit.core.model import Card, Tokenizer
from promptkit.core.requests import Generate, GenerateOutput, Generation, Output, Read, Request, Score, ScoreOutput
from promptkit.models.files.pretrained import read_tokenizer
from promptkit.models.files.source import resolve
from promptkit.models.generation import seed_of
from promptkit.models.http.capabilities import (
    ServerCapabilities,
    choices_body,
    named_body,
    probe,
    reply_of,
    parse_reply,
    id_spelling,
    top_logprobs,
)
from promptkit.models.http.chat import CharacterTokenizer, messages_of
from promptkit.models.http.client import Server, ServerSettings
from promptkit.models.one_token import Answer, Question, answer_of, questions_of, refuse_hidden_states, refuse_layers

MOST_IDS = 128
"""vLLM's bound on the tokens that one request may name."""
NOT_SAID = log(1e-6)
"""The log-probability of a label that a chat's reply did not name: the server tells none."""
REPLY_TOKENS = 32
"""The most tokens of a chat's reply that names a label."""
LEAST = 1e-12
UNKNOWN_LENGTH = 1 << 20


class HttpModel:
    """A model behind a server; nothing is sent before it is asked for its identity."""

    verbs = frozenset({"Score", "Read", "Generate"})
    hidden_states = False

    class Settings(ServerSettings):
        """Settings of the http engine."""

        tokenizer: str | None = None
        """Hub id, folder, .gguf file or demo: the model's tokenizer, without which there is only chat."""
        max_model_len: PositiveInt | None = None
        """The most tokens of a prompt and its continuation, where the server does not tell it."""

    def __init__(self, name: str, settings: Settings) -> None:
        """Read the tokenizer."""
        self.name = f"http:{name}"
        self._model = name
        self._settings = settings
        self._server = Server(settings)
        self._source = resolve(settings.tokenizer) if settings.tokenizer else None
        self._outside: Counter[str] = Counter()
        self._unread = self._replies = self._otherwise = 0

    @cached_property
    def card(self) -> Card:
        """What manipulations may know of the model; asks the server for its length."""
        length = self._settings.max_model_len
        if self._source is None:  # whose tokens are characters, of which there are more
            length = UNKNOWN_LENGTH
        listed = self._server.get("/models") if length is None else None
        models = listed.get("data") if isinstance(listed, dict) else None
        for model in models if isinstance(models, list) else ():
            if isinstance(model, dict) and model.get("id") == self._model and isinstance(model.get("max_model_len"), int):
                length = model["max_model_len"]
        return Card(
            tokenizer=self._tokenizer,
            d_model=0,
            vocabulary=0,
            layers=0,
            kv_heads=0,
            context_length=length or UNKNOWN_LENGTH,
            instruct=True,
        )

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return CharacterTokenizer() if self._source is None else read_tokenizer(self._source, self.name)

    @cached_property
    def _abilities(self) -> ServerCapabilities:
        text = "The capital of France is"
        ids = None if self._source is None else (*self._tokenizer.bos, *self._tokenizer.encode(text).ids)
        return probe(self._server, self._model, ids, text)

    def identity(self) -> Mapping[str, object]:
        """The server's address, the model's name there, the tokenizer and what the server can do."""
        return {
            "engine": "http",
            "name": self.name,
            "base_url": self._server.url,
            "tokenizer": self._source.fingerprint() if self._source else None,
            "abilities": asdict(self._abilities),
        }

    def notes(self) -> Sequence[str]:
        """What went over the wire, and what of the labels' probabilities the server did not tell."""
        notes = [self._server.usage()]
        if self._outside:
            told = ", ".join(f"{name!r} ({count})" for name, count in self._outside.most_common(5))
            notes.append(
                f"{sum(self._outside.values())} log-probabilities of label tokens fell outside the server's top "
                f"{self._abilities.top} and are at most what is recorded: {told}"
            )
        if self._replies:
            notes.append(
                f"the server gives no log-probabilities: {self._replies} labels were read from its replies, so that ECE, Brier "
                "and calibrations say nothing"
            )
        if self._unread:
            notes.append(f"{self._unread} replies named no label: all labels are scored alike, and the first is predicted")
        if self._otherwise:
            notes.append(f"{self._otherwise} prompts were read by the server as another number of tokens than was meant")
        return notes

    def load(self) -> None:
        """See what the server can do."""
        self._abilities  # noqa: B018 - a cached property

    def batches(self, requests: Sequence[Request]) -> Sequence[tuple[int, ...]]:
        """Each request by itself, so that nothing that was paid for is lost."""
        return [(index,) for index in range(len(requests))]

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        """Answer requests as they come back; see `Model.answer`. After a failure those under way are waited for."""
        self._check(requests)
        pool = ThreadPoolExecutor(self._settings.concurrency)
        under_way: dict[Future[Output], int] = {}
        failure: PromptkitError | None = None
        try:
            for index, request in enumerate(requests):
                if index not in done:
                    under_way[pool.submit(self._output, request)] = index
            for future in as_completed(under_way):
                try:
                    output = future.result()
                except CancelledError:
                    continue
                except PromptkitError as error:
                    failure = failure or error
                    for other in under_way:
                        other.cancel()
                    continue
                yield (under_way[future],), (output,)
        except BaseException:
            self._server.close()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if failure is not None:
            raise failure

    def _check(self, requests: Sequence[Request]) -> None:
        refuse_hidden_states(requests, self.name)
        refuse_layers(requests, self.name)
        if any(request.input.vectors for request in requests):
            raise Unsupported(
                "A server does not accept learned vectors",
                code="no-learned-vectors",
                got=self.name,
                hint="Use a vllm model, which runs in this process",
                model=self.name,
            )
        able = self._abilities
        most = max((request.verb.top_m for request in requests if isinstance(request.verb, Read)), default=0)
        if most > able.top:
            raise Unsupported(
                f"The server {self._server.url} returns at most {able.top} of the most likely tokens",
                code="too-many-top-tokens",
                got=most,
                hint="Use a vllm or hf model",
                url=self._server.url,
                requested=most,
                limit=able.top,
            )
        if able.prompts != "chat" and not (able.named or able.top) and any(isinstance(r.verb, Score | Read) for r in requests):
            raise Unsupported(
                f"The server {self._server.url} returns no log-probabilities for completions",
                code="no-logprobs",
                hint="Leave out tokenizer, so that labels are read from its chat replies, or use another server",
                url=self._server.url,
            )

    def _output(self, request: Request) -> Output:
        verb = request.verb
        if isinstance(verb, Generate):
            samples = range(verb.known, verb.n)
            return GenerateOutput(generations=tuple(self._written(request.input, verb, sample) for sample in samples))
        if self._abilities.prompts == "chat":
            if isinstance(verb, Score):
                return self._chosen(request.input, verb)
            raise Unsupported(
                f"The server {self._server.url} offers only chat, which returns no log-probabilities of tokens",
                code="no-chat-logprobs",
                hint="Use a vllm or hf model",
                url=self._server.url,
            )
        most = MOST_IDS if self._abilities.named else UNKNOWN_LENGTH
        answers = {question: self._asked(question) for question in questions_of([request], most_ids=most)}
        return answer_of(request, answers, most_ids=most)

    # ---- completions ----

    def _asked(self, question: Question) -> Answer:
        body = {"model": self._model, "prompt": self._prompt(question.input), "max_tokens": 1, "temperature": 0}
        if question.token_ids and self._abilities.named:
            told = self._completed({**body, **named_body(question.token_ids)}, question.input)
            try:
                return {token: told[id_spelling(token)] for token in question.token_ids}
            except KeyError:
                raise self._server.unexpected_response(told) from None
        told = self._completed({**body, "logprobs": self._abilities.top, "return_tokens_as_token_ids": True}, question.input)
        if question.top_m:
            return self._by_id(told)
        return {token: self._found(told, token) for token in question.token_ids}

    def _completed(self, body: Mapping[str, object], prompt: TextInput) -> Mapping[str, float]:
        answer = self._server.post("/completions", body)
        usage = answer.get("usage") or {}
        if usage.get("prompt_tokens") not in (None, len(prompt.ids)):
            self._otherwise += 1
        return top_logprobs(self._server, answer)

    def _prompt(self, prompt: TextInput) -> object:
        if self._abilities.prompts == "ids":
            return list(prompt.ids)
        bos = self._tokenizer.bos  # which the server puts there itself
        own = prompt.ids[len(bos) :] if prompt.ids[: len(bos)] == bos else prompt.ids
        return self._tokenizer.decode(own)

    def _found(self, told: Mapping[str, float], token: int) -> float:
        """A token's log-probability among the likeliest, or the most that it can be."""
        tokenizer = self._tokenizer
        for spelling in (id_spelling(token), tokenizer.decode([token]), tokenizer.name(token)):
            if spelling in told and "\ufffd" not in spelling:  # which stands for any part of a character
                return told[spelling]
        self._outside[tokenizer.decode([token])] += 1
        rest = max(LEAST, 1 - sum(map(exp, told.values())))
        return min(log(rest), min(told.values(), default=0.0))

    def _by_id(self, told: Mapping[str, float]) -> Answer:
        found = {
            int(token.removeprefix(id_spelling(0)[:-1])): value for token, value in told.items() if token.startswith("token_id:")
        }
        if len(found) < len(told):
            raise Unsupported(
                f"The server {self._server.url} returns tokens as text instead of token ids",
                code="no-token-ids",
                hint="Use a vllm model",
                url=self._server.url,
            )
        return found

    # ---- texts ----

    def _written(self, prompt: TextInput, verb: Generate, sample: int) -> Generation:
        drawn = {"seed": seed_of(verb.seed, sample) >> 32} if verb.temperature else {}
        body = {"model": self._model, "max_tokens": verb.max_tokens, "temperature": verb.temperature, "top_p": 1, **drawn}
        if verb.stop:
            body["stop"] = list(verb.stop)
        if self._abilities.named:  # vLLM's server, which else takes what the model's generation settings say
            body |= {"top_k": -1, "min_p": 0, "repetition_penalty": 1}
        if self._abilities.prompts == "chat":
            answer = self._server.post("/chat/completions", {**body, "messages": messages_of(prompt.ids)})
            text: object = reply_of(self._server, answer)
        else:
            answer = self._server.post("/completions", {**body, "prompt": self._prompt(prompt)})
            text = answer["choices"][0].get("text") if _has_choice(answer) else None
        if not isinstance(text, str):
            raise self._server.unexpected_response(answer)
        choice = answer["choices"][0]
        return Generation(ids=self._tokenizer.encode(text).ids, text=text, ended=_ended(choice))

    # ---- chat ----

    def _chosen(self, prompt: TextInput, verb: Score) -> ScoreOutput:
        """The labels as a chat's reply names one of them."""
        words = [self._tokenizer.decode(ids).strip() for ids in verb.continuations]
        body = {"model": self._model, "messages": messages_of(prompt.ids), "max_tokens": REPLY_TOKENS, "temperature": 0}
        constrained = self._abilities.constrained
        reply = reply_of(self._server, self._server.post("/chat/completions", {**body, **choices_body(constrained, words)}))
        named = label_in(parse_reply(constrained, reply), words)
        self._replies += 1
        self._unread += named is None
        rows = []
        for place, ids in enumerate(verb.continuations):
            first = -log(len(words)) if named is None else log1p(-1e-6) if place == named else NOT_SAID
            rows.append((first, *[0.0] * (len(ids) - 1)))
        return ScoreOutput(logprobs=tuple(rows))


def label_in(reply: str, words: Sequence[str]) -> int | None:
    """Which of the words a reply names: that with which it begins, else the one that stands in it first; None if none."""
    longest = sorted(range(len(words)), key=lambda place: -len(words[place]))
    found = []
    for place in longest:
        match = re.search(rf"(?<!\w){re.escape(words[place])}(?!\w)", reply, re.IGNORECASE)
        if match is not None:
            found.append((match.start(), -len(words[place]), place))
    return min(found)[2] if found else None


def _has_choice(answer: Mapping[str, Any]) -> bool:
    choices = answer.get("choices")
    return isinstance(choices, list) and bool(choices) and isinstance(choices[0], dict)


def _ended(choice: Mapping[str, Any]) -> Literal["stop", "end", "length"]:
    if choice.get("finish_reason") == "length":
        return "length"
    return "stop" if isinstance(choice.get("stop_reason"), str) else "end"
