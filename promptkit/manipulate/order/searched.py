"""Orders that are chosen by the entropy of the model's predictions under permutations of the demonstrations.

GlobalE and LocalE (Lu et al. 2021, arXiv 2104.08786) order one set of demonstrations for all rows, without labels. The model
generates rows after permuted demonstrations, g_m ~ P(. | c_m), whose inputs form the probing set. The order m is chosen that
maximizes

    GlobalE(m) = H of the histogram of the labels predicted for the probing set under order m, or
    LocalE(m)  = mean over the probing set of H(p(. | x_i, c_m)):

under a good order the model neither predicts one label only nor is always certain. The paper reports the mean accuracy of the
best 4 of 24 permutations; here the best one is shown. MDL (Wu et al. 2022, arXiv 2212.10375) chooses an order for each row: the
permutation with the lowest entropy of the prediction for that row.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from statistics import fmean
from typing import Any, ClassVar

from promptkit.core.arguments import checked
from promptkit.core.caller import setting
from promptkit.core.errors import InputError, ModelError, TemplateError
from promptkit.core.examples import Example
from promptkit.core.requests import Generate, GenerateOutput, Request
from promptkit.core.seeding import hash_rank
from promptkit.manipulate.order.order import Order
from promptkit.manipulate.prompting.checks import check_has_labels
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.entropy import DECIMALS, entropy, label_entropy, lowest_entropy
from promptkit.manipulate.prompting.outline import Outline
from promptkit.manipulate.prompting.rows import Arrange, Demonstrations, inputs_key, shuffle_by_hash

READABLE = 1 / 3
"""Minimum share of generated texts that must parse as rows of the task."""
SetKey = tuple[str, ...]
"""The sorted ids of a set of demonstrations."""


def permutations_of(rows: Demonstrations, limit: int, seed: int) -> list[Demonstrations]:
    """Returns distinct permutations of a set of demonstrations.

    Args:
        rows: The set; its order does not matter.
        limit: Maximum number of permutations.
        seed: The permutations are those of `shuffled` with this seed and the following ones.
    """
    permutations: dict[SetKey, Demonstrations] = {}
    seeds = count(seed)
    while len(permutations) < min(limit, math.factorial(len(rows))):
        permutation = shuffle_by_hash(next(seeds), rows)
        permutations.setdefault(tuple(row.id for row in permutation), permutation)
    return [*permutations.values()]


@dataclass(frozen=True)
class ProbedOrder(Order):
    """Base class of orders that maximize an entropy over rows that the model generates."""

    seed: int = 0
    """Seed of the permutations and of the generated rows."""
    permutations: int = 24
    """Maximum number of permutations."""
    probes: int = 24
    """Approximate number of generated rows, divided equally among the permutations."""
    max_tokens: int = 64
    """Maximum number of tokens of a generated row."""
    depends_on_row: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Validates the keywords."""
        checked(self)
        _check_positive(self, permutations=self.permutations, probes=self.probes, max_tokens=self.max_tokens)

    @abstractmethod
    def criterion(self, scores: Sequence[Sequence[float]]) -> float:
        """Returns the entropy under one order, from the label log-probabilities of each probing row."""

    def bind(self, context: SelectionContext) -> Arrange:
        """Returns the best order of the set that all rows share.

        Raises:
            TaskError: The task declares no labels.
            InputError: The demonstrations differ between rows (raised by the returned function).
            ModelError: The model generates too few rows of the task (raised by the returned function).
        """
        check_has_labels(context, f"The order {self.name} needs", hint="Use another order, such as shuffled", order=self.name)
        pool = {*map(inputs_key, context.pool)}
        best: dict[SetKey, Demonstrations] = {}
        shared: set[SetKey] = set()

        def arrange(examples: Sequence[Example], chosen: Sequence[Demonstrations]) -> list[Demonstrations]:
            keys = [tuple(sorted(row.id for row in rows)) for rows in chosen]
            # the demonstrations of a pool row differ, because they exclude the row itself
            shared.update(key for key, row in zip(keys, examples, strict=True) if inputs_key(row) not in pool)
            self._check_shared(len(shared))
            for key, rows in zip(keys, chosen, strict=True):
                if key not in best:
                    best[key] = self._best(context, rows)
            return [best[key] for key in keys]

        return arrange

    def _check_shared(self, sets: int) -> None:
        if sets > 1:
            raise InputError(
                f"The order {self.name} needs demonstrations that all rows share, but here they differ between rows",
                code="demonstrations-differ",
                hint=f"Use {setting('order', 'least-entropy')}, which orders each row's demonstrations, or shared "
                f"ones, such as balanced",
                order=self.name,
            )

    def _best(self, context: SelectionContext, rows: Demonstrations) -> Demonstrations:
        orders = permutations_of(rows, self.permutations, self.seed)
        if len(orders) == 1:
            return orders[0]
        probes = self._probing_set(context, orders)
        scores = context.scores([(probe, order) for order in orders for probe in probes], self.name)
        size = len(probes)
        values = [round(self.criterion(scores[i : i + size]), DECIMALS) for i in range(0, len(scores), size)]
        return orders[values.index(max(values))]

    def _probing_set(self, context: SelectionContext, orders: Sequence[Demonstrations]) -> list[Example]:
        """Generates rows after each order and parses them with the template's input block."""
        variables = orders[0][0].inputs.keys()
        outline = context.layout.outline(variables)
        self._check_variables_are_shown(context, outline, {*variables})
        outputs = context.ask([self._generation(context, order, number) for number, order in enumerate(orders)])
        texts = [
            outline.opening + generation.text
            for output in outputs
            if isinstance(output, GenerateOutput)
            for generation in output.generations
        ]
        parsed = [inputs for text in texts if (inputs := outline.read(text)) is not None]
        if len(parsed) < READABLE * len(texts):
            raise ModelError(
                f"The order {self.name} needs rows generated by the model, but only {len(parsed)} of {len(texts)} generated "
                "texts could be parsed as rows",
                code="too-few-generated-rows",
                got=repr(texts[0])[:200],
                hint="Use more demonstrations, a larger max_tokens, or another order, such as shuffled",
                order=self.name,
                rows=len(parsed),
                texts=len(texts),
                text=texts[0][:200],
            )
        return [Example(id=f"probe {number}", inputs=inputs) for number, inputs in enumerate(parsed)]

    def _check_variables_are_shown(self, context: SelectionContext, outline: Outline, variables: set[str]) -> None:
        template = context.layout.template
        hidden = sorted(template.variables & variables - {*outline.variables})
        if hidden:
            raise TemplateError(
                f"The order {self.name} parses generated rows with the template's input block, which does not show "
                f"{', '.join(hidden)} unchanged",
                code="variable-not-shown",
                hint="Use another order, such as shuffled, or a template that shows its variables unchanged",
                order=self.name,
                variables=tuple(hidden),
                template=template.name,
            )

    def _generation(self, context: SelectionContext, order: Demonstrations, number: int) -> Request:
        """Returns the request that continues the demonstrations with new rows, in plain text even if the prompt is a chat."""
        plain = replace(context.layout, chat=False)
        blank = Example(id="probe", inputs=dict.fromkeys(order[0].inputs, "?"))
        drop = plain.count_dropped(blank, order, self.max_tokens)
        assert drop is not None, "the layout of a selection context drops demonstrations and skips no row"
        rendered = plain(blank, order, drop=drop)
        set_key = ",".join(sorted(row.id for row in order))
        verb = Generate(
            max_tokens=self.max_tokens,
            n=-(-self.probes // min(self.permutations, math.factorial(len(order)))),
            stop=tuple(filter(None, rendered.stop)),
            temperature=1.0,
            seed=int.from_bytes(hash_rank(self.seed, "probe", set_key, str(number))[:6]),
        )
        return context.request(plain.opening(blank, order[len(rendered.dropped) :]), verb)


@dataclass(frozen=True)
class GlobalE(ProbedOrder):
    """Shows the order under which the predicted labels of generated rows are most evenly distributed (GlobalE)."""

    name: ClassVar[str] = "globale"

    def criterion(self, scores: Sequence[Sequence[float]]) -> float:
        """Returns the entropy of the histogram of predicted labels."""
        return entropy([*Counter(row_scores.index(max(row_scores)) for row_scores in scores).values()])


@dataclass(frozen=True)
class LocalE(ProbedOrder):
    """Shows the order under which the predictions for generated rows have the highest mean entropy (LocalE)."""

    name: ClassVar[str] = "locale"

    def criterion(self, scores: Sequence[Sequence[float]]) -> float:
        """Returns the mean entropy of the label probabilities."""
        return fmean(map(label_entropy, scores))


@dataclass(frozen=True)
class LeastEntropy(Order):
    """Shows, for each row, the order under which the prediction for that row has the lowest entropy (MDL)."""

    seed: int = 0
    """Seed of the permutations."""
    permutations: int = 24
    """Maximum number of permutations per row."""
    name: ClassVar[str] = "least-entropy"

    def __post_init__(self) -> None:
        """Validates the keywords."""
        checked(self)
        _check_positive(self, permutations=self.permutations)

    def bind(self, context: SelectionContext) -> Arrange:
        """Returns the order for each row, which scores the row's own candidate answers."""

        def arrange(examples: Sequence[Example], chosen: Sequence[Demonstrations]) -> list[Demonstrations]:
            options = [
                (example, permutations_of(rows, self.permutations, self.seed))
                for example, rows in zip(examples, chosen, strict=True)
            ]
            return lowest_entropy(context, options, self.name)

        return arrange


def _check_positive(order: Order, **values: int) -> None:
    if min(values.values()) < 1:
        fields: dict[str, Any] = {"order": order.name, **values}
        raise InputError(
            f"These settings of {order.name} must be at least 1: {', '.join(values)}",
            code="out-of-range",
            got=", ".join(f"{name}={value}" for name, value in values.items()),
            **fields,
        )
