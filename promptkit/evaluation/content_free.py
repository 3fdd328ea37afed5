"""Content-free inputs: texts without content, or random words of the task, in the contexts of the evaluated rows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from promptkit.core.alignment import ContentFreeInput, RandomWords
from promptkit.core.examples import Example
from promptkit.core.rendered import Rendered
from promptkit.core.seeding import hash_rank
from promptkit.predictor.predictor import BoundPredictor
from promptkit.runs.records import Query
from promptkit.runs.row_ids import ContentFreeRow, content_free_name, context_of

_log = logging.getLogger(__name__)


def content_free_queries(
    bound: BoundPredictor, rows: Sequence[Query], contents: Sequence[ContentFreeInput], fit: Sequence[Example]
) -> list[Query]:
    """Returns one query for each content-free input in each context of the evaluated rows.

    Args:
        bound: The predictor.
        rows: Queries of the evaluated rows.
        contents: The content-free inputs.
        fit: Rows of the fit part; random words are drawn from their inputs.
    """
    contexts = _first_in_context(row.rendered for row in rows)
    _warn_if_many(len(rows), len(contexts), len(contents))
    inputs = _inputs(contents, list(rows[0].example.inputs), fit)
    pairs = [(context, rows[index].example, content) for context, index in contexts.items() for content in contents]
    examples = [Example(id=content_free_name(content), inputs=inputs[content]) for *_, content in pairs]
    rendered = bound.apply(examples, context_of=[row for _, row, _ in pairs])
    return [
        Query(file="support", id=str(ContentFreeRow(content=content, context=context)), example=example, rendered=prompt)
        for (context, _, content), example, prompt in zip(pairs, examples, rendered, strict=True)
    ]


def _first_in_context(rendered: Iterable[Rendered]) -> dict[str, int]:
    """Each context -> the index of the first row in it."""
    contexts: dict[str, int] = {}
    for index, row in enumerate(rendered):
        contexts.setdefault(context_of(row.demos), index)
    return contexts


def _warn_if_many(rows: int, contexts: int, contents: int) -> None:
    if contexts > 1 and contexts * contents > rows:
        message = "The %d rows have %d different contexts, so their calibrations need %d more model requests."
        _log.warning(message, rows, contexts, contexts * contents)


def _inputs(
    contents: Sequence[ContentFreeInput], variables: Sequence[str], fit: Sequence[Example]
) -> dict[ContentFreeInput, Mapping[str, str]]:
    """Each content-free input -> the template variables; independent of the order of `fit`."""
    needs_words = any(isinstance(content, RandomWords) for content in contents)
    ordered = sorted(fit, key=lambda row: row.id) if needs_words else []
    words = {name: [word for row in ordered for word in row.texts[name].split()] for name in variables}
    return {
        content: dict.fromkeys(variables, content)
        if isinstance(content, str)
        else {name: _random_words(content, name, words[name], len(ordered)) for name in variables}
        for content in contents
    }


def _random_words(content: RandomWords, variable: str, words: Sequence[str], rows: int) -> str:
    """As many words as a row has on average, drawn with replacement."""
    keys = ("bag", str(content.number), variable)
    ranks = [hash_rank(content.seed, *keys, str(position)) for position in range(round(len(words) / rows))]
    return " ".join(words[int.from_bytes(rank[:8]) % len(words)] for rank in ranks)
