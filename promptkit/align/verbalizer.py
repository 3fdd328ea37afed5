"""Verbalizer: maps label words to labels (Schick and Schütze 2021, 2001.07676).

A word is scored as a sequence of tokens, log p(v(y) | x, C) = sum_t log p(v_t | x, C, v_<t), not by its first token alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from promptkit.align.candidates import CandidateScorer, checked_scale
from promptkit.align.token_scores import SequenceScore, check_sequence_score, sequence_score_tensor, sequence_scores
from promptkit.core.arguments import check_value
from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.core.read_only import read_only
from promptkit.core.requests import ScoreOutput

if TYPE_CHECKING:
    from torch import Tensor

Pool = Literal["logsumexp", "mean", "max"]
"""How the scores of a label's words are combined; `logsumexp` adds their probabilities."""


class Verbalizer(CandidateScorer):
    """Scores labels by the words that express them.

    >>> Verbalizer({"negative": ["bad", "awful"], "positive": "good"}).words()
    ('bad', 'awful', 'good')

    Args:
        words: The word or words of each label. The order of the labels is the declared order, which also breaks ties. The first
            word of a label is the one that demonstrations show.
        score: `"sum"` scores a word by its log-probability; `"mean"` by the average log-probability per token.
        pool: How the scores of several words of a label are combined: the log of their summed probabilities, the mean or the
            maximum of their scores.
        values: The value of each label on a numeric scale. The expected value of each row is then predicted, too.

    Raises:
        InputError: There are fewer than two labels, a label has no word, two labels share a word, `score` or `pool` has another
            value, or a label has no finite value.
    """

    name: ClassVar[str] = "verbalizer"

    def __init__(
        self,
        words: Mapping[str, str | Sequence[str]],
        *,
        score: SequenceScore = "sum",
        pool: Pool = "logsumexp",
        values: Mapping[str, float] | None = None,
    ) -> None:
        if not isinstance(words, Mapping):
            raise InputError(
                "The words of a verbalizer must be a mapping of labels to words",
                code="not-a-mapping",
                got=repr(words),
                hint='Write Verbalizer({"negative": "bad", "positive": "good"})',
                given=type(words).__name__,
            )
        as_tuples = {label: tuple(word) if isinstance(word, (list, tuple)) else (word,) for label, word in words.items()}
        self._words = read_only(as_tuples)
        self.labels = tuple(self._words)
        self.score: SequenceScore = score
        self.pool: Pool = pool
        _check_labels(self.labels)
        check_sequence_score(self.name, score)
        check_value("pool", pool, Pool, of=self.name)
        _check_words(self._words)
        self.scale = None if values is None else checked_scale(self.labels, values)

    def candidates(self, example: Example) -> tuple[str, ...]:
        """Returns the labels, which are the same for every row."""
        return self.labels

    def words(self, example: Example | None = None) -> tuple[str, ...]:
        """Returns all words, label by label, which are the same for every row."""
        return tuple(word for words in self._words.values() for word in words)

    def label_words(self) -> Mapping[str, str]:
        """Returns the first word of each label."""
        return {label: words[0] for label, words in self._words.items()}

    def align(self, output: ScoreOutput) -> tuple[float, ...]:
        """Returns one score for each label in the declared order, in natural-log units."""
        scores = sequence_scores(output, self.score)
        pooled = []
        for words in self._words.values():
            word_scores, scores = scores[: len(words)], scores[len(words) :]
            pooled.append(self._pool(word_scores))
        return tuple(pooled)

    def _pool(self, scores: Sequence[float]) -> float:
        if self.pool == "logsumexp":
            return float(np.logaddexp.reduce(scores))
        return max(scores) if self.pool == "max" else float(np.mean(scores))

    def align_tensors(self, logprobs: Sequence[Tensor]) -> Tensor:
        """Returns the scores of `align` as a differentiable tensor of shape (labels,)."""
        import torch

        by_label = torch.split(sequence_score_tensor(logprobs, self.score), [*map(len, self._words.values())])
        return torch.stack([self._pool_tensor(scores) for scores in by_label])

    def _pool_tensor(self, scores: Tensor) -> Tensor:
        if self.pool == "logsumexp":
            return scores.logsumexp(0)
        return scores.amax(0) if self.pool == "max" else scores.mean(0)

    def settings(self) -> Mapping[str, object]:
        """Returns the name, the words, how they are scored and pooled, and the values of the labels if there are any."""
        scale = {} if self.scale is None else {"values": dict(self.scale)}
        return {"name": self.name, "words": self._words, "score": self.score, "pool": self.pool, **scale}


def _check_labels(labels: tuple[str, ...]) -> None:
    if len(labels) < 2:
        raise InputError(
            "A verbalizer needs at least two labels",
            code="too-few-labels",
            got=", ".join(labels) or "none",
            hint="Give each label its words, such as {'negative': 'bad', 'positive': 'good'}",
            labels=labels,
        )


def _check_words(label_words: Mapping[str, tuple[str, ...]]) -> None:
    label_of: dict[str, str] = {}
    for label, words in label_words.items():
        _check_word_types(label, words)
        for word in words:
            if word in label_of:
                raise _repeated_word(word, label_of[word], label)
            label_of[word] = label


def _check_word_types(label: str, words: tuple[str, ...]) -> None:
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


def _repeated_word(word: str, first: str, second: str) -> InputError:
    if first == second:
        return InputError(
            f"The label {first} has the word {word!r} twice",
            code="duplicate-word",
            hint="Remove one of them",
            label=first,
            word=word,
        )
    return InputError(
        f"The labels {first} and {second} share the word {word!r}",
        code="shared-word",
        hint="Give each label different words",
        word=word,
        labels=(first, second),
    )
