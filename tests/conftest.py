"""Shared fixtures: a tokenizer with merges, a scripted model, model cards and rows."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from zlib import crc32

import pytest
import tokenizers
from hypothesis import settings
from tokenizers import models, pre_tokenizers

from promptkit.align.candidates import CandidateScorer
from promptkit.core.arrays import as_array
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.manipulation import BindContext
from promptkit.core.model import DEFAULT_CHAT, ChatOptions, Encoding, TextCard
from promptkit.core.requests import Generate, GenerateOutput, Generation, Output, Read, ReadOutput, Request, Score, ScoreOutput
from promptkit.core.thinking import ThoughtMarkers
from promptkit.inputs.text.template import Template
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.layout import PromptLayout
from promptkit.models.client import CachedModel
from promptkit.models.fake import ByteTokenizer, FakeModel
from promptkit.models.registry import load

settings.register_profile("quick", max_examples=60, deadline=None, derandomize=True, database=None)
settings.register_profile("deep", max_examples=3000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-messages", action="store_true", help="Rewrite tests/refusals/messages.txt.")
    parser.addoption("--update-architectures", action="store_true", help="Rewrite the table of docs/architectures.md.")


@pytest.fixture(autouse=True)
def scores(tmp_path_factory, monkeypatch):
    """The path of a score cache that only this test uses; results of checks of models are also stored beside it."""
    path = tmp_path_factory.mktemp("cache", numbered=True) / "scores.sqlite"
    monkeypatch.setenv("PROMPTKIT_SCORES", str(path))
    monkeypatch.setattr("promptkit.core.paths.CHECKS", str(path.parent / "checks"))
    return path


class MergingTokenizer:
    """A byte-level BPE tokenizer with given merges, with which a label can merge with the prompt.

    As for real models, its control tokens are in the vocabulary, and are not parsed in a text.
    """

    def __init__(self, merges: Sequence[tuple[str, str]], *, split: str | None = None) -> None:
        """Creates a tokenizer.

        Args:
            merges: Pairs of symbols in the notation of a merges file, with Ġ for a space.
            split: A regular expression. Tokens do not merge across the boundaries of its matches.
        """
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        vocabulary = {symbol: number for number, symbol in enumerate(sorted(level.alphabet()))}
        for left, right in merges:
            vocabulary.setdefault(left + right, len(vocabulary))
        words = [pre_tokenizers.Split(tokenizers.Regex(split), "isolated")] if split else []
        self._backend = tokenizers.Tokenizer(models.BPE(vocabulary, list(merges)))
        self._backend.pre_tokenizer = pre_tokenizers.Sequence([*words, level])
        self._backend.add_special_tokens(["<bos>", "<turn>", "<end>"])
        self._backend.encode_special_tokens = True
        self.control: Mapping[str, int] = {name: self._backend.token_to_id(name) for name in ("<bos>", "<turn>", "<end>")}
        self.bos: tuple[int, ...] = (self.control["<bos>"],)

    def encode(self, text: str, *, after: str | None = None, before: str | None = None) -> Encoding:
        encoding = self._backend.encode(text, add_special_tokens=False)
        return Encoding(ids=tuple(encoding.ids), starts=tuple(start for start, _ in encoding.offsets))

    def name(self, token_id: int) -> str:
        return self._backend.id_to_token(token_id)

    def decode(self, ids: Sequence[int]) -> str:
        return self._backend.decode(list(ids), skip_special_tokens=False)

    def chat(self, turns: Sequence[tuple[str, str]], options: ChatOptions = DEFAULT_CHAT) -> str | None:
        return ByteTokenizer().chat(turns, options)

    def thought_markers(self, options: ChatOptions = DEFAULT_CHAT) -> Sequence[ThoughtMarkers]:
        return ()


@pytest.fixture(scope="session")
def merging() -> type[MergingTokenizer]:
    """The class of tokenizers that merge: `merging([("Ġ", "a"), ("Ġa", "b")])`."""
    return MergingTokenizer


@pytest.fixture(scope="session")
def make_card():
    """Creates model cards, by default with a byte tokenizer and a long context."""

    def make(tokenizer=None, *, context_length=1 << 20, instruct=False) -> TextCard:
        return TextCard(
            tokenizer=tokenizer or ByteTokenizer(),
            d_model=16,
            embedding_width=16,
            vocabulary=259,
            layers=1,
            kv_heads=1,
            context_length=context_length,
            instruct=instruct,
        )

    return make


@pytest.fixture(scope="session")
def make_rows():
    """Creates n different labeled rows with alternating labels."""

    def make(n: int, labels: Sequence[str] = ("negative", "positive")) -> list[LabeledExample]:
        return [
            LabeledExample(id=f"id{i:03}", inputs={"text": f"review number {i}"}, label=labels[i % len(labels)])
            for i in range(n)
        ]

    return make


class FixedWords(CandidateScorer):
    """A scorer of fixed words: `shown` are the words in demonstrations, `scored` the continuations."""

    name = "fixed-words"

    def __init__(self, shown: Mapping[str, str], scored: Sequence[str]) -> None:
        self.labels = tuple(shown)
        self._shown, self._scored = shown, tuple(scored)

    def label_words(self) -> Mapping[str, str]:
        return self._shown

    def settings(self) -> Mapping[str, object]:
        return {"name": self.name}

    def candidates(self, example: Example) -> tuple[str, ...]:
        return self.labels

    def words(self, example: Example) -> tuple[str, ...]:
        return self._scored

    def align(self, output: ScoreOutput) -> tuple[float, ...]:
        return tuple(map(sum, output.logprobs))


class Scripted(FakeModel):
    """A fake model with scripted answers: a log-probability for (prompt, word), a text for a prompt.

    Its hidden states are counts of hashed words. Requests for hidden states are not counted as rounds.
    """

    def __init__(
        self, scores: Callable[[str, str], float] | None = None, writes: Callable[[str, Generate], Sequence[str]] | None = None
    ) -> None:
        super().__init__("scripted", FakeModel.Settings())
        self.scores, self.writes = scores, writes
        self.prompts: list[str] = []
        """All prompts that it received, in order."""
        self.rounds: list[int] = []
        """The number of requests of each call of `answer`."""

    def answer(self, requests, done=frozenset()):
        if not any(isinstance(request.verb, Read) for request in requests):
            self.rounds.append(len(requests))
        yield from super().answer(requests, done)

    def _output(self, request: Request) -> Output:
        decode, verb = self.card.tokenizer.decode, request.verb
        prompt = decode(request.input.ids).removeprefix("<bos>")
        if isinstance(verb, Read):
            places = Counter(crc32(word.encode()) % self.card.d_model for word in prompt.split())
            return ReadOutput(hidden=as_array([places[place] for place in range(self.card.d_model)]))
        self.prompts.append(prompt)
        if isinstance(verb, Score) and self.scores is not None:
            rows = [(self.scores(prompt, decode(ids)), *[0.0] * (len(ids) - 1)) for ids in verb.continuations]
            return ScoreOutput(logprobs=tuple(rows))
        if isinstance(verb, Generate) and self.writes is not None:
            texts = [self._cut(text, verb.stop) for text in self.writes(prompt, verb)]
            return GenerateOutput(generations=tuple(Generation(ids=(1,), text=text, ended="stop") for text in texts))
        return super()._output(request)

    @staticmethod
    def _cut(text: str, stops: Sequence[str]) -> str:
        return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]


@pytest.fixture(scope="session")
def scripted() -> type[Scripted]:
    """The class of models with scripted answers, which record the prompts that they receive."""
    return Scripted


@pytest.fixture(scope="session")
def bind_context():
    """Creates bind contexts from rows of the pool, label words, and a card or a model."""

    def make(pool=(), words=(), *, scored=None, card=None, model=None, reader=None, dev=(), **options) -> BindContext:
        shown = words if isinstance(words, Mapping) else {word: word for word in words}
        return BindContext(
            ask=CachedModel(model or load("fake"), card=card),
            reader=reader or FixedWords(shown, shown.values() if scored is None else scored),
            rows={"pool": pool, "dev": dev},
            **options,
        )

    return make


@pytest.fixture(scope="session")
def context(bind_context):
    """Creates selection contexts of a prompt without instruction."""
    load_template = cache(Template.load)

    def make(pool=(), words=(), *, template="sentiment/review", **keywords) -> SelectionContext:
        bound = bind_context(pool, words, **keywords)
        frame = PromptLayout(
            template=load_template(template), instruction="", chat=False, card=bound.ask.card, reader=bound.reader
        )
        return SelectionContext(bind_context=bound, layout=frame)

    return make
