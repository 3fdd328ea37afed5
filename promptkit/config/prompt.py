"""The settings that build a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.core.errors import InputError, TemplateError

if TYPE_CHECKING:
    from promptkit.manipulate.prompt import Prompt
    from promptkit.tasks.task import Task


PMI, CHANNEL = "pmi", "channel"
"""The scores that are a calibration of the sum, and a sum over another text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOptions:
    """The options that make a `Prompt`."""

    template: str | None
    instruction: str | None
    chat: bool
    shots: int
    demos: str | None
    order: str | None
    seed: int
    cot: str | None = None

    def prompt(self, task: Task, *, channel: bool = False) -> Prompt:
        """The prompt that they describe; the task says which template unless one is given."""
        from promptkit.core.registry import build, parse
        from promptkit.manipulate.cot import COT
        from promptkit.manipulate.demos import SELECTORS
        from promptkit.manipulate.order.fixed import ORDERS
        from promptkit.manipulate.prompt import Prompt

        if self.cot and parse(self.cot)[0] in ("few-shot", "auto", *SELECTORS):
            raise InputError(
                f"--cot {self.cot} is not available: demonstrations with reasoning are selected by --demos",
                code="cot-needs-demos",
                hint="Use --demos auto-cot or --demos complex, or any demonstrations of a task that includes reasoning",
                option="--cot",
                value=self.cot,
            )
        chosen = self.demos or ("balanced" if task.labels else "random")
        return Prompt(
            self.template or (_turned(task) if channel else task.spec.template),
            demos=build("demonstration selector", SELECTORS, chosen, k=self.shots, seed=self.seed),
            order=None if self.order is None else build("order", ORDERS, self.order, seed=self.seed),
            instruction=self.instruction,
            chat=self.chat,
            cot=None if self.cot is None else build("chain of thought", COT, self.cot),
            channel=channel,
        )


def _turned(task: Task) -> str:
    """The template of a task's own, turned for the channel."""
    from promptkit.core.paths import names

    turned = f"{task.spec.template}_channel"
    if turned not in names("templates", ".j2"):
        raise TemplateError(
            f"The task {task.name} has no channel template, which has its target block before its input block",
            code="no-channel-template",
            hint="Write one, such as templates/sentiment/review_channel.j2, and give it with --template",
            task=task.name,
            template=turned,
        )
    return turned
