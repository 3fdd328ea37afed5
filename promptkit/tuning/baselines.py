"""Baselines that tuning compares with besides those without a pretrained model: nearest rows, and a sentence encoder."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.logprobs import normalize_logprobs
from promptkit.align.probes.linear import fit_probe
from promptkit.classical.baseline import Baseline, NumberBaseline, Rows, Scores, scores_of
from promptkit.classical.table import BASELINES, baselines_for
from promptkit.core.errors import unknown
from promptkit.core.examples import Example
from promptkit.core.model import Model
from promptkit.manipulate.demos.bm25 import rank_by_words
from promptkit.manipulate.demos.pool import Pool
from promptkit.manipulate.prompting.rows import count_distinct, inputs_text
from promptkit.manipulate.prompting.similarity import embed_texts
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.models.registry import load
from promptkit.tasks.spec import TaskSpec
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

ENCODER = "encoder:sentence-transformers/all-MiniLM-L6-v2"
"""The sentence encoder that is used if its files are on this machine."""
HEAD = " · linear"
"""Follows the name of an encoder in the name of its baseline."""
NEIGHBORS = 8
"""The number of nearest rows that vote."""


def free_baselines(task: Task) -> list[Baseline]:
    """Returns the baselines without a pretrained model: those of an evaluation, and the vote of the nearest rows."""
    found: list[Baseline] = [each for each in baselines_for(task.spec) if not isinstance(each, NumberBaseline)]
    vote = NeighborVote()
    return [*found, vote] if vote.applies_to(task.spec) else found


@dataclass(frozen=True, slots=True)
class NeighborVote:
    """Predicts the label that most of the nearest labeled rows have, by shared words (BM25).

    The probability of a label is its share of the votes of the k neighbors and two further votes: one is divided equally among
    the labels, and one among the neighbors by the inverse of their rank, so that the nearest row decides ties.
    """

    k: int = NEIGHBORS
    """The number of neighbors."""
    name: str = "neighbors"
    description: str = "vote of the nearest rows by shared words"
    max_rows: int | None = None

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether rows are texts with the same labels."""
        return spec.kind == "classification" and spec.modality == "text"

    def predict(self, rows: Rows, items: Sequence[Example], labels: Sequence[str]) -> list[Scores]:
        """Returns the log-probabilities of the labels for each item."""
        pool = Pool.from_rows(rows, min(self.k, count_distinct(rows) - 1))
        own = pool.indices_of(items)
        rankings = rank_by_words(pool)(items, own)
        return [
            self._scores(pool.select(ranking, index), labels) for ranking, index in zip(rankings, own.tolist(), strict=True)
        ]

    @staticmethod
    def _scores(neighbors: Rows, labels: Sequence[str]) -> Scores:
        votes = Counter(row.label for row in neighbors)
        weights = [1 / rank for rank in range(1, len(neighbors) + 1)]
        nearest: dict[str, float] = defaultdict(float)
        for row, weight in zip(neighbors, weights, strict=True):
            nearest[row.label] += weight / math.fsum(weights)
        total = len(neighbors) + 1 + bool(neighbors)
        return {label: math.log((votes[label] + nearest[label] + 1 / len(labels)) / total) for label in labels}


@dataclass(frozen=True, slots=True)
class EncoderRegression:
    """Logistic regression on the embeddings of a frozen sentence encoder.

    It is the head of SetFit (Tunstall et al. 2022, 2209.11055). Embeddings have unit length, and the penalty is chosen by
    cross-validation within the labeled rows.
    """

    name: str
    """The name of the encoder."""
    load: Callable[[], Model]
    """Returns the encoder."""
    description: str = "logistic regression on embeddings of a sentence encoder"
    max_rows: int | None = None
    _vectors: dict[str, Floats] = field(default_factory=dict)
    """The embeddings of the texts so far."""

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether rows are texts with the same labels."""
        return spec.kind == "classification" and spec.modality == "text"

    def predict(self, rows: Rows, items: Sequence[Example], labels: Sequence[str]) -> list[Scores]:
        """Returns the log-probabilities of the labels for each item."""
        gold = np.array([labels.index(row.label) for row in rows])
        probe = fit_probe(self._embed(rows), gold, len(labels), scale="normalize")
        return scores_of(normalize_logprobs(probe(self._embed(items))), labels)

    def _embed(self, examples: Sequence[Example]) -> Floats:
        new = {inputs_text(row): row for row in examples if inputs_text(row) not in self._vectors}
        if new:
            vectors = embed_texts(CachedModel(self.load(), ScoreCache(), purpose="Embedding the rows"), [*new.values()])
            self._vectors.update(zip(new, vectors.astype(float), strict=True))
        return np.stack([self._vectors[inputs_text(row)] for row in examples])


def encoder_baseline(encoder: str | Model) -> EncoderRegression:
    """Returns the regression on a sentence encoder, which loads at the first prediction if it is given by its name."""
    if isinstance(encoder, str):
        return EncoderRegression(f"{encoder}{HEAD}", lambda: load(encoder))
    return EncoderRegression(f"{encoder.name}{HEAD}", lambda: encoder)


def baseline_named(name: str) -> Baseline:
    """Returns the baseline with a name, such as that of a saved predictor.

    Raises:
        InputError: There is none.
    """
    if name.endswith(HEAD):
        return encoder_baseline(name.removesuffix(HEAD))
    own: list[Baseline] = [NeighborVote(), *(each for each in BASELINES if not isinstance(each, NumberBaseline))]
    known = {each.name: each for each in own}
    if name not in known:
        raise unknown("baseline", name, known)
    return known[name]


def encoder_at_hand() -> str | None:
    """Returns the name of the default sentence encoder if its files are on this machine; None if they are not."""
    from huggingface_hub import try_to_load_from_cache

    hub = ENCODER.partition(":")[2]
    files = [try_to_load_from_cache(hub, name) for name in ("config.json", "model.safetensors", "tokenizer.json")]
    return ENCODER if all(isinstance(file, str) for file in files) else None
