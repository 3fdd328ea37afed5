"""Automatic chain of thought (Auto-CoT; Zhang et al. 2022, arXiv 2210.03493): the model writes the demonstrations' reasoning.

The pool is divided into k clusters. From each cluster, the demonstration is the row nearest to the centroid for which zero-shot
chain of thought gives a short reasoning and an answer. A question may have 60 words, and a reasoning 5 lines; the last one must
end with punctuation. Reasoning and answer are the model's, correct or not: no labels are used.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from promptkit.core.arguments import checked
from promptkit.core.caller import setting
from promptkit.core.errors import ModelError, TemplateError
from promptkit.core.examples import LabeledExample
from promptkit.manipulate.cot.zero_shot import ZeroShot
from promptkit.manipulate.demos.kmeans import fit_kmeans
from promptkit.manipulate.demos.selector import Selector
from promptkit.manipulate.prompting.blocks import REASONING
from promptkit.manipulate.prompting.checks import check_pool_size
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose, choose_shared, distinct
from promptkit.manipulate.prompting.similarity import THIS_MODEL, EmbeddingSpace, Vectors

WORDS = 60
"""Maximum number of words of a question."""
LINES = 5
"""Maximum number of lines of a reasoning."""
TRIES = 8
"""Maximum number of rows of a cluster for which a reasoning is generated."""
DECIMALS = 6
"""Decimals to which distances to a centroid are rounded; ties are broken by id."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AutoCot(Selector):
    """Shows one row of each of k clusters, with a reasoning and an answer that the model generates."""

    k: int = 8
    """Number of demonstrations, and of clusters."""
    seed: int = 0
    """Seed of the clustering."""
    encoder: str = THIS_MODEL
    """Model that embeds the rows: `model`, the one that reads the prompt, or the name of another, `[engine:]name`."""
    max_tokens: int = 128
    """Maximum number of tokens of a reasoning."""
    name: ClassVar[str] = "auto-cot"
    is_shared: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Validates the keywords, `max_tokens` as `zero_shot` does."""
        checked(self)
        ZeroShot(max_tokens=self.max_tokens)

    @property
    def models(self) -> tuple[str, ...]:
        """The encoder, if it is another model."""
        return () if self.encoder == THIS_MODEL or self.k == 0 else (self.encoder,)

    def bind(self, context: SelectionContext) -> Choose:
        """Generates the demonstrations and returns the same ones for every row.

        Raises:
            TaskError: The pool has too few rows.
            TemplateError: The prompt does not show the reasoning of demonstrations.
            ModelError: The model generated no usable reasoning.
        """
        check_pool_size(self.k, context.pool)
        if not self.k:
            return choose_shared([])
        self._check_reasoning_is_shown(context)
        rows = distinct(sorted(context.pool, key=lambda row: row.id))
        vectors = EmbeddingSpace(context, self.encoder, rows).pool
        demonstrations = self._generate(context, clusters(rows, vectors, self.k, self.seed))
        if not demonstrations:
            raise ModelError(
                f"The model generated no reasoning of at most {LINES} lines with an answer, which auto-cot needs",
                code="no-generated-reasoning",
                hint=f"Use a larger max_tokens, or use written reasoning: {setting('demos', 'complex')}, with a task "
                f"that provides it",
                selector=self.name,
                max_tokens=self.max_tokens,
            )
        if len(demonstrations) < self.k:
            _log.warning("auto-cot generated usable reasoning in %d of %d clusters.", len(demonstrations), self.k)
        return choose_shared([[row] for row in demonstrations])

    def _check_reasoning_is_shown(self, context: SelectionContext) -> None:
        if not context.layout.shows_reasoning:
            template = context.layout.template.name
            raise TemplateError(
                f"The template {template} does not show the reasoning that auto-cot generates",
                code="reasoning-not-shown",
                hint=f"Add {setting('cot', 'zero-shot')}, which shows it, or use a template with {{{{ reasoning }}}} "
                f"in its target block",
                template=template,
                selector=self.name,
            )

    def _generate(self, context: SelectionContext, clustered: Sequence[Sequence[LabeledExample]]) -> list[LabeledExample]:
        """Generates one demonstration per cluster, in the order of the clusters; each round queries all open clusters."""
        short = [[row for row in rows if len(" ".join(row.texts.values()).split()) <= WORDS] for rows in clustered]
        accepted: dict[int, LabeledExample] = {}
        for attempt in range(TRIES):
            open_rows = {
                number: rows[attempt] for number, rows in enumerate(short) if number not in accepted and attempt < len(rows)
            }
            demonstrations = self._with_reasoning(context, [*open_rows.values()])
            accepted |= {number: row for number, row in zip(open_rows, demonstrations, strict=True) if row is not None}
        return [accepted[number] for number in sorted(accepted)]

    def _with_reasoning(self, context: SelectionContext, rows: Sequence[LabeledExample]) -> list[LabeledExample | None]:
        """Returns each row with generated reasoning and answer, or None if they are not usable."""
        cot = ZeroShot(max_tokens=self.max_tokens)
        contexts = [(row, ()) for row in rows]
        texts = cot.generate(context, contexts)
        answers = context.answers(contexts, suffix=[*map(cot.format_reasoning, texts)])
        return [_demonstration(row, text, answer) for row, text, answer in zip(rows, texts, answers, strict=True)]


def _demonstration(row: LabeledExample, text: str, answer: str | None) -> LabeledExample | None:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not answer or not 0 < len(lines) <= LINES or not lines[-1].endswith((".", "!", "?")):
        return None
    return replace(row, label=answer, rationale={REASONING: " ".join(lines)})


def clusters(rows: Sequence[LabeledExample], vectors: Vectors, k: int, seed: int) -> list[list[LabeledExample]]:
    """Divides rows into k clusters by k-means.

    Args:
        rows: The rows to cluster.
        vectors: Their embeddings, shape (rows, width).
        k: Number of clusters.
        seed: Seed of k-means.

    Returns:
        The rows of each cluster, the nearest to the centroid first. A cluster may be empty.
    """
    means = fit_kmeans(vectors, k, seed)
    distances = means.distances.round(DECIMALS)
    members: list[list[LabeledExample]] = [[] for _ in range(k)]
    for index in sorted(range(len(rows)), key=lambda i: (distances[i, means.labels[i]], rows[i].id)):
        members[means.labels[index]].append(rows[index])
    return members
