"""The view that selectors, orders and chains of thought have of a task: its rows, and a model to query with prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

from promptkit.core.errors import Unsupported, needs_single_label, no_answer
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.inputs import TextInput
from promptkit.core.manipulation import Ask, BindContext
from promptkit.core.model import text_card
from promptkit.core.output_reader import OutputReader
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Generate, GenerateOutput, Output, Prepared, Request, Verb
from promptkit.inputs.text.encoding import encode
from promptkit.manipulate.prompting.layout import PromptLayout
from promptkit.manipulate.prompting.rows import Demonstrations

MIN_SHARED = 8
"""Number of rows with the same demonstrations from which they form a round of their own, so that the model reads those once."""

Context = tuple[Example, Demonstrations]
"""A row and the demonstrations that precede it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionContext:
    """One task, one model, and the layout of the prompt that shows the demonstrations."""

    bind_context: BindContext
    """The task's rows, the model and the output reader."""
    layout: PromptLayout
    """Encodes a row with demonstrations, and drops those that do not fit the context."""

    @property
    def pool(self) -> Sequence[LabeledExample]:
        """The rows that demonstrations are selected from."""
        return self.bind_context.rows.get("pool", ())

    @property
    def dev(self) -> Sequence[LabeledExample]:
        """The rows that a search evaluates on."""
        return self.bind_context.rows.get("dev", ())

    @property
    def reader(self) -> OutputReader:
        """Reads the model's output."""
        return self.bind_context.reader

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the declared order; empty if each row has its own answers."""
        return tuple(self.reader.label_words())

    @property
    def ask(self) -> Ask:
        """The model that reads the prompt."""
        return self.bind_context.ask

    @property
    def other_models(self) -> Mapping[str, Ask]:
        """The other models that the selector names, by name."""
        return self.bind_context.other_models

    def scores(self, contexts: Sequence[Context], purpose: str) -> list[tuple[float, ...]]:
        """Scores the candidate answers of each row.

        Args:
            contexts: Rows and their demonstrations.
            purpose: The feature that needs the scores, for the error message.

        Returns:
            For each context, the unnormalized log-probability of each candidate answer of its row.

        Raises:
            Unsupported: The model generates the answers of this task.
            ModelError: A reply of the model names no candidate.
        """
        scored = []
        for scores in self._scores(contexts, purpose):
            if scores is None:
                raise no_answer(purpose)
            scored.append(scores)
        return scored

    def _scores(self, contexts: Sequence[Context], purpose: str) -> list[tuple[float, ...] | None]:
        """Returns the scores of each row's candidate answers, or None for a reply that names none of them."""
        if self.reader.task_kind == "multi-label":
            raise needs_single_label(purpose)
        if not self.reader.has_scores:
            raise Unsupported(
                f"{purpose} needs scored answers, but in this task the model generates them",
                code="needs-scored-answers",
                hint="Use a task with labels or choices, or a method that needs no scores",
                purpose=purpose,
            )
        return [self.reader.scores(rendered, output) for _, rendered, output in self._outputs(contexts)]

    def answers(self, contexts: Sequence[Context], *, suffix: Sequence[str] | None = None) -> list[str | None]:
        """Predicts the answer of each row, as a run does.

        Args:
            contexts: Rows and their demonstrations.
            suffix: For each context, a reasoning between the query and the answer.

        Returns:
            For each context, the predicted answer, or None if a reply or a generated text contains none.
        """
        return [
            self.reader.prediction(example, rendered, output) for example, rendered, output in self._outputs(contexts, suffix)
        ]

    def _outputs(
        self, contexts: Sequence[Context], suffix: Sequence[str] | None = None
    ) -> list[tuple[Example, Rendered, Output]]:
        """Returns each row with its prompt and the model's answer."""
        examples, prompts = [example for example, _ in contexts], self._render(contexts, suffix)
        requests = [
            self.request(rendered.text, self.reader.request(example, rendered))
            for example, rendered in zip(examples, prompts, strict=True)
        ]
        return [*zip(examples, prompts, self._query(contexts, requests), strict=True)]

    def texts(
        self, contexts: Sequence[Context], suffix: Sequence[str], *, max_tokens: int, stop: tuple[str, ...] = ()
    ) -> list[str]:
        """Generates a text greedily for each context.

        Args:
            contexts: Rows and their demonstrations.
            suffix: For each context, the text after the query that the model continues.
            max_tokens: Maximum number of tokens of a text.
            stop: Stop strings, in addition to the start of a next example.

        Returns:
            The generated text of each context, without thoughts; empty if a thought is not closed.
        """
        tokenizer = text_card(self.ask.card).tokenizer
        prompts = self._render(contexts, suffix)
        requests = []
        for (example, _), rendered in zip(contexts, prompts, strict=True):
            verb = Generate(max_tokens=max_tokens, stop=(*stop, *self.layout.next_example_stop(example)))
            requests.append(self.request(encode(rendered.pieces, tokenizer), verb))
        outputs = zip(prompts, self._query(contexts, requests), strict=True)
        return [rendered.answer_text(_text(output)) or "" for rendered, output in outputs]

    def request(self, prompt: TextInput, verb: Verb) -> Request:
        """Returns the request for a prompt, with the modifiers that apply to the prompts of rows."""
        return self.bind_context.transform(Prepared(input=prompt)).request(verb)

    def _render(self, contexts: Sequence[Context], suffix: Sequence[str] | None) -> list[Rendered]:
        pairs = zip(contexts, repeat("") if suffix is None else suffix, strict=suffix is not None)
        return [self.layout(example, demonstrations, suffix=text) for (example, demonstrations), text in pairs]

    def _query(self, contexts: Sequence[Context], requests: Sequence[Request]) -> list[Output]:
        """Queries the model in one round per context that many rows share, and one for all other rows."""
        sharing: dict[tuple[str, ...], list[int]] = {}
        for index, (_, demonstrations) in enumerate(contexts):
            sharing.setdefault(tuple(row.id for row in demonstrations), []).append(index)
        rounds = [indices for indices in sharing.values() if len(indices) >= MIN_SHARED]
        rounds.append(sorted(index for indices in sharing.values() if len(indices) < MIN_SHARED for index in indices))
        outputs: dict[int, Output] = {}
        for indices in rounds:
            outputs.update(zip(indices, self.ask([requests[index] for index in indices]), strict=True))
        return [outputs[index] for index in range(len(requests))]


def _text(output: Output) -> str:
    assert isinstance(output, GenerateOutput)
    return output.generations[0].text
