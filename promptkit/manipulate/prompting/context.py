"""What selectors, orders and chains of thought work with: the rows that they may see, and the model, asked behind a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

from promptkit.core.alignment import Extractor, OutputReader, Scorer
from promptkit.core.errors import Unsupported
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.inputs import TextInput
from promptkit.core.manipulation import Ask, BindContext
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Generate, GenerateOutput, Output, Request, Score, ScoreOutput, Verb
from promptkit.inputs.text.encoding import counted, encode
from promptkit.manipulate.prompting.layout import PromptLayout
from promptkit.manipulate.prompting.rows import Demonstrations

SHARED = 8
"""Rows behind the same demonstrations that are worth a round of their own, so that the model reads these once."""

Context = tuple[Example, Demonstrations]
"""A row, and the demonstrations that it is read behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionContext:
    """One task, one model, and the prompt that demonstrations will stand in."""

    bind_context: BindContext
    show: PromptLayout
    """What the model reads for a row behind certain demonstrations."""

    @property
    def pool(self) -> Sequence[LabeledExample]:
        """The rows that demonstrations come from."""
        return self.bind_context.rows.get("pool", ())

    @property
    def dev(self) -> Sequence[LabeledExample]:
        """The rows that a search may choose by."""
        return self.bind_context.rows.get("dev", ())

    @property
    def reading(self) -> OutputReader:
        """How the model's output will be read."""
        return self.bind_context.reading

    @property
    def labels(self) -> tuple[str, ...]:
        """In the declared order; none where each row has answers of its own."""
        return tuple(self.reading.label_words())

    @property
    def ask(self) -> Ask:
        """The model that will read the prompt."""
        return self.bind_context.ask

    @property
    def others(self) -> Mapping[str, Ask]:
        """The other models that were named."""
        return self.bind_context.other_models

    def scores(
        self, contexts: Sequence[Context], purpose: str, *, suffix: Sequence[str] | None = None
    ) -> list[tuple[float, ...]]:
        """Log-probability, unnormalized, of each candidate answer of a row, for each context.

        Raises Unsupported, naming the `purpose`, where the model's answers are texts.
        """
        reading = self.reading
        if not isinstance(reading, Scorer):
            raise Unsupported(
                f"{purpose} needs scored answers, but in this task the model generates them",
                code="needs-scored-answers",
                hint="Use a task with labels or choices, or a method that needs no scores",
                purpose=purpose,
            )
        shown = self._shown(contexts, suffix)
        requests = [self.request(each.input, Score(continuations=each.continuations)) for each in shown]
        scored = []
        for each, output in zip(shown, self._asked(contexts, requests), strict=True):
            assert isinstance(output, ScoreOutput)
            scored.append(reading.align(counted(each, output)))
        return scored

    def answers(self, contexts: Sequence[Context], *, suffix: Sequence[str] | None = None) -> list[str | None]:
        """What the run would take for the answer of a row, for each context; None where a text holds none."""
        reading = self.reading
        if isinstance(reading, Scorer):
            scored = self.scores(contexts, "An answer", suffix=suffix)
            pairs = zip(contexts, scored, strict=True)
            return [reading.candidates(example)[scores.index(max(scores))] for (example, _), scores in pairs]
        assert isinstance(reading, Extractor)
        shown = self._shown(contexts, suffix)
        rows = [(example, each) for (example, _), each in zip(contexts, shown, strict=True)]
        requests = [self.request(each.input, reading.verb(example, each.stop)) for example, each in rows]
        return [reading.answer(_text(output)) for output in self._asked(contexts, requests)]

    def texts(
        self, contexts: Sequence[Context], suffix: Sequence[str], *, max_tokens: int, stop: tuple[str, ...] = ()
    ) -> list[str]:
        """What the model writes, greedily, behind each context's prompt and what stands `behind` it.

        It ends at `stop`, or before a further example.
        """
        tokenizer = self.ask.card.tokenizer
        requests = []
        for (example, _), shown in zip(contexts, self._shown(contexts, suffix), strict=True):
            verb = Generate(max_tokens=max_tokens, stop=(*stop, *self.show.another(example)))
            requests.append(self.request(encode(shown.pieces, tokenizer), verb))
        return [*map(_text, self._asked(contexts, requests))]

    def request(self, prompt: TextInput, verb: Verb) -> Request:
        """What the model is asked behind a prompt, which it reads as the prompt of a row: with the changes of it."""
        return Request(input=self.bind_context.transform(prompt), verb=verb)

    def _shown(self, contexts: Sequence[Context], suffix: Sequence[str] | None) -> list[Rendered]:
        pairs = zip(contexts, repeat("") if suffix is None else suffix, strict=suffix is not None)
        return [self.show(example, demonstrations, suffix=text) for (example, demonstrations), text in pairs]

    def _asked(self, contexts: Sequence[Context], requests: Sequence[Request]) -> list[Output]:
        """The answers, a round for each context that many rows share, and one for all the others."""
        sharing: dict[tuple[str, ...], list[int]] = {}
        for index, (_, demonstrations) in enumerate(contexts):
            sharing.setdefault(tuple(row.id for row in demonstrations), []).append(index)
        rounds = [each for each in sharing.values() if len(each) >= SHARED]
        rounds.append(sorted(index for each in sharing.values() if len(each) < SHARED for index in each))
        outputs: dict[int, Output] = {}
        for indices in rounds:
            outputs.update(zip(indices, self.ask([requests[index] for index in indices]), strict=True))
        return [outputs[index] for index in range(len(requests))]


def _text(output: Output) -> str:
    assert isinstance(output, GenerateOutput)
    return output.generations[0].text
