"""A fake model that follows some instructions better than others, and searches with it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import promptkit as pk
from promptkit.core.requests import Generate, GenerateOutput, Generation, Output, Request, Score, ScoreOutput
from promptkit.models.fake import FakeModel

WORDS = {"no": "bad", "yes": "good"}

SKILL = {f"Obey {number}.": number / 10 for number in range(11)}
"""Instruction -> accuracy of the model; rows correct with a worse instruction are also correct with a better one."""

BLOCKS = (
    "{% block instruction %}OWN{% endblock %}{% block input %}{{ text }} ->{% endblock %}"
    "{% block target %} {{ label }}{% endblock %}"
)


def hardness(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


class Obedient(FakeModel):
    """A model that is correct on rows easier than the skill of the instruction; it counts its requests."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        super().__init__("obedient", FakeModel.Settings(batch_tokens=600))
        self.answered: Counter[str] = Counter()
        self.stop_after = stop_after

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        for indices, outputs in super().answer(requests, done):
            if self.stop_after is not None and self.answered.total() + len(indices) > self.stop_after:
                raise KeyboardInterrupt
            self.answered.update(type(requests[i].verb).__name__ for i in indices if i not in done)
            yield indices, outputs

    def _output(self, request: Request) -> Output:
        prompt = self.card.tokenizer.decode(request.input.ids).removeprefix("<bos>")
        verb = request.verb
        if isinstance(verb, Generate) and verb.temperature > 0:
            first = verb.seed % len(SKILL)
            texts = [list(SKILL)[(first + number) % len(SKILL)] for number in range(verb.n)]
            return GenerateOutput(generations=tuple(Generation(ids=(1,), text=f" {text}", ended="stop") for text in texts))
        instruction, _, query = prompt.rpartition("\n\n")
        text = query.removesuffix(" ->")
        skilled = hardness(text) < SKILL.get(instruction.partition("\n\n")[0], 0.25)
        said = TRUTH[text] if skilled else {"bad": "good", "good": "bad"}[TRUTH[text]]
        if isinstance(verb, Generate):
            return GenerateOutput(generations=(Generation(ids=(1,), text=f" {said}", ended="stop"),))
        assert isinstance(verb, Score)
        words = [self.card.tokenizer.decode(ids).strip() for ids in verb.continuations]
        likely = [-1.0 if word == said else -2.0 for word in words]
        return ScoreOutput(
            logprobs=tuple((x, *[0.0] * (len(ids) - 1)) for x, ids in zip(likely, verb.continuations, strict=True))
        )


ROWS = [
    {"text": f"row {number}", "label": ("no", "yes")[number % 2], "word": ("bad", "good")[number % 2]} for number in range(400)
]

TRUTH = {str(row["text"]): str(row["word"]) for row in ROWS}


def predictor(task: pk.Task, model: Any = None, **prompt: Any) -> pk.Predictor:
    reading = pk.Verbalizer(WORDS) if task.labels else pk.extract.FirstLine()
    return pk.Predictor(model or Obedient(), pk.Prompt(task.spec.template, **prompt), reading)


def search(kind: str = "labels", model: Any = None, task: Any = None, **keywords: Any) -> pk.SearchResult:
    loaded = task or pk.task(f"{kind}.yaml")
    return pk.search(predictor(loaded, model), loaded, **{"candidates": 16, **keywords})


def standings(actual: pk.SearchResult) -> list[Any]:
    return [(rung.rows, list(rung.standings.items())) for rung in actual.rungs]
