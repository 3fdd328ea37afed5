"""The rows that aligners need besides those evaluated: asked in the same pass, and handed to the aligners."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from promptkit.aligners import Support
from promptkit.chain import Chain
from promptkit.predictor import BoundPredictor
from promptkit.samples import Asked
from promptkit.types import Example, Rendered

if TYPE_CHECKING:
    from promptkit.types import Floats

UNLABELLED = "unlabelled "
"""How the id of an unlabelled row's line begins."""


def content_free_texts(chains: Sequence[Chain]) -> tuple[str, ...]:
    """Every text that stands for a row's inputs, for any of the chains."""
    return tuple(dict.fromkeys(t for chain in chains for c in chain.calibrations for t in c.needs.content_free))


def unlabelled_rows(chains: Sequence[Chain]) -> int:
    """How many unlabelled rows the chain with the greatest need has."""
    return max((c.needs.unlabelled for chain in chains for c in chain.calibrations), default=0)


def asked(bound: BoundPredictor, items: Sequence[Asked], texts: Sequence[str], fit: Sequence[Example]) -> list[Asked]:
    """Each text under each context in which `items` are read, and each row of `fit` under its own."""
    firsts = _contexts(item.rendered for item in items)
    free = [
        (_content_free_id(context, text), items[index].example, text) for context, index in firsts.items() for text in texts
    ]
    rows = [Example(id=f"content-free {text}", inputs=dict.fromkeys(item.inputs, text)) for _, item, text in free]
    rendered = bound.apply(rows, like=[item for _, item, _ in free])
    named = [(name, row, each) for (name, *_), row, each in zip(free, rows, rendered, strict=True)]
    named += [(_unlabelled_id(row), row, each) for row, each in zip(fit, bound.apply(fit), strict=True)]
    return [Asked(file="support", id=name, example=row, rendered=each) for name, row, each in named]


def collected(chains: Sequence[Chain], samples: Sequence[Any], support: Sequence[Any]) -> Support:
    """What the lines of those rows say, as aligners read it."""
    labels = chains[0].reading.labels
    of_id = {line["id"]: line for line in support}
    contexts = list(dict.fromkeys(_context(line["demos"]) for line in samples))
    place = {context: number for number, context in enumerate(contexts)}
    return Support(
        content_free={
            text: matrix([of_id[_content_free_id(context, text)] for context in contexts], labels)
            for text in content_free_texts(chains)
        },
        context=np.array([place[_context(line["demos"])] for line in samples]),
        unlabelled=matrix([line for line in support if line["id"].startswith(UNLABELLED)], labels),
    )


def matrix(lines: Sequence[Any], labels: Sequence[str]) -> Floats:
    """Label log-probabilities, shape (lines, labels)."""
    return np.array([[line["logprobs"][label] for label in labels] for line in lines], float).reshape(-1, len(labels))


def _context(demos: Sequence[str]) -> str:
    return " ".join(demos)


def _contexts(rendered: Iterable[Rendered]) -> dict[str, int]:
    """Each context that items are read in -> the first such item."""
    contexts: dict[str, int] = {}
    for index, row in enumerate(rendered):
        contexts.setdefault(_context(row.demos), index)
    return contexts


def _content_free_id(context: str, text: str) -> str:
    return f"content-free {text!r} after {hashlib.sha256(context.encode()).hexdigest()[:12]}"


def _unlabelled_id(row: Example) -> str:
    return UNLABELLED + row.id
