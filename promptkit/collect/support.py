"""The rows that the model answers in addition to the evaluated rows: further rows of needs, and rows of the fit part."""

from __future__ import annotations

from promptkit.collect.requirements import select_fit_rows
from promptkit.core.manipulation import Encode
from promptkit.core.need_context import FitPart, NeedContext, PromptedRow
from promptkit.core.needs import Needs, by_kind
from promptkit.needs.fit_rows import fit_id


def further_rows(need_context: NeedContext, needs: Needs) -> list[PromptedRow]:
    """Returns the further rows of all needs, which precede the rows of the fit part in `support.jsonl`."""
    return [row for kind, group in by_kind(needs) for row in kind.further_rows(group, need_context)]


def fit_rows(encode: Encode, needs: Needs, part: FitPart) -> list[PromptedRow]:
    """Returns the selected rows of the fit part, except rows that are skipped because their prompts are too long."""
    rows, may_see = select_fit_rows(needs, part), {row.id for row in part.untested}
    examples = [row.unlabeled() for row in rows]
    return [
        PromptedRow(id=fit_id(row.id), example=example, rendered=rendered, gold=row if row.id in may_see else None)
        for row, example, rendered in zip(rows, examples, encode(examples), strict=True)
        if not rendered.skipped
    ]
