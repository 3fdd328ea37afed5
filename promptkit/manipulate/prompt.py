"""Fixed-format manipulation at the context: instruction, demonstrations, query, from one template, and a reasoning.

(fixed, input, concatenative): in-context learning (Brown et al. 2020, 2005.14165).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import ClassVar

from promptkit.core.alignment import Extractor
from promptkit.core.errors import InputError, TaskError, Unsupported
from promptkit.core.examples import Example, Part
from promptkit.core.hashing import short_hash
from promptkit.core.manipulation import BindContext, Modifier
from promptkit.core.registry import settings_of
from promptkit.core.rendered import Rendered
from promptkit.core.taxonomy import Kind
from promptkit.inputs.text.template import Template
from promptkit.manipulate.cot import Cot
from promptkit.manipulate.demos import SELECTORS, Selector, zero
from promptkit.manipulate.order.fixed import Order, default_order, given
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.layout import PromptLayout
from promptkit.manipulate.prompting.rows import Arrange, Choose, Demonstrations, Reason


@dataclass(frozen=True)
class Prompt:
    """An instruction, demonstrations of the task, the query, and a chain of thought."""

    template: Template | str | Path
    """A template, the name of a shipped one, or the path of a `.j2` file."""
    _: KW_ONLY
    demos: Selector = field(default_factory=zero)
    """Which demonstrations are shown: `demos.balanced(k=8, seed=0)`."""
    order: Order | None = None
    """In which order; unless given the nearest last where the demonstrations are ranked by nearness, else as chosen."""
    instruction: str | None = None
    """Replaces the template's instruction block; "" shows none."""
    chat: bool = False
    """Whether to use the model's chat template, each demonstration a turn of user and of assistant."""
    cot: Cot | None = None
    """How the model reasons about a row before it answers: `cot.zero_shot()`; unless given, it answers at once."""

    channel: bool = False
    """Whether the input is scored behind each label, log p(x | C, v(y)), by a template that puts the target block before it.

    Noisy channel (Min et al. 2021, 2108.04106): demonstrations are turned likewise; a pass over the input for each label."""

    kind: ClassVar[Kind] = Kind(format="fixed", location="input", operator="concatenative")
    modifiers: ClassVar[tuple[Modifier, ...]] = ()

    def __post_init__(self) -> None:
        """Load the template if it is named."""
        if any(isinstance(given, (type, str)) for given in (self.demos, self.order, self.cot)):
            wrong = {"demos": self.demos, "order": self.order, "cot": self.cot}
            raise InputError(
                "The demos, order and cot of a prompt must be objects, but a class or a name was given",
                code="not-an-instance",
                got=f"demos={self.demos!r}, order={self.order!r}, cot={self.cot!r}",
                hint="Write demos=pk.demos.balanced(k=8), with parentheses",
                keywords=tuple(keyword for keyword, value in wrong.items() if isinstance(value, (type, str))),
            )
        if self.order and getattr(self.order, "by_rank", False) and self.parts and not getattr(self.demos, "ranks", False):
            ranking = ", ".join(name for name, selector in SELECTORS.items() if getattr(selector, "ranks", False))
            raise InputError(
                f"The order {self.order.name} needs demonstrations ranked by similarity to the row, which {self.demos.name} "
                "does not provide",
                code="order-needs-ranking",
                hint=f"Use it with {ranking}, or use no order, or shuffled",
                order=self.order.name,
                demos=self.demos.name,
            )
        if not isinstance(self.instruction, str | None):
            raise InputError(
                "The instruction must be a string",
                code="invalid-value",
                got=repr(self.instruction),
                keyword="instruction",
                value=repr(self.instruction)[:200],
            )
        if self.channel and (self.chat or self.cot):
            other = "chat" if self.chat else "cot"
            raise InputError(
                f"The options channel and {other} cannot be combined: channel scores the input after its label",
                code="conflicting-options",
                got=other,
                hint="Leave one out",
                options=("channel", other),
            )
        if not isinstance(self.template, Template):
            object.__setattr__(self, "template", Template.load(self.template))

    @property
    def loaded(self) -> Template:
        """The template itself."""
        assert isinstance(self.template, Template)
        return self.template

    @property
    def slots(self) -> Mapping[str, int]:
        """The places that its template leaves for learned vectors: name -> how many."""
        return self.loaded.slots(without="" if self.instruction is None else "instruction")

    @property
    def arranged(self) -> Order:
        """The order given, or the one that stands for none."""
        return self.order or default_order(self.demos)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The pool if it shows demonstrations at all, and what its selector uses besides."""
        shows = getattr(self.demos, "k", None) != 0  # a selector of somebody's own may have no such field
        return tuple(dict.fromkeys(("pool", *getattr(self.demos, "parts", ())))) if shows else ()

    @property
    def models(self) -> tuple[str, ...]:
        """The other models that its selector asks."""
        return tuple(getattr(self.demos, "models", ()))

    def settings(self) -> Mapping[str, object]:
        """Template (by content), demonstrations, order, instruction, chat, chain of thought and channel.

        Without demonstrations nothing orders them.
        """
        demos, order = (self.demos, self.arranged) if self.parts else (zero(), given())
        return {
            "template": self.loaded.name,
            "template_sha256": short_hash(self.loaded.source),
            "demos": settings_of(demos),
            "order": settings_of(order),
            "instruction": self.instruction,
            "chat": self.chat,
            "cot": settings_of(self.cot) if self.cot else None,
            "channel": self.channel,
        }

    def bind(self, bind_context: BindContext) -> BoundPrompt:
        """The prompt for one task and one model."""
        if self.channel and (isinstance(bind_context.reading, Extractor) or bind_context.scores_end):
            raise Unsupported(
                "The option channel scores the input after each answer, but in this task the model generates the answer",
                code="needs-scored-answers",
                hint="Use a task with labels or choices, or leave channel out",
                purpose="channel",
            )
        frame = PromptLayout(
            template=self.loaded,
            instruction=self.instruction,
            chat=self.chat,
            card=bind_context.ask.card,
            reading=bind_context.reading,
            channel=self.channel,
            around=self.cot.around if self.cot else None,
            ends=bind_context.scores_end,
        )
        context = SelectionContext(bind_context=bind_context, show=frame)
        held = {row.label for row in (*context.pool, *context.dev)}
        foreign = sorted(held - set(context.labels)) if context.labels else []
        if foreign:
            raise TaskError(
                f"There is no label word for {', '.join(foreign[:5])}, which occurs as a label of train rows",
                code="label-without-word",
                got=f"words for {', '.join(context.labels)}",
                hint="Give each label a word",
                labels=tuple(foreign[:5]),
                known=context.labels,
            )
        arrange, cot = self.arranged.bind(context), self.cot
        choose = self.demos.bind(context)  # last, as it may ask a model already
        if cot is None:
            return BoundPrompt(frame=frame, choose=choose, arrange=arrange)
        return BoundPrompt(
            frame=frame, choose=choose, arrange=arrange, reason=cot.bind(context), context_tokens=cot.context_tokens
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPrompt:
    """A prompt for one task and one model: a function of rows."""

    frame: PromptLayout
    choose: Choose
    arrange: Arrange
    reason: Reason | None = None
    context_tokens: int = 0
    """Tokens that a reasoning may take."""
    _chosen: dict[str, Demonstrations] = field(default_factory=dict)
    """Row id -> its demonstrations, in order; what was asked to choose them is not asked again."""

    def __call__(self, examples: Sequence[Example], *, context_of: Sequence[Example] | None = None) -> list[Rendered]:
        """What the model reads for each row, behind the demonstrations of the row itself or of the one it shall be like."""
        patterns = examples if context_of is None else context_of
        shown = self.demonstrations(patterns)
        drops, suffix = self._reasoned(examples, patterns, shown)
        rows = zip(examples, patterns if context_of else [None] * len(examples), shown, drops, suffix, strict=True)
        return [
            self.frame(example, chosen, context_of=pattern, suffix=text, drop=drop)
            for example, pattern, chosen, drop, text in rows
        ]

    def premise(self, example: Example) -> Rendered:
        """See `Apply.premise`."""
        if self.reason is not None or self.frame.channel:
            option, name = ("channel", "the channel") if self.frame.channel else ("cot", "a chain of thought")
            raise Unsupported(
                f"A prompt with {name} has no premise without inputs, which this calibration needs",
                code="no-premise",
                hint=f"Use a calibration that needs none, such as batch, or leave out {name}",
                option=option,
            )
        return self.frame.premise(example)

    def _reasoned(
        self, examples: Sequence[Example], patterns: Sequence[Example], shown: Sequence[Demonstrations]
    ) -> tuple[list[int], list[str]]:
        """How many demonstrations of each row a reasoning takes the place of, and what stands behind its query."""
        if self.reason is None:
            return [0] * len(shown), [""] * len(shown)
        drops = [self.frame.without_room(row, chosen, self.context_tokens) for row, chosen in zip(patterns, shown, strict=True)]
        return drops, self.reason(examples, [chosen[drop:] for chosen, drop in zip(shown, drops, strict=True)])

    def demonstrations(self, examples: Sequence[Example]) -> list[Demonstrations]:
        """Those of each row, in the order shown, before any is left out for want of room."""
        fresh = [*{example.id: example for example in examples if example.id not in self._chosen}.values()]
        if fresh:
            arranged = self.arrange(fresh, self.choose(fresh))
            self._chosen.update({example.id: rows for example, rows in zip(fresh, arranged, strict=True)})
        return [self._chosen[example.id] for example in examples]
