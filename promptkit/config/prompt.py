"""The options that define a prompt, for the command line and study files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, cast, get_args

from pydantic import BeforeValidator, NonNegativeInt

from promptkit.config.values import SWITCH, RelativePath, Spelled, on_or_off
from promptkit.core.caller import setting
from promptkit.core.errors import TemplateError, unknown
from promptkit.core.paths import expanded
from promptkit.tasks.field_descriptions import NamesFrom
from promptkit.tasks.strict_model import StrictModel
from promptkit.tasks.yaml_file import errors_at

if TYPE_CHECKING:
    from promptkit.core.examples import LabeledExample, Part
    from promptkit.core.rendered import TooLong
    from promptkit.manipulate.cot import Cot
    from promptkit.manipulate.demos import Selector
    from promptkit.manipulate.instruction_file import ChosenInstruction
    from promptkit.manipulate.prompt import Prompt
    from promptkit.tasks.single_table import EvaluatedRows
    from promptkit.tasks.task import Task

_log = logging.getLogger(__name__)
DEFAULT_SHOTS = 8
FILE = "file:"
"""Precedes the path of a file with demonstrations."""


class PromptOptions(StrictModel):
    """The options that define a prompt. They apply to tasks whose inputs are texts."""

    template: Annotated[str | None, RelativePath(or_name=True)] = None
    """Template name, path of a .j2 file, or template text; by default the task's template."""
    instruction: Annotated[str | None, RelativePath(after=FILE)] = None
    """Instruction that replaces the template's; an empty text removes it; file:FILE is one that promptkit search has chosen."""
    chat: bool = False
    """Use the model's chat template, with demonstrations as turns."""
    thinking: Annotated[str | None, BeforeValidator(on_or_off)] = None
    """Whether a reasoning model thinks before its answer, with {chat}: on or off; by default as in its chat template."""
    chat_template: str | None = None
    """Name of the chat template, with {chat}, for models that have several."""
    shots: NonNegativeInt | None = None
    """Number of demonstrations; by default 8, or fewer if there are too few labeled rows, and 0 with a learned prompt."""
    demos: Annotated[Spelled | None, RelativePath(after=FILE), NamesFrom("promptkit.manipulate.demos:SELECTORS")] = None
    """Demonstration selector: {names}; or file:FILE, a data file of demonstrations to show in order; by default balanced for a
    task with labels, else random."""
    order: Annotated[Spelled | None, NamesFrom("promptkit.manipulate.order.fixed:ORDERS")] = None
    """Demonstration order: {names}; by default nearest-last for selectors that rank by similarity, else given."""
    seed: int = 0
    """Random seed for the demonstrations, their order and sampled texts."""
    on_too_long: str = "truncate-demos"
    """What to do with a row whose prompt does not fit the model's context: truncate-demos drops demonstrations until it fits,
    and stops with an error if it does not fit without any; error stops; skip leaves the row out, and it counts as wrong."""

    @property
    def num_shots(self) -> int:
        """The number of demonstrations, with the default filled in."""
        if self.shots is not None:
            return self.shots
        return self.default_shots()

    def default_shots(self) -> int:
        """Returns the number of demonstrations if it is not given."""
        return DEFAULT_SHOTS

    def build_cot(self) -> Cot | None:
        """Returns how a reasoning is generated before the answer; None if it is not."""
        return None

    def build_prompt(self, task: Task, *, channel: bool = False) -> Prompt:
        """Builds the prompt that the options define.

        Args:
            task: The task, whose default template is used unless `template` is given.
            channel: Whether the prompt scores the input given the answer, with the task's channel template.

        Raises:
            InputError: An option names something that does not exist.
            TemplateError: The task has no channel template.
        """
        from promptkit.core.registry import build
        from promptkit.manipulate.order.fixed import ORDERS
        from promptkit.manipulate.prompt import Prompt

        cot = self.build_cot()
        if self.thinking not in (None, *SWITCH):
            raise unknown(f"value of {setting('thinking')}", str(self.thinking), SWITCH)
        if self.template is None:
            _check_template(task)
        chosen = self._chosen_instruction()
        return Prompt(
            self.template or (_channel_template(task) if channel else task.spec.template),
            demos=self._build_demos(task),
            order=None if self.order is None else build("order", ORDERS, self.order, seed=self.seed),
            instruction=self.instruction if chosen is None else chosen.text,
            fitted_on=frozenset() if chosen is None else chosen.fitted_on,
            chat=self.chat,
            thinking=None if self.thinking is None else SWITCH[self.thinking],
            chat_template=self.chat_template,
            cot=cot,
            channel=channel,
            on_too_long=self._too_long(),
        )

    def _chosen_instruction(self) -> ChosenInstruction | None:
        """The instruction of a file; None if it is a text, or not given."""
        from promptkit.manipulate.instruction_file import ChosenInstruction

        if self.instruction is None or not self.instruction.startswith(FILE):
            return None
        return ChosenInstruction.load(expanded(self.instruction.removeprefix(FILE)))

    def _build_demos(self, task: Task) -> Selector | Sequence[LabeledExample]:
        """The selector, or the demonstrations of a file: the first `shots`, or all."""
        from promptkit.core.registry import build
        from promptkit.manipulate.demos import SELECTORS
        from promptkit.manipulate.prompting.checks import check_pool_size
        from promptkit.tasks.readers import read_file

        spelling = self.demos or ("balanced" if task.spec.kind == "classification" else "random")
        if not spelling.startswith(FILE):
            shots = self.num_shots
            selectors = [build("demonstration selector", SELECTORS, spelling, k=k, seed=self.seed) for k in range(shots, 0, -1)]
            if self.shots is not None or not selectors:
                return build("demonstration selector", SELECTORS, spelling, k=shots, seed=self.seed)
            return self._fitting(selectors, task)
        file = spelling.removeprefix(FILE)
        rows = task.labeled(read_file(expanded(file)), file)
        if self.shots is None or "shots" not in self.model_fields_set:
            return rows
        check_pool_size(self.shots, rows)
        return rows[: self.shots]

    def _fitting(self, selectors: Sequence[Selector], task: Task) -> Selector:
        """Returns the selector with the most demonstrations for which there are enough rows; the first one without any."""
        first = selectors[0]
        pools = [fold.task.pool() for fold in self.evaluated_folds(task, parts=("pool", *first.parts))]
        fitting = next((each for each in selectors if all(each.has_enough(pool, task.labels) for pool in pools)), first)
        if fitting is not first:
            _note_fewer_shots(task.name, fitting.k, first.k)
        return fitting

    def evaluated_folds(self, task: Task, *, parts: tuple[Part, ...]) -> Sequence[EvaluatedRows]:
        """Returns the rows that are shown with the demonstrations.

        Args:
            task: The task.
            parts: The parts that demonstrations need.
        """
        from promptkit.tasks.single_table import evaluated_rows

        return evaluated_rows(task, task.spec.split, parts=parts)

    def _too_long(self) -> TooLong:
        from promptkit.core.rendered import TooLong

        if self.on_too_long not in get_args(TooLong):
            raise unknown("choice of on_too_long", self.on_too_long, get_args(TooLong))
        return cast("TooLong", self.on_too_long)


@cache
def _note_fewer_shots(task: str, shots: int | None, default: int | None) -> None:
    """Says, once, that a prompt has fewer demonstrations than the default."""
    _log.warning(
        "note: %s has too few labeled rows of each label for %s demonstrations; the prompt shows %s (%s sets it)",
        task,
        default,
        shots,
        setting("shots", "N"),
    )


def _check_template(task: Task) -> None:
    """Raises TemplateError, with the key in the task file, if the template that the file names does not exist or is invalid."""
    from promptkit.inputs.text.template import Template

    with errors_at(task.file, "template"):
        Template.load(task.spec.template)


def _channel_template(task: Task) -> str:
    """The name of the channel variant of the task's template, with the target block before the input block."""
    from promptkit.core.paths import names

    template = f"{task.spec.template}_channel"
    if template not in names("templates", ".j2"):
        raise TemplateError(
            f"The task {task.name} has no channel template, which has its target block before its input block",
            code="no-channel-template",
            hint=f"Write one, such as templates/sentiment/review_channel.j2, and give it with {setting('template')}",
            task=task.name,
            template=template,
        )
    return template
