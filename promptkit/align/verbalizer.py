"""Rule-based alignment: label words to labels (Schick and Schütze 2021, 2001.07676).

A word is scored as a sequence of tokens, log p(v(y) | x, C) = sum_t log p(v_t | x, C, v_<t), never as its first token
alone. Knows nothing of prompts or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from promptkit.core.errors import InputError, unknown
from promptkit.core.examples import Example
from promptkit.core.requests import ScoreOutput


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
            raise InputError(
                "The words of a verbalizer must be a mapping of labels to words",
                code="not-a-mapping",
                got=repr(words),
                hint=hint,
                given=type(words).__name__,
            )
        self._words = {label: tuple(given) if isinstance(given, (list, tuple)) else (given,) for label, given in words.items()}
        self.labels = tuple(self._words)
        self.score = score
        self.pool = pool
        self._check()

    def _check(self) -> None:
        owner: dict[str, str] = {}
        if len(self._words) < 2:
            raise InputError(
                "A verbalizer needs at least two labels",
                code="too-few-labels",
                got=", ".join(self.labels) or "none",
                hint="Give each label its words, such as {'negative': 'bad', 'positive': 'good'}",
                labels=self.labels,
            )
        if self.score not in ("sum", "mean"):
            raise unknown("score of verbalizer", str(self.score), ("sum", "mean"))
        if self.pool not in ("logsumexp", "mean", "max"):
            raise unknown("pool of verbalizer", str(self.pool), ("logsumexp", "mean", "max"))
        for label, words in self._words.items():
            if not all(isinstance(text, str) for text in (label, *words)):
                raise InputError(
                    "A label and its words must be strings", code="not-text", got=f"{label!r}: {words!r}", label=str(label)
                )
            if not words or not all(words):
                raise InputError(
                    f"The label {label} has no word, or an empty word",
                    code="missing-word",
                    hint="Give every label at least one word",
                    label=label,
                )
            for word in words:
                if owner.get(word) == label:
                    raise InputError(
                        f"The label {label} has the word {word!r} twice",
                        code="duplicate-word",
                        hint="Remove one of them",
                        label=label,
                        word=word,
                    )
                if word in owner:
                    raise InputError(
                        f"The labels {owner[word]} and {label} share the word {word!r}",
                        code="shared-word",
                        hint="Give each label different words",
                        word=word,
                        labels=(owner[word], label),
                    )
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

    def label_words(self) -> Mapping[str, str]:
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
