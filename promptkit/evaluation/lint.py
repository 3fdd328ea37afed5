"""Finds likely mistakes in a rendered prompt before a run is spent on it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from promptkit.core.caller import setting, switch
from promptkit.core.examples import inputs_of
from promptkit.core.formats import MaskedFormat
from promptkit.core.model import TextCard
from promptkit.core.rendered import Rendered


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptWarning:
    """A likely mistake in a prompt."""

    code: str
    """Stable name of the problem in kebab case, such as `doubled-bos`."""
    message: str
    """What is likely wrong, and what to try."""

    def __str__(self) -> str:
        return self.message


def prompt_warnings(
    rendered: Rendered, card: TextCard, *, evaluated: Collection[str], chat: bool, seen: bool = False
) -> list[PromptWarning]:
    """Returns the likely mistakes in a prompt.

    Args:
        rendered: The rendered row.
        card: The card of the model.
        evaluated: Ids of the evaluated rows.
        chat: Whether the prompt uses the model's chat template.
        seen: Whether the predictor was fitted on the row.
    """
    checks = (
        _bos(rendered, card),
        _instruct_without_chat(card, chat=chat),
        _indistinct_labels(rendered, card),
        _merging_boundary(rendered),
        _space_before_text(rendered),
        _evaluated_demonstration(rendered, evaluated),
        _control_in_text(rendered, card),
        _dropped(rendered),
        _may_think(rendered),
        _skipped(rendered, card),
        _seen(seen=seen),
    )
    return [warning for warning in checks if warning is not None]


def _bos(rendered: Rendered, card: TextCard) -> PromptWarning | None:
    tokenizer = card.tokenizer
    names = {tokenizer.name(token) for token in tokenizer.bos} or {"<bos>", "<s>", "<|begin_of_text|>"}
    ids = {tokenizer.control[name] for name in names if name in tokenizer.control}
    acting = sum(token in ids for token in rendered.text.ids[:8])
    spelled_out = sum(piece.text.count(name) for piece in rendered.pieces if not piece.control for name in names)
    if acting > 1:
        message = f"The prompt begins with {acting} BOS tokens, but the model was trained with one."
        return PromptWarning(code="doubled-bos", message=message)
    if acting and spelled_out:
        message = "The text spells out a BOS token, which the tokenizer already adds: remove it from the template."
        return PromptWarning(code="bos-in-text", message=message)
    return None


def _instruct_without_chat(card: TextCard, *, chat: bool) -> PromptWarning | None:
    if not card.instruct or chat:
        return None
    message = f"The model was trained on chat turns, but this prompt is plain text: consider {setting('chat', True)}."
    return PromptWarning(code="instruct-without-chat", message=message)


def _indistinct_labels(rendered: Rendered, card: TextCard) -> PromptWarning | None:
    """Labels whose tokens are a prefix of another label's tokens. By sum, the other label cannot score higher.

    At a mask only equal labels are indistinct, because a token is predicted from those after it too.
    """
    at_mask = isinstance(card.format, MaskedFormat)
    indistinct = [
        repr(target)
        for target, ids in zip(rendered.targets, rendered.continuations, strict=True)
        if sum((other if at_mask else other[: len(ids)]) == ids for other in rendered.continuations) > 1
    ]
    if not indistinct:
        return None
    message = f"The scored tokens of {', '.join(indistinct)} equal, or begin, the scored tokens of another label."
    return PromptWarning(code="indistinct-labels", message=message)


def _merging_boundary(rendered: Rendered) -> PromptWarning | None:
    if not rendered.rescored_tokens:
        return None
    message = (
        f"A label merges with the prompt's last tokens, so every label is scored from {rendered.rescored_tokens} token(s) "
        "earlier: end the input block before the space and begin the target block with it."
    )
    return PromptWarning(code="merging-boundary", message=message)


def _space_before_text(rendered: Rendered) -> PromptWarning | None:
    last = rendered.pieces[-1]
    if rendered.targets or last.control or not last.text.endswith((" ", "\t")):
        return None
    message = (
        "The prompt ends in a space, after which models rarely write a word, because their word tokens begin with a space: "
        "end the input block before the space and begin the target block with it."
    )
    return PromptWarning(code="trailing-space", message=message)


def _evaluated_demonstration(rendered: Rendered, evaluated: Collection[str]) -> PromptWarning | None:
    evaluated_inputs = {inputs_of(row_id) for row_id in evaluated}
    demo = next((demo for demo in rendered.demos if inputs_of(demo) in evaluated_inputs), None)
    if demo is None:
        return None
    message = f"The demonstration {demo} is also an evaluated row: train and test overlap."
    return PromptWarning(code="evaluated-demonstration", message=message)


def _seen(*, seen: bool) -> PromptWarning | None:
    if not seen:
        return None
    message = (
        f"The row was used to fit the learned prompt or predictor, so an evaluation refuses it (see {setting('allow_seen')})."
    )
    return PromptWarning(code="seen-row", message=message)


def _control_in_text(rendered: Rendered, card: TextCard) -> PromptWarning | None:
    text = "".join(piece.text for piece in rendered.pieces if not piece.control)
    names = [name for name in card.tokenizer.control if name in text]
    if not names:
        return None
    message = f"The text contains {', '.join(names[:3])}: these control tokens of the model are encoded as plain text."
    return PromptWarning(code="control-token-in-text", message=message)


def _dropped(rendered: Rendered) -> PromptWarning | None:
    if not rendered.dropped:
        return None
    message = f"{len(rendered.dropped)} demonstration(s) were dropped because the prompt would not fit the model's context."
    return PromptWarning(code="dropped-demonstrations", message=message)


def _may_think(rendered: Rendered) -> PromptWarning | None:
    if not rendered.may_think:
        return None
    message = (
        f"Labels are scored where this reasoning model may begin a thought instead of its answer: use "
        f"{switch('thinking', False)} "
        "if its chat template has this switch, or let it generate the answer."
    )
    return PromptWarning(code="may-think", message=message)


def _skipped(rendered: Rendered, card: TextCard) -> PromptWarning | None:
    if not rendered.skipped:
        return None
    message = (
        f"The row is skipped, because the prompt with its answer would not fit the model's context of {card.context_length} "
        "tokens: it counts as wrong."
    )
    return PromptWarning(code="skipped", message=message)
