"""Automatic chain of thought (Auto-CoT; Zhang et al. 2022, 2210.03493): the model writes the demonstrations' reasoning.

The pool is parted into k clusters, and of each the row nearest to its centroid is shown for which the model, by zero-shot
chain of thought, writes a short reasoning and an answer: a question of at most 60 words, a reasoning of at most 5 lines that
ends with its sentence. Both reasoning and answer are the model's own, right or wrong: no label is looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from promptkit.core.errors import ModelError, TemplateError
from promptkit.core.examples import LabeledExample
from promptkit.core.registry import checked
from promptkit.manipulate.cot.zero_shot import zero_shot
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.layout import REASONING
from promptkit.manipulate.prompting.rows import Choose, check_pool_size, choose_shared, distinct
from promptkit.manipulate.prompting.similarity import THIS_MODEL, EmbeddingSpace, Vectors

WORDS = 60
"""The most words of a question."""
LINES = 5
"""The most lines of a reasoning."""
TRIES = 8
"""The most rows of a cluster for which a reasoning is asked."""
DECIMALS = 6
"""Kept of the distance to a centroid; ties go by id."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class auto_cot:  # noqa: N801
    """One row of each of k clusters, with a reasoning and an answer that the model has written."""

    k: int = 8
    seed: int = 0
    """Of the clusters."""
    encoder: str = THIS_MODEL
    """Whose vectors are clustered: `model`, the model that reads the prompt, or the name of another, `[engine:]name`."""
    max_tokens: int = 128
    """The most tokens of a reasoning."""
    name: ClassVar[str] = "auto-cot"

    def __post_init__(self) -> None:
        """Refuse what lets nothing be written."""
        checked(self)
        zero_shot(max_tokens=self.max_tokens)

    @property
    def models(self) -> tuple[str, ...]:
        """The other model that it asks."""
        return () if self.encoder == THIS_MODEL or self.k == 0 else (self.encoder,)

    def bind(self, context: SelectionContext) -> Choose:
        """The same rows for every row, without its own; raises if the prompt shows no reasoning, or the model writes none."""
        check_pool_size(self.k, context.pool)
        if not self.k:
            return choose_shared([])
        if not context.layout.shows_reasoning:
            raise TemplateError(
                f"The template {context.layout.template.name} does not show the reasoning that auto-cot generates",
                code="reasoning-not-shown",
                hint="Add --cot zero-shot, which shows it, or use a template with {{ reasoning }} in its target block",
                template=context.layout.template.name,
                selector=self.name,
            )
        rows = distinct(sorted(context.pool, key=lambda row: row.id))
        made = self._made(context, clusters(rows, EmbeddingSpace(context, self.encoder, rows).pool, self.k, self.seed))
        if not made:
            raise ModelError(
                f"The model generated no reasoning of at most {LINES} lines with an answer, which auto-cot needs",
                code="no-generated-reasoning",
                hint="Use a larger max_tokens, or use written reasoning: --demos complex, with a task that provides it",
                selector=self.name,
                max_tokens=self.max_tokens,
            )
        if len(made) < self.k:
            _log.warning("auto-cot found a reasoning to show in %d of %d clusters.", len(made), self.k)
        return choose_shared([[row] for row in made])

    def _made(self, context: SelectionContext, parted: Sequence[Sequence[LabeledExample]]) -> list[LabeledExample]:
        """The first row of each cluster for which it can be made, in the clusters' order; all are asked for at once."""
        short = [[row for row in rows if len(" ".join(row.inputs.values()).split()) <= WORDS] for rows in parted]
        made: dict[int, LabeledExample] = {}
        for turn in range(TRIES):
            asked = {number: rows[turn] for number, rows in enumerate(short) if number not in made and turn < len(rows)}
            worked = self._worked(context, [*asked.values()])
            made |= {number: row for number, row in zip(asked, worked, strict=True) if row is not None}
        return [made[number] for number in sorted(made)]

    def _worked(self, context: SelectionContext, rows: Sequence[LabeledExample]) -> list[LabeledExample | None]:
        """Each row as a demonstration with the model's own reasoning and answer; None where it cannot be shown."""
        think = zero_shot(max_tokens=self.max_tokens)
        contexts = [(row, ()) for row in rows]
        texts = think.reasonings(context, contexts)
        answers = context.answers(contexts, suffix=[*map(think.format_reasoning, texts)])
        made: list[LabeledExample | None] = []
        for row, text, answer in zip(rows, texts, answers, strict=True):
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            fit = answer is not None and 0 < len(lines) <= LINES and lines[-1].endswith((".", "!", "?"))
            made.append(replace(row, label=answer, rationale={REASONING: " ".join(lines)}) if fit and answer else None)
        return made


def clusters(rows: Sequence[LabeledExample], vectors: Vectors, k: int, seed: int) -> list[list[LabeledExample]]:
    """k clusters of the rows by their vectors, each from its centroid outwards; a cluster may be empty."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different vectors than clusters
        means = KMeans(n_clusters=k, n_init=10, random_state=seed).fit(vectors)
    distances = means.transform(vectors).round(DECIMALS)
    found: list[list[LabeledExample]] = [[] for _ in range(k)]
    for own in sorted(range(len(rows)), key=lambda i: (distances[i, means.labels_[i]], rows[i].id)):
        found[means.labels_[own]].append(rows[own])
    return found
