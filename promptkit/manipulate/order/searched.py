"""Orders found by asking the model how undecided it is behind each of some permutations of the demonstrations.

GlobalE and LocalE (Lu et al. 2021, 2104.08786) order a set that all rows share, without labels: the model itself writes
rows behind permuted demonstrations, g_m ~ P(. | c_m), and their inputs are the probing set. Behind a good order

    GlobalE(m) = H of the histogram of the labels predicted for the probing set under order m
    LocalE(m)  = mean over the probing set of H(p(. | x_i, c_m))

is high: the model neither answers always the same nor is always sure. The best permutation is shown; the paper reports the
mean accuracy of the best 4 of 24, which is no order that one could show. MDL (Wu et al. 2022, 2212.10375) orders each row's
demonstrations by themselves: the permutation behind which the model is least undecided about the row.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from statistics import fmean
from typing import ClassVar

from promptkit.core.errors import InputError, ModelError, TaskError, TemplateError
from promptkit.core.examples import Example
from promptkit.core.registry import checked
from promptkit.core.requests import Generate, GenerateOutput, Request
from promptkit.core.seeding import hash_rank
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.entropy import DECIMALS, entropy, label_entropy, least_undecided
from promptkit.manipulate.prompting.rows import Arrange, Demonstrations, inputs_key, shuffle_by_hash

READABLE = 1 / 3
"""The share of the texts that must be rows of the task for them to be a probing set."""


def orders_of(rows: Demonstrations, most: int, seed: int) -> list[Demonstrations]:
    """Different orders of a set, at most so many: those that `shuffled` shows by this seed and the next ones."""
    found: dict[tuple[str, ...], Demonstrations] = {}
    for number in count(seed):
        if len(found) == min(most, math.factorial(len(rows))):
            return [*found.values()]
        order = shuffle_by_hash(number, rows)
        found.setdefault(tuple(row.id for row in order), order)
    raise AssertionError("count ends")


@dataclass(frozen=True)
class _Probing:
    """An order of the demonstrations that all rows share, by the entropy of answers to rows that the model writes."""

    seed: int = 0
    permutations: int = 24
    """The most orders that are tried."""
    probes: int = 24
    """About how many rows the model writes, as many behind each order."""
    max_tokens: int = 64
    """The most tokens of each."""
    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to choose."""
        checked(self)
        if min(self.permutations, self.probes, self.max_tokens) < 1:
            raise InputError(
                f"The permutations, probes and max_tokens of {self.name} must each be at least 1",
                code="out-of-range",
                got=f"permutations={self.permutations}, probes={self.probes}, max_tokens={self.max_tokens}",
                order=self.name,
                permutations=self.permutations,
                probes=self.probes,
                max_tokens=self.max_tokens,
            )

    def bind(self, context: SelectionContext) -> Arrange:
        """The best order of the set; raises if rows have sets of their own, or where labels are not the same for every row."""
        if not context.labels:
            raise TaskError(
                f"The order {self.name} needs a task whose labels are the same for every row",
                code="no-fixed-labels",
                hint="Use another order, such as shuffled",
                order=self.name,
            )
        pool = {*map(inputs_key, context.pool)}
        best: dict[tuple[str, ...], Demonstrations] = {}
        shared: set[tuple[str, ...]] = set()

        def arrange(examples: Sequence[Example], chosen: Sequence[Demonstrations]) -> list[Demonstrations]:
            sets = [tuple(sorted(row.id for row in rows)) for rows in chosen]
            shared.update(key for key, row in zip(sets, examples, strict=True) if inputs_key(row) not in pool)
            if len(shared) > 1:  # a row of the pool has a set without itself
                raise InputError(
                    f"The order {self.name} needs demonstrations that all rows share, but here they differ between rows",
                    code="demonstrations-differ",
                    hint="Use --order least-entropy, which orders them for each row, or shared demonstrations, such as balanced",
                    order=self.name,
                )
            fresh = {key: rows for key, rows in zip(sets, chosen, strict=True) if key not in best}
            best.update({key: self._best(context, rows) for key, rows in fresh.items()})
            return [best[key] for key in sets]

        return arrange

    def undecided(self, scores: Sequence[Sequence[float]]) -> float:
        """The entropy of the model behind one order, from the label log-probabilities of each row of the probing set."""
        raise NotImplementedError

    def _best(self, context: SelectionContext, rows: Demonstrations) -> Demonstrations:
        orders = orders_of(rows, self.permutations, self.seed)
        if len(orders) == 1:
            return orders[0]
        probing = self._probing(context, orders)
        scores = context.scores([(row, order) for order in orders for row in probing], self.name)
        size = len(probing)
        found = [round(self.undecided(scores[i : i + size]), DECIMALS) for i in range(0, len(scores), size)]
        return orders[found.index(max(found))]

    def _probing(self, context: SelectionContext, orders: Sequence[Demonstrations]) -> list[Example]:
        """The rows that the model writes: texts behind each order that can be read by the template's input block."""
        outline = context.layout.outline(orders[0][0].inputs)
        hidden = sorted(context.layout.template.variables & orders[0][0].inputs.keys() - {*outline.variables})
        if hidden:
            raise TemplateError(
                f"The order {self.name} parses generated rows with the template's input block, which does not show "
                f"{', '.join(hidden)} unchanged",
                code="variable-not-shown",
                hint="Use another order, such as shuffled, or a template that shows its variables unchanged",
                order=self.name,
                variables=tuple(hidden),
                template=context.layout.template.name,
            )
        outputs = context.ask([self._writing(context, order, number) for number, order in enumerate(orders)])
        texts = [text.text for output in outputs if isinstance(output, GenerateOutput) for text in output.generations]
        read = [inputs for text in texts if (inputs := outline.read(outline.opening + text)) is not None]
        if len(read) < READABLE * len(texts):
            raise ModelError(
                f"The order {self.name} needs rows generated by the model, but only {len(read)} of {len(texts)} generated "
                "texts could be parsed as rows",
                code="too-few-generated-rows",
                got=repr(outline.opening + texts[0])[:200],
                hint="Use more demonstrations, a larger max_tokens, or another order, such as shuffled",
                order=self.name,
                rows=len(read),
                texts=len(texts),
                text=(outline.opening + texts[0])[:200],
            )
        return [Example(id=f"probe {number}", inputs=inputs) for number, inputs in enumerate(read)]

    def _writing(self, context: SelectionContext, order: Demonstrations, number: int) -> Request:
        """The request for further rows behind an order; in plain text also where the prompt itself is a chat."""
        plain = replace(context.layout, chat=False)
        blank = Example(id="probe", inputs=dict.fromkeys(order[0].inputs, "?"))
        shown = plain(blank, order, drop=plain.count_dropped(blank, order, self.max_tokens))
        whole = ",".join(sorted(row.id for row in order))
        verb = Generate(
            max_tokens=self.max_tokens,
            n=-(-self.probes // min(self.permutations, math.factorial(len(order)))),
            stop=tuple(filter(None, shown.stop)),
            temperature=1.0,
            seed=int.from_bytes(hash_rank(self.seed, "probe", whole, str(number))[:6]),
        )
        return context.request(plain.opening(blank, order[len(shown.dropped) :]), verb)


@dataclass(frozen=True)
class globale(_Probing):  # noqa: N801
    """Behind which the predicted labels are most even."""

    name: ClassVar[str] = "globale"

    def undecided(self, scores: Sequence[Sequence[float]]) -> float:
        """Of the histogram of predicted labels."""
        return entropy([*Counter(each.index(max(each)) for each in scores).values()])


@dataclass(frozen=True)
class locale(_Probing):  # noqa: N801
    """Behind which the model is least sure of its labels."""

    name: ClassVar[str] = "locale"

    def undecided(self, scores: Sequence[Sequence[float]]) -> float:
        """Of the label probabilities, on average."""
        return fmean(map(label_entropy, scores))


@dataclass(frozen=True)
class least_entropy:  # noqa: N801
    """For each row, the order behind which the model is least undecided about it."""

    seed: int = 0
    permutations: int = 24
    """The most orders that are tried for a row."""
    name: ClassVar[str] = "least-entropy"

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to choose."""
        checked(self)
        if self.permutations < 1:
            raise InputError(
                "The permutations of least-entropy must be at least 1",
                code="out-of-range",
                got=f"permutations={self.permutations}",
                order=self.name,
                permutations=self.permutations,
            )

    def bind(self, context: SelectionContext) -> Arrange:
        """The order for each row by its own answers."""

        def arrange(examples: Sequence[Example], chosen: Sequence[Demonstrations]) -> list[Demonstrations]:
            pairs = zip(examples, chosen, strict=True)
            return least_undecided(
                context, [(row, orders_of(own, self.permutations, self.seed)) for row, own in pairs], self.name
            )

        return arrange
