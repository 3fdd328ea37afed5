"""Checks of the rows and labels that selectors and orders need, and of the options that a model allows."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.core.caller import by_caller, setting
from promptkit.core.errors import InputError, TaskError, Unsupported
from promptkit.core.examples import LabeledExample, gold_labels
from promptkit.core.formats import MaskedFormat
from promptkit.core.model import TextCard
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import count_distinct


def check_format(card: TextCard, *, channel: bool, cot: bool, chat: bool) -> None:
    """Checks the options of a prompt against the way in which the model reads it.

    Raises:
        Unsupported: An option needs a model that continues its prompt, or one that generates text.
    """
    form = card.format
    needs_generation = isinstance(form, MaskedFormat) and (cot or chat)
    if form is None or not (channel or needs_generation):
        return
    option = "channel" if channel else "cot" if cot else "chat"
    named = channel_setting() if channel else setting(option)
    reason = "reads no label before the input" if channel else "generates no text"
    raise Unsupported(
        f"{named} cannot be used with {form.description}, which {reason}",
        code="needs-causal-model",
        hint=f"Leave {named} out, or use a causal model",
        option=option,
        format=form.description,
    )


def channel_setting() -> str:
    """Returns how the caller asks for the score of the input after its label."""
    return by_caller(command="--score channel", python="channel=True")


def check_pool_size(k: int, pool: Sequence[LabeledExample]) -> None:
    """Checks that the pool has k rows with distinct inputs.

    Raises:
        InputError: k is negative.
        TaskError: The pool has fewer than k distinct rows.
    """
    if k < 0:
        raise InputError("The number of demonstrations must not be negative", code="out-of-range", got=f"k={k}", k=k)
    if k > count_distinct(pool):
        raise TaskError(
            f"The pool has {count_distinct(pool)} distinct rows, which are too few for {k} demonstrations",
            code="too-few-rows",
            hint="Use fewer shots (0 for none), add train rows, or give the pool more of them: "
            f"{setting('split_train', 'pool=0.8,fit=0.2')}",
            k=k,
            rows=count_distinct(pool),
        )


def check_has_dev(context: SelectionContext, selector: str) -> None:
    """Checks that the dev part has rows.

    Raises:
        TaskError: The dev part is empty.
    """
    if not context.dev:
        raise TaskError(
            f"{selector} evaluates demonstrations on the dev part of the train split, which is empty",
            code="empty-part",
            hint=f"Use another selector, add train rows, or give dev more of them: {setting('split_train')}",
            part="dev",
            selector=selector,
        )


def check_has_labels(context: SelectionContext, requirement: str, *, hint: str, **fields: str) -> None:
    """Checks that the task declares labels that are the same for every row.

    Args:
        context: The task and its output reader.
        requirement: Subject and verb of the message, such as "The order interleaved needs".
        hint: What to use instead.
        **fields: Fields of the error.

    Raises:
        TaskError: Each row has its own answers.
    """
    if not context.labels or context.reader.task_kind == "multi-label":
        reason = f"{requirement} a task in which each row has one of the same labels"
        raise TaskError(reason, code="no-fixed-labels", hint=hint, **fields)


def check_labels_have_words(context: SelectionContext) -> None:
    """Checks that each label of the rows that demonstrations come from has a word.

    Raises:
        TaskError: A label has none.
    """
    rows = (*context.pool, *context.dev)
    labels = {label for row in rows for label in gold_labels(row, context.reader.task_kind)}
    unknown = sorted(labels - set(context.labels)) if context.labels else []
    if unknown:
        raise TaskError(
            f"There is no label word for {', '.join(unknown[:5])}, which occurs as a label of train rows",
            code="label-without-word",
            got=f"words for {', '.join(context.labels)}",
            hint="Give each label a word",
            labels=tuple(unknown[:5]),
            known=context.labels,
        )
