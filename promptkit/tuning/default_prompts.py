"""The prompts and the learned manipulations of the default space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from promptkit.align.chain import reader_for
from promptkit.core.errors import PromptkitError
from promptkit.core.manipulation import BindContext, Manipulation, Modifier
from promptkit.core.model import Model, text_card
from promptkit.core.registry import build
from promptkit.manipulate.demos import SELECTORS, RandomEach, Selector, Zero
from promptkit.manipulate.demos.ranking import EmbeddingSelector
from promptkit.manipulate.image.processor import ImageProcessor
from promptkit.manipulate.instructions import answer_format
from promptkit.manipulate.modifiers import LEARNABLE
from promptkit.manipulate.prompt import Prompt
from promptkit.models.client import DryRunModel
from promptkit.tuning.baselines import encoder_at_hand
from promptkit.tuning.names import demonstrations_name
from promptkit.tuning.space_builder import SpaceBuilder

SHOTS = (4, 8, 16)
"""The numbers of demonstrations, besides none."""
DEMOS = ("balanced", "bm25", "similar", "dpp")
"""The selectors of demonstrations, cheapest first; `random` takes the place of `balanced` in a task without labels."""
MOST_LABELS = 20
"""The most labels that an instruction lists."""
TRIED_ROWS = 8
"""The number of rows that are rendered to find out whether demonstrations fit the context."""


def default_prompts(model: Model, builder: SpaceBuilder) -> Iterator[Manipulation]:
    """Yields the manipulations without trained parameters: prompts for texts, and the unchanged image for images."""
    if builder.task.spec.modality == "image":
        yield ImageProcessor()
        return
    for chat in (False, True) if text_card(model.card).instruct else (False,):
        zero = Prompt(builder.template, demos=Zero(), chat=chat)
        if chat and not _can_render(zero, model, builder):
            continue
        yield zero
        wordings = [replace(zero, instruction=instruction) for instruction in _other_instructions(zero, builder)]
        fits = {k: _fits(k, zero, model, builder) for k in SHOTS if k <= len(builder.training_part)}
        for selector in _selectors(model, builder):
            if not selector.is_shared:
                yield from wordings  # after the demonstrations that all rows share: a small budget tries these first
                wordings = []
            if fits[selector.k or 0]:
                yield replace(zero, demos=selector)
            else:
                builder.note(f"left out: {demonstrations_name(selector)}. The prompts do not fit the context of {model.name}")
        yield from wordings


def learnable_manipulations(model: Model, builder: SpaceBuilder) -> Iterator[list[Manipulation | Modifier]]:
    """Yields learnable manipulations with their default settings, after a prompt without demonstrations or the image.

    Tokens are left out: searching them takes many times as long as training numbers.
    """
    if not builder.can_train(model):
        return
    is_image = builder.task.spec.modality == "image"
    first: Manipulation = ImageProcessor() if is_image else Prompt(builder.template, demos=Zero())
    for name in LEARNABLE:
        learnable = build("learned manipulation", LEARNABLE, name, seed=builder.seed)
        if not learnable.is_discrete and all(feature in model.capabilities for feature in learnable.requires):
            yield [first, learnable]


def _other_instructions(zero: Prompt, builder: SpaceBuilder) -> Iterator[str]:
    """Yields the instructions that are tried besides that of the template, without demonstrations: none, and a short one.

    With demonstrations no other instruction is tried: these show the labels and their form.
    """
    if zero.resolved_template.has_instruction:
        yield ""
    words = [*reader_for(builder.task).label_words().values()]
    if 2 <= len(words) <= MOST_LABELS:
        yield answer_format(words)


def _selectors(model: Model, builder: SpaceBuilder) -> Iterator[Selector]:
    """Yields the selectors for which there are enough rows, cheapest first.

    Demonstrations that are the same for all rows of a fold are read once, and cost less than those chosen for each row.
    """
    task = builder.task
    shared = DEMOS[0] if task.spec.kind == "classification" else "random"
    for name, k in [*((shared, k) for k in SHOTS), *((name, k) for k in SHOTS for name in DEMOS[1:])]:
        selector = build("demonstration selector", SELECTORS, name, k=k, seed=builder.seed)
        if isinstance(selector, EmbeddingSelector) and "hidden_states" not in model.capabilities:
            encoder = encoder_at_hand()
            if encoder is None:
                builder.note(f"left out: {name}. It needs embeddings, and {model.name} returns none")
                continue
            selector = build("demonstration selector", SELECTORS, name, k=k, encoder=encoder)
        if selector.has_enough(builder.training_part, task.labels):
            yield selector
        else:
            builder.note(f"left out: {demonstrations_name(selector)}. There are too few labeled rows")


def _fits(k: int, zero: Prompt, model: Model, builder: SpaceBuilder) -> bool:
    """Returns whether most of a few prompts with random demonstrations fit the context."""
    part = builder.training_part
    examples = [row.unlabeled() for row in part[:TRIED_ROWS]]
    context = BindContext(ask=DryRunModel(model.card), reader=reader_for(builder.task), rows={"pool": part})
    prompts = replace(zero, demos=RandomEach(k=k)).bind(context)(examples)
    return 2 * sum(bool(rendered.dropped) for rendered in prompts) <= len(prompts)


def _can_render(prompt: Prompt, model: Model, builder: SpaceBuilder) -> bool:
    """Returns whether a prompt in the chat format can be rendered, and adds a note if it cannot."""
    context = BindContext(ask=DryRunModel(model.card), reader=reader_for(builder.task), rows={})
    try:
        prompt.bind(context)([builder.rows[0].unlabeled()])
    except PromptkitError as error:
        builder.note(f"left out: the chat format. {error}")
        return False
    return True
