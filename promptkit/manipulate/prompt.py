"""The prompt: instruction, demonstrations and query from one template, and an optional chain of thought.

Taxonomy: fixed format, at the input, concatenative. In-context learning (Brown et al. 2020, arXiv 2005.14165).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from promptkit.core.arguments import checked
from promptkit.core.caller import setting, switch
from promptkit.core.capabilities import Feature
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.examples import Example, LabeledExample, Part
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.hashing import short_hash
from promptkit.core.manipulation import BindContext, Modifier
from promptkit.core.model import ChatOptions, text_card
from promptkit.core.registry import settings_of, trained_rows_field
from promptkit.core.rendered import Rendered, TooLong
from promptkit.core.taxonomy import Kind
from promptkit.inputs.text.template import Template
from promptkit.manipulate.cot import Cot
from promptkit.manipulate.demos import SELECTORS, First, Selector, Zero
from promptkit.manipulate.demos.hand_picked import HandPicked, hand_picked
from promptkit.manipulate.order.fixed import Given, default_order
from promptkit.manipulate.order.order import Order
from promptkit.manipulate.prompting.blocks import REASONING
from promptkit.manipulate.prompting.checks import channel_setting, check_format, check_labels_have_words
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.layout import PromptLayout
from promptkit.manipulate.prompting.rows import Arrange, Choose, Demonstrations, Reason, rows_digest

KEPT_ROWS = 2**16
"""Number of rows whose demonstrations a bound prompt keeps, so that any number of rows can be rendered one after another."""


@dataclass(frozen=True)
class Prompt:
    """Builds a prompt from an instruction, demonstrations, the query and, optionally, a chain of thought.

    Args:
        template: A template, the name of a shipped one, or the path of a `.j2` file.
        demos: Selects the demonstrations, such as `demos.Balanced(k=8, seed=0)`; none by default. Or a list of the
            demonstrations to show, in order: rows of a task, or mappings such as `{"text": "...", "label": "..."}`.
        order: Orders the demonstrations. By default the most similar is last if the selector ranks by similarity, and
            otherwise the selector's order is kept.
        instruction: Replaces the template's instruction block; "" shows none.
        chat: Whether to use the model's chat template, with a user turn and an assistant turn per demonstration.
        thinking: Whether the model thinks before it answers, where its chat template has a switch (`enable_thinking` or
            `thinking`); None for the template's default.
        chat_template: The name of the chat template, for models with several; None for the default one.
        cot: Generates a reasoning before the answer, such as `cot.ZeroShot()`; by default the model answers directly.
        channel: Whether to score the input after each label, log p(x | C, v(y)), with a template that puts the target block
            first (noisy channel; Min et al. 2021, arXiv 2108.04106). Takes one pass over the input per label.
        on_too_long: What happens to a row whose prompt and answer do not fit the model's context. `truncate-demos` drops whole
            demonstrations, the farthest from the query first, until it fits; without demonstrations it must fit. `error`
            raises an error. `skip` does not send the row to the model: it counts as wrong. Prompts with which a
            selector or an order queries the model always drop demonstrations.
        rows: The rows that demonstrations are chosen from, by part of the train split; None to take them from the task. A
            fitted prompt has its own rows.

    Raises:
        InputError: A value is of the wrong type, or two options cannot be combined.
        TemplateError: There is no such template, or it is invalid.
    """

    template: Template | str | Path
    """A template, the name of a shipped one, or the path of a `.j2` file."""
    _: KW_ONLY
    demos: Selector | HandPicked = field(default_factory=Zero)
    """Selects the demonstrations, or the demonstrations themselves in order."""
    order: Order | None = None
    """Orders the demonstrations; None for the default of the selector."""
    instruction: str | None = None
    """Replaces the template's instruction block; "" shows none."""
    chat: bool = False
    """Whether to use the model's chat template."""
    thinking: bool | None = None
    """Whether the model thinks before it answers; None for the default of its chat template."""
    chat_template: str | None = None
    """The name of the chat template, for models with several."""
    cot: Cot | None = None
    """Generates a reasoning before the answer."""
    channel: bool = False
    """Whether to score the input after each label."""
    on_too_long: TooLong = "truncate-demos"
    """What happens to a row whose prompt does not fit the model's context."""
    rows: Mapping[Part, Sequence[LabeledExample]] | None = None
    """The rows that demonstrations are chosen from, by part of the train split; None to take them from the task."""
    fitted_on: frozenset[Fingerprint] = trained_rows_field()
    """The labeled rows that its own rows are, or were chosen from."""

    kind: ClassVar[Kind] = Kind(format="fixed", location="input", operator="concatenative")
    requires: ClassVar[frozenset[Feature]] = frozenset({"text"})

    def __post_init__(self) -> None:
        """Validates the options and loads the template."""
        checked(self, "a prompt")
        if not isinstance(self.template, Template):
            object.__setattr__(self, "template", Template.load(self.template))
        if not isinstance(self.demos, Selector):
            self._set_demonstrations(hand_picked(self.demos, self.variables))
        self._check_order()
        self._check_chat()
        self._check_channel()
        if self.rows:
            object.__setattr__(self, "fitted_on", self.fitted_on | _fingerprints(self.rows))

    def _set_demonstrations(self, rows: Demonstrations) -> None:
        """Sets the demonstrations that are shown with all rows."""
        if self.rows is not None:
            raise InputError(
                "A prompt has a list of demonstrations, or rows to choose them from, but not both",
                code="conflicting-options",
                hint="Leave out rows",
                options=("demos", "rows"),
            )
        object.__setattr__(self, "demos", First(k=len(rows)) if rows else Zero())
        object.__setattr__(self, "rows", {"pool": rows})

    @property
    def selector(self) -> Selector:
        """Selects the demonstrations."""
        assert isinstance(self.demos, Selector)
        return self.demos

    def _check_order(self) -> None:
        if self.order and self.order.needs_ranking and self._has_demos and not self.selector.ranks_by_similarity:
            ranking = ", ".join(name for name, selector in SELECTORS.items() if selector.ranks_by_similarity)
            raise InputError(
                f"The order {self.order.name} needs demonstrations ranked by similarity to the row, which {self.selector.name} "
                "does not provide",
                code="order-needs-ranking",
                hint=f"Use it with {ranking}, or use no order, or shuffled",
                order=self.order.name,
                demos=self.selector.name,
            )

    def _check_chat(self) -> None:
        for name, value in self._chat_settings().items():
            if not self.chat:
                raise InputError(
                    f"{setting(name)} applies to the model's chat template, which this prompt does not use",
                    code="needs-chat",
                    got=f"{setting(name, value) if isinstance(value, str) else switch(name, bool(value))} without "
                    f"{setting('chat')}",
                    hint=f"Add {setting('chat', True)}",
                    option=name,
                )

    def _check_channel(self) -> None:
        if self.channel and (self.chat or self.cot):
            other = "chat" if self.chat else "cot"
            raise InputError(
                f"{channel_setting()} and {setting(other)} cannot be combined: the channel scores the input after its label",
                code="conflicting-options",
                got=other,
                hint="Leave one out",
                options=("channel", other),
            )

    @property
    def resolved_template(self) -> Template:
        """The loaded template."""
        assert isinstance(self.template, Template)
        return self.template

    @property
    def chat_options(self) -> ChatOptions:
        """How the chat template is rendered."""
        return ChatOptions(template=self.chat_template, thinking=self.thinking)

    @property
    def resolved_order(self) -> Order:
        """The order, or the default of the selector."""
        return self.order or default_order(self.selector)

    @property
    def slots(self) -> Mapping[str, int]:
        """The template's slots for learned vectors: name -> number of vectors."""
        return self.resolved_template.slots(without="" if self.instruction is None else "instruction")

    @property
    def modifiers(self) -> tuple[Modifier, ...]:
        """A prompt alone has no modifiers."""
        return ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the train split that are read: the pool and the selector's; none if the prompt has its own rows."""
        return () if self.rows is not None else self._row_parts

    @property
    def variables(self) -> frozenset[str]:
        """The variables of the template that rows have, without those for the answer."""
        return self.resolved_template.row_variables - {REASONING}

    @property
    def _has_demos(self) -> bool:
        return self.selector.k != 0

    @property
    def _row_parts(self) -> tuple[Part, ...]:
        """The parts that demonstrations need, wherever they come from."""
        return tuple(dict.fromkeys(("pool", *self.selector.parts))) if self._has_demos else ()

    @property
    def models(self) -> tuple[str, ...]:
        """The names of other models that the selector queries."""
        return self.selector.models

    def settings(self) -> Mapping[str, object]:
        """Returns everything that determines a result: template (by content), demonstrations, order and options."""
        demos, order = (self.selector, self.resolved_order) if self._has_demos else (Zero(), Given())
        template = self.resolved_template
        return {
            "template": template.recorded_name,
            "template_sha256": short_hash(template.source),
            "demos": settings_of(demos),
            "order": settings_of(order),
            "instruction": self.instruction,
            "chat": self.chat,
            **self._chat_settings(),
            "cot": settings_of(self.cot) if self.cot else None,
            "channel": self.channel,
            "on_too_long": "truncate-demos" if self.on_too_long == "error" and not self._has_demos else self.on_too_long,
            **({"rows": rows_digest(self.rows)} if self.rows is not None and self._has_demos else {}),
        }

    def _chat_settings(self) -> dict[str, object]:
        options: dict[str, object] = {"thinking": self.thinking, "chat_template": self.chat_template}
        return {name: value for name, value in options.items() if value is not None}

    def bind(self, bind_context: BindContext) -> BoundPrompt:
        """Binds the prompt to one task and one model.

        Args:
            bind_context: The rows, the model and the output reader.

        Raises:
            Unsupported: `channel` is set, but the model generates the answers, or the model is not causal and an option needs
                a causal one.
            TaskError: A train row has a label without a label word, or the selector cannot choose.
        """
        self._check_channel_scores(bind_context)
        check_format(text_card(bind_context.ask.card), channel=self.channel, cot=self.cot is not None, chat=self.chat)
        context = self._selection_context(bind_context)
        arrange, cot = self.resolved_order.bind(context), self.cot
        choose = self.selector.bind(context)  # last, because it may query the model
        # searches use the layout of the context, which drops demonstrations
        final = replace(context.layout, on_too_long=self.on_too_long)
        if cot is None:
            return BoundPrompt(layout=final, choose=choose, arrange=arrange)
        return BoundPrompt(
            layout=final, choose=choose, arrange=arrange, reason=cot.bind(context), context_tokens=cot.context_tokens
        )

    def fit(self, bind_context: BindContext) -> Prompt:
        """Returns the prompt with the rows that its demonstrations are chosen from.

        Demonstrations that all rows share are chosen now, and the prompt keeps only these. If they differ between rows, it
        keeps all rows that its selector reads.

        Args:
            bind_context: As for `bind`.
        """
        if not self._has_demos:
            return replace(self, demos=Zero(), order=None, rows={})
        fitted_on = self.fitted_on | _fingerprints(self._rows(bind_context))
        if not self.selector.is_shared:
            return replace(self, rows={part: tuple(self._rows(bind_context).get(part, ())) for part in self._row_parts})
        context = self._selection_context(bind_context)
        new_row = Example(id="new row", inputs={})  # it equals no row of the pool
        (chosen,) = self.selector.bind(context)([new_row])
        order = self.resolved_order
        if not order.depends_on_row:
            (chosen,) = order.bind(context)([new_row], [chosen])
            order = Given()
        return replace(self, demos=First(k=len(chosen)), order=order, rows={"pool": chosen}, fitted_on=fitted_on)

    def _rows(self, bind_context: BindContext) -> Mapping[Part, Sequence[LabeledExample]]:
        return bind_context.rows if self.rows is None else self.rows

    def _selection_context(self, bind_context: BindContext) -> SelectionContext:
        own = replace(bind_context, rows=self._rows(bind_context))
        context = SelectionContext(bind_context=own, layout=self._layout(bind_context))
        check_labels_have_words(context)
        return context

    def _check_channel_scores(self, bind_context: BindContext) -> None:
        if self.channel and (bind_context.reader.task_kind == "generation" or bind_context.scores_end):
            raise Unsupported(
                f"{channel_setting()} scores the input after each answer, but in this task the model generates the answer",
                code="needs-scored-answers",
                hint="Use a task with labels or choices, or leave channel out",
                purpose="channel",
            )

    def _layout(self, bind_context: BindContext) -> PromptLayout:
        return PromptLayout(
            template=self.resolved_template,
            instruction=self.instruction,
            chat=self.chat,
            chat_options=self.chat_options,
            card=text_card(bind_context.ask.card),
            reader=bind_context.reader,
            channel=self.channel,
            format_reasoning=self.cot.format_reasoning if self.cot else None,
            ends=bind_context.scores_end,
        )


def _fingerprints(rows: Mapping[Part, Sequence[LabeledExample]]) -> frozenset[Fingerprint]:
    return frozenset(row.content for part in rows.values() for row in part)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPrompt:
    """A prompt bound to one task and one model: a function of rows."""

    layout: PromptLayout
    """Encodes a row with its demonstrations."""
    choose: Choose
    """Selects demonstrations."""
    arrange: Arrange
    """Orders demonstrations."""
    reason: Reason | None = None
    """Generates the reasoning."""
    context_tokens: int = 0
    """Number of tokens of the context reserved for a reasoning."""
    _demonstrations: OrderedDict[str, Demonstrations] = field(default_factory=OrderedDict)
    """Row id -> ordered demonstrations of the last rows, so that the model is queried for a row once."""

    def __call__(self, examples: Sequence[Example], *, context_of: Sequence[Example] | None = None) -> list[Rendered]:
        """Renders rows.

        Args:
            examples: The rows.
            context_of: For each row, the row whose demonstrations it is shown with; by default its own.

        Returns:
            The rendered prompt of each row.
        """
        context_rows = examples if context_of is None else context_of
        demonstrations = self.demonstrations(context_rows)
        drops, suffixes = self._reasoning(examples, context_rows, demonstrations)
        others: Sequence[Example | None] = context_of or [None] * len(examples)
        return [
            self.layout.skip(example, chosen)
            if drop is None
            else self.layout(example, chosen, context_of=other, suffix=suffix, drop=drop)
            for example, other, chosen, drop, suffix in zip(examples, others, demonstrations, drops, suffixes, strict=True)
        ]

    def premise(self, example: Example) -> Rendered:
        """Renders the domain premise, which is the end of the prompt without inputs; see `Encode.premise`.

        Raises:
            Unsupported: The prompt scores by the channel or has a chain of thought.
        """
        if self.reason is not None or self.layout.channel:
            option, name = ("channel", "channel score") if self.layout.channel else ("cot", "chain of thought")
            raise Unsupported(
                f"This calibration needs the prompt without inputs, which a prompt with a {name} does not have",
                code="no-premise",
                hint=f"Use a calibration that needs none, such as batch, or leave out the {name}",
                option=option,
            )
        return self.layout.premise(example)

    def demonstrations(self, examples: Sequence[Example]) -> list[Demonstrations]:
        """Returns the ordered demonstrations of each row, before any is dropped because the prompt is too long."""
        new = [*{example.id: example for example in examples if example.id not in self._demonstrations}.values()]
        if new:
            arranged = self.arrange(new, self.choose(new))
            self._demonstrations.update({example.id: rows for example, rows in zip(new, arranged, strict=True)})
        demonstrations = [self._demonstrations[example.id] for example in examples]
        while len(self._demonstrations) > max(KEPT_ROWS, len(examples)):
            self._demonstrations.popitem(last=False)
        return demonstrations

    def _reasoning(
        self, examples: Sequence[Example], context_rows: Sequence[Example], demonstrations: Sequence[Demonstrations]
    ) -> tuple[Sequence[int | None], Sequence[str]]:
        """Returns how many demonstrations each row drops for its reasoning, and the reasoning; None and "" for skipped rows."""
        if self.reason is None:
            return [0] * len(examples), [""] * len(examples)
        drops = [
            self.layout.count_dropped(row, chosen, self.context_tokens)
            for row, chosen in zip(context_rows, demonstrations, strict=True)
        ]
        fitting = {index: drop for index, drop in enumerate(drops) if drop is not None}
        shown = [demonstrations[index][drop:] for index, drop in fitting.items()]
        texts = dict(zip(fitting, self.reason([examples[index] for index in fitting], shown), strict=True)) if fitting else {}
        return drops, [texts.get(index, "") for index in range(len(examples))]
