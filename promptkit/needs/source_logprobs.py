"""Log-probabilities of source classes, read for every row.

The source classes of an image classifier are its classes. The source classes of a language model are the likeliest tokens at
the answer slot. All rows share one set of tokens: the ones with the highest mean probability over labeled rows. The model is
queried for this set while reads are planned, and later for the log-probabilities of the tokens for every row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from typing import TYPE_CHECKING, ClassVar, Self, cast

from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample
from promptkit.core.inputs import Modality
from promptkit.core.manipulation import Ask
from promptkit.core.model import image_card, text_card
from promptkit.core.need_context import Counts, NeedContext, Problem, Reads, RowRead
from promptkit.core.needs import Need, RowNeed, Stored
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Classify, Read, ReadOutput
from promptkit.core.state import stateful
from promptkit.needs.fixed_sources import CLASSES, FixedClasses, FixedTokens, distinct_names
from promptkit.needs.labeled_rows import LabeledRows

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

TENSOR = "tokens"
"""The name of the tensor of log-probabilities of tokens."""
TOKENS = 500
"""The default number of tokens of a language model."""


@stateful("source-logprobs")
@dataclass(frozen=True, slots=True)
class SourceLogprobs(RowNeed[tuple[str, ...]]):
    """Log-probabilities of source classes for every row, shape (rows, S). Its value is the names of the source classes."""

    size: int
    """Number of tokens of a language model. Only this many of a row's likeliest tokens count in the mean."""
    rows: LabeledRows
    """The labeled rows over which the likeliest tokens of a language model are found."""
    per_label: int = field(default=0, compare=False)
    """The minimum number of source classes per label."""

    kind: ClassVar[str] = "source log-probabilities"
    at_answer_slot: ClassVar[bool] = True

    @property
    def requires(self) -> tuple[Need[object], ...]:
        """The labeled rows."""
        return (self.rows,)

    @property
    def uses_fit_part(self) -> bool:
        """Whether it uses rows of the fit part: always."""
        return True

    def asks_by_fit_part(self, modality: Modality) -> bool:
        """True for a language model, whose tokens are chosen by the labeled rows."""
        return modality == "text"

    def check(self, counts: Counts, aligner: str) -> None:
        """Refuses too few source classes for the labels, and a number of tokens for an image classifier."""
        if counts.classes is not None:
            check_no_tokens(aligner, self.size)
        needed = self.per_label * counts.labels
        if counts.classes is not None and counts.classes < needed:
            raise _too_few_classes(aligner, counts, needed)
        if counts.classes is None and self.size < needed:
            raise InputError(
                f"The calibration {aligner} needs at least {needed} tokens, {self.per_label} for each label",
                code="too-few-tokens",
                got=f"tokens={self.size} for {counts.labels} labels",
                hint=f"Set tokens={needed}, or preferably many more",
                calibration=aligner,
                given=self.size,
                needed=needed,
            )

    @classmethod
    def reads(cls, needs: Sequence[Self], need_context: NeedContext) -> Reads:
        """Reads all classes of an image classifier, or finds the tokens of each need and reads all of them in one request."""
        if need_context.ask.card.modality == "image":
            names = distinct_names(image_card(need_context.ask.card).class_names)
            row = RowRead(tensor=CLASSES, verb=Classify(), field="logprobs", width=len(names))
            return Reads(metadata={CLASSES: names}, rows=[row])
        prompts = [[row.rendered for row in need.rows.prompted(need_context)] for need in needs]
        found = [_likeliest_tokens(need_context.ask, need.size, each) for need, each in zip(needs, prompts, strict=True)]
        token_ids = tuple(sorted({token for tokens in found for token in tokens}))
        positions = {token: position for position, token in enumerate(token_ids)}
        sets = [
            [need.size, need.rows.per_class, need.rows.seed, [positions[token] for token in tokens]]
            for need, tokens in zip(needs, found, strict=True)
        ]
        return Reads(
            metadata={"token_ids": [*token_ids], "names": _token_names(need_context.ask, token_ids), "sets": sets},
            rows=[RowRead(tensor=TENSOR, verb=Read(token_ids=token_ids), field="logprobs", width=len(token_ids))],
        )

    def load(self, stored: Stored) -> tuple[str, ...]:
        """Returns the names of the source classes."""
        return self.names(stored.metadata)

    def load_rows(self, stored: Stored, records: Sequence[str]) -> Floats:
        """Returns the log-probabilities of the source classes for rows."""
        positions = stored.positions(records)
        if CLASSES in stored.metadata:
            return stored.tensor(CLASSES)[positions].astype(float)
        return stored.tensor(TENSOR)[positions][:, self._positions(stored.metadata)].astype(float)

    def missing(self, stored: Stored) -> Problem | None:
        """Returns a problem if the run has not read the classes, or has found other tokens."""
        if CLASSES in stored.metadata or self._key() in _sets(stored.metadata):
            return None
        rows = self.rows.per_class
        return Problem(
            code="missing-tokens",
            text=f"log-probabilities of the {self.size} likeliest tokens over {rows} labeled rows of each label",
            fields={"tokens": self.size, "per_class": rows},
        )

    def fixed(self, stored: Stored, fit: Sequence[LabeledExample]) -> FixedTokens | FixedClasses:
        """Returns the need for the same source classes, which are then not chosen again."""
        names = self.names(stored.metadata)
        if CLASSES in stored.metadata:
            return FixedClasses(names)
        token_ids = cast("Sequence[int]", stored.metadata["token_ids"])
        return FixedTokens(tuple(token_ids[position] for position in self._positions(stored.metadata)), names)

    def names(self, metadata: Mapping[str, object]) -> tuple[str, ...]:
        """Returns the names of the source classes from the metadata of reads."""
        if CLASSES in metadata:
            return tuple(cast("Sequence[str]", metadata[CLASSES]))
        names = cast("Sequence[str]", metadata["names"])
        return tuple(names[position] for position in self._positions(metadata))

    def _positions(self, metadata: Mapping[str, object]) -> Sequence[int]:
        return _sets(metadata)[self._key()]

    def _key(self) -> tuple[int, int, int]:
        return self.size, self.rows.per_class, self.rows.seed


def stored_classes(stored: Stored) -> int | None:
    """Returns the number of classes that a run has read; None if it has read no classes of an image classifier."""
    names = cast("Sequence[str] | None", stored.metadata.get(CLASSES))
    return None if names is None else len(names)


def check_no_tokens(aligner: str, tokens: int) -> None:
    """Raises InputError if a number of tokens is set for an image classifier."""
    if tokens != TOKENS:
        raise InputError(
            f"The keyword tokens of {aligner} is for language models: of an image classifier all classes are used",
            code="option-not-applicable",
            got=f"tokens={tokens}",
            hint="Leave it out",
            option="tokens",
            aligner=aligner,
            value=tokens,
        )


def _too_few_classes(aligner: str, counts: Counts, needed: int) -> InputError:
    return InputError(
        f"The calibration {aligner} needs at least {needed} classes of the model",
        code="too-few-source-classes",
        got=f"{counts.classes} classes for {counts.labels} labels",
        hint="Use a model with more classes, or a smaller per_label",
        labels=counts.labels,
        needed=needed,
        given=counts.classes,
    )


def _sets(metadata: Mapping[str, object]) -> dict[tuple[int, int, int], Sequence[int]]:
    """Size, rows per class and seed of each set of tokens -> positions of its tokens among all tokens."""
    sets = cast("Sequence[tuple[int, int, int, Sequence[int]]]", metadata.get("sets", ()))
    return {(size, per_class, seed): positions for size, per_class, seed, positions in sets}


def _likeliest_tokens(ask: Ask, most: int, rows: Sequence[Rendered]) -> list[int]:
    """The tokens of greatest mean probability, where only a row's `most` likeliest tokens have a probability above 0."""
    sums: dict[int, float] = {}
    for output in ask([row.request(Read(top_m=most)) for row in rows]):
        assert isinstance(output, ReadOutput)
        for token, logprob in output.top:
            sums[token] = sums.get(token, 0.0) + exp(logprob)
    return sorted(sums, key=lambda token: (-sums[token], token))[:most]


def _token_names(ask: Ask, ids: Sequence[int]) -> list[str]:
    """The text of each token, or its spelling in the vocabulary if several tokens have the same text."""
    tokenizer = text_card(ask.card).tokenizer
    texts = [tokenizer.decode([token]) for token in ids]
    counts = Counter(texts)
    return [text if counts[text] == 1 else tokenizer.name(token) for text, token in zip(texts, ids, strict=True)]
