"""Rule-based alignment: label words to labels (Schick and Schütze 2021, 2001.07676).

A word is scored as a sequence of tokens, log p(v(y) | x, C) = sum_t log p(v_t | x, C, v_<t), never as its first token
alone. Knows nothing of prompts or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from promptkit.errors import PromptkitError
from promptkit.types import Example, ScoreOutput


class Verbalizer:
    """Labels and the words that stand for them.

    >>> Verbalizer({"negative": ["bad", "awful"], "positive": "good"}).words()
    ('bad', 'awful', 'good')
    """

    name = "verbalizer"

    def __init__(
        self,
        words: Mapping[str, str | Sequence[str]],
        *,
        score: Literal["sum", "mean"] = "sum",
        pool: Literal["logsumexp", "mean", "max"] = "logsumexp",
    ) -> None:
        """`words`: label -> its word or words; the order of labels is the declared order, which also breaks ties.

        `score`: a word's token log-probabilities summed (its probability) or averaged per token. `pool`: how several
        words of a label are put together. Raises if two labels share a word.
        """
        if not isinstance(words, Mapping):
            hint = 'Write Verbalizer({"negative": "bad", "positive": "good"})'
            raise PromptkitError("A verbalizer takes a mapping of labels to words", got=repr(words), hint=hint)
        self._words = {label: tuple(given) if isinstance(given, (list, tuple)) else (given,) for label, given in words.items()}
        self.labels = tuple(self._words)
        self.score = score
        self.pool = pool
        self._check()

    def _check(self) -> None:
        owner: dict[str, str] = {}
        if len(self._words) < 2:
            raise PromptkitError("A verbalizer needs at least two labels", got=", ".join(self.labels) or "none")
        if self.score not in ("sum", "mean"):
            raise PromptkitError("A label's score is the sum or the mean over its tokens", got=self.score)
        if self.pool not in ("logsumexp", "mean", "max"):
            raise PromptkitError("The words of a label are pooled by logsumexp, mean or max", got=self.pool)
        for label, words in self._words.items():
            if not all(isinstance(text, str) for text in (label, *words)):
                raise PromptkitError("A label and its words are texts", got=f"{label!r}: {words!r}")
            if not words or not all(words):
                raise PromptkitError(f"The label {label} has no word, or an empty one", hint="Give every label a word")
            for word in words:
                if owner.get(word) == label:
                    raise PromptkitError(f"The label {label} has the word {word!r} twice")
                if word in owner:
                    hint = "Give each label a word of its own"
                    raise PromptkitError(f"The word {word!r} stands for both {owner[word]} and {label}", hint=hint)
                owner[word] = label

    def candidates(self, example: Example) -> tuple[str, ...]:
        """The labels, for every row alike."""
        return self.labels

    def words(self, example: Example | None = None) -> tuple[str, ...]:
        """Every word, label by label; the same for every row."""
        return tuple(word for words in self._words.values() for word in words)

    @property
    def counts(self) -> list[int]:
        """How many words each label has."""
        return [*map(len, self._words.values())]

    def shown(self) -> Mapping[str, str]:
        """Label -> its first word."""
        return {label: words[0] for label, words in self._words.items()}

    def align(self, output: ScoreOutput) -> tuple[float, ...]:
        """One score per label in the declared order, natural-log units."""
        scores = sequence_scores(output, self.score)
        pooled = []
        for words in self._words.values():
            own, scores = scores[: len(words)], scores[len(words) :]
            pooled.append(self._pooled(own))
        return tuple(pooled)

    def _pooled(self, scores: Sequence[float]) -> float:
        if self.pool == "logsumexp":
            return float(np.logaddexp.reduce(scores))
        return max(scores) if self.pool == "max" else float(np.mean(scores))

    def settings(self) -> Mapping[str, object]:
        """The words and both rules."""
        return {"name": self.name, "words": self._words, "score": self.score, "pool": self.pool}


def sequence_scores(output: ScoreOutput, score: Literal["sum", "mean"]) -> list[float]:
    """Each continuation's log-probability: the sum over its tokens, or the mean per token."""
    return [sum(row) if score == "sum" else sum(row) / len(row) for row in output.logprobs]
