"""What is likely wrong with a prompt, said before a run is spent on it. Knows nothing of how prompts are made."""

from __future__ import annotations

from collections.abc import Collection

from promptkit.core.examples import inputs_of
from promptkit.core.model import Card
from promptkit.core.rendered import Rendered


def warnings(rendered: Rendered, card: Card, *, tested: Collection[str], chat: bool) -> list[str]:
    """One sentence for each thing in one rendered row that its author should look at.

    `tested` holds the ids of the rows that are evaluated.
    """
    found = [
        _doubled_bos(rendered, card),
        _instruct_without_chat(card, chat=chat),
        _indistinct_labels(rendered),
        _merging_boundary(rendered),
        _space_before_text(rendered),
        _tested_demonstration(rendered, tested),
        _control_in_text(rendered, card),
        _dropped(rendered),
    ]
    return [sentence for sentence in found if sentence]


def _doubled_bos(rendered: Rendered, card: Card) -> str:
    tokenizer = card.tokenizer
    names = {tokenizer.name(token) for token in tokenizer.bos} or {"<bos>", "<s>", "<|begin_of_text|>"}
    ids = {tokenizer.control[name] for name in names if name in tokenizer.control}
    acting = sum(token in ids for token in rendered.input.ids[:8])
    written = sum(piece.text.count(name) for piece in rendered.pieces if not piece.control for name in names)
    if acting > 1:
        return f"The prompt begins with {acting} BOS tokens: the model was trained with one."
    if acting and written:
        return "The text spells out a BOS token besides the one that the tokenizer adds: leave it out of the template."
    return ""


def _instruct_without_chat(card: Card, *, chat: bool) -> str:
    if card.instruct and not chat:
        return "The model was trained on chat turns, and this prompt is plain text: consider --chat."
    return ""


def _indistinct_labels(rendered: Rendered) -> str:
    """Labels of which one says nothing that another does not: equal, or one the beginning of the other."""
    same = [
        repr(target)
        for target, ids in zip(rendered.targets, rendered.continuations, strict=True)
        if sum(other[: len(ids)] == ids for other in rendered.continuations) > 1
    ]
    if same:
        return f"Every scored token of {', '.join(same)} is a token of another label too, which only goes on after it."
    return ""


def _merging_boundary(rendered: Rendered) -> str:
    if rendered.rescored_tokens:
        return (
            f"A label merges with the prompt's last tokens, so that every label is scored from {rendered.rescored_tokens} token(s) "
            "earlier: end the input block before the space and begin the target block with it."
        )
    return ""


def _space_before_text(rendered: Rendered) -> str:
    last = rendered.pieces[-1]
    if not rendered.targets and not last.control and last.text.endswith((" ", "\t")):
        return (
            "The prompt ends in a space, after which a model seldom writes a word, since its words begin with theirs: "
            "end the input block before the space and begin the target block with it."
        )
    return ""


def _tested_demonstration(rendered: Rendered, tested: Collection[str]) -> str:
    """Train and test overlap: an id is a hash of the inputs, whichever split they stand in."""
    evaluated = {inputs_of(row) for row in tested}
    same = [demo for demo in rendered.demos if inputs_of(demo) in evaluated]
    return f"The demonstration {same[0]} is also a row that is evaluated: train and test overlap." if same else ""


def _control_in_text(rendered: Rendered, card: Card) -> str:
    text = "".join(piece.text for piece in rendered.pieces if not piece.control)
    held = [name for name in card.tokenizer.control if name in text]
    if held:
        return (
            f"The text holds {', '.join(held[:3])}, a control token of the model: it is encoded as plain text and does not act."
        )
    return ""


def _dropped(rendered: Rendered) -> str:
    if rendered.dropped:
        return f"{len(rendered.dropped)} demonstration(s) were dropped because the prompt would not fit the model's context."
    return ""
