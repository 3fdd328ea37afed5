"""The rows that aligners need besides those evaluated: asked in the same pass, and handed to the fits of the aligners.

A fit is handed the outputs of rows; of labels it is handed those of the fit part alone, and none of a row whose inputs are
those of a row of the evaluated split.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from promptkit.align.chain import Chain
from promptkit.core.alignment import ContentFreeInput, FitData, Needs, Outputs, PerClass, RandomWords
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.hashing import sha256_hex
from promptkit.core.manipulation import Ask
from promptkit.core.rendered import Rendered
from promptkit.core.seeding import hash_rank
from promptkit.evaluation.readings import ReadOutputs, ReadPlan, requests, wanted
from promptkit.evaluation.requirements import FIT, united
from promptkit.predictor.predictor import BoundPredictor
from promptkit.runs.records import Query
from promptkit.tasks.task import untested

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


SALT = "labelled"
"""Part of the hash that draws labeled rows; changing it would change which rows are drawn."""
PREMISE = "premise"


UNKNOWN = -1
"""Stands for a label that no fit may see, and for a context that no evaluated row is read in."""


_log = logging.getLogger(__name__)


def asked(
    bound: BoundPredictor, items: Sequence[Query], needs: Needs, fit: Sequence[LabeledExample], evaluated: Sequence[Example]
) -> list[Query]:
    """What stands in under each context in which `items` are read, the premise, and as many rows of `fit` as are needed.

    A row with inputs of one of those `evaluated` goes without its label.
    """
    rows = _standing_in(bound, items, needs.stand_ins, fit)
    for item in (items if items[0].example.choices else items[:1]) if needs.premise else ():
        rendered = bound.apply.premise(item.example)
        rows.append(
            Query(file="support", id=premise_id(item.id, item.example.choices), example=item.example, rendered=rendered)
        )
    known = {row.id for row in untested(fit, evaluated)}
    taken = taken_of(needs, fit, evaluated)
    unlabeled = [row.unlabeled() for row in taken]
    for row, example, rendered in zip(taken, unlabeled, bound.apply(unlabeled), strict=True):
        gold = row if row.id in known else None
        rows.append(Query(file="support", id=FIT + row.id, example=example, rendered=rendered, gold=gold))
    return rows


def taken_of(needs: Needs, fit: Sequence[LabeledExample], evaluated: Sequence[Example]) -> list[LabeledExample]:
    """The rows that are read of `fit`: its first ones, and behind them, in its order, those chosen by their labels."""
    known = [(row.id, row.label) for row in untested(fit, evaluated)]
    wanted = {known[place][0] for each in needs.labeled for place in chosen(each, known)}
    return [row for place, row in enumerate(fit) if place < needs.rows or row.id in wanted]


def chosen(each: PerClass, rows: Sequence[tuple[str, str]]) -> list[int]:
    """The places of so many of each label, of rows by id and label; those left out of `rows` change none of the others."""
    ranks = sorted(range(len(rows)), key=lambda place: hash_rank(each.seed, SALT, rows[place][0]))
    counts: Counter[str] = Counter()
    taken = []
    for place in ranks:
        label = rows[place][1]
        if counts[label] < each.rows:
            counts[label] += 1
            taken.append(place)
    return sorted(taken)


def used_of(needs: Needs, fit: Sequence[LabeledExample], evaluated: Sequence[Example]) -> Sequence[LabeledExample]:
    """The rows of `fit` that determine a result: those that are read, or all where words are drawn from them."""
    bagged = any(isinstance(each, RandomWords) for each in needs.stand_ins)
    return fit if bagged else taken_of(needs, fit, evaluated)


def wanted_of(ask: Ask, needs: Needs, rows: Sequence[Query], shown: Mapping[str, str]) -> ReadPlan:
    """What is read besides their scores of the evaluated rows and those of the fit part, which stand among `rows`.

    `shown`: label -> its word.
    """
    known = [(row.id, row.gold.label, row.rendered) for row in rows if row.id.startswith(FIT) and row.gold is not None]
    pairs = [(row.removeprefix(FIT), label) for row, label, _ in known]
    labeled = {each: [known[place][2] for place in chosen(each, pairs)] for each in needs.labeled}
    return wanted(needs, ask, labeled, [*shown.values()])


def reads(wants: ReadPlan, rows: Sequence[Query], ask: Ask) -> list[Query]:
    """The requests for it."""
    return requests(wants, [row for row in rows if row.file == "samples" or row.id.startswith(FIT)], ask)


def _standing_in(
    bound: BoundPredictor, items: Sequence[Query], stand_ins: Sequence[ContentFreeInput], fit: Sequence[Example]
) -> list[Query]:
    firsts = _contexts(item.rendered for item in items)
    if len(firsts) * len(stand_ins) > len(items) and len(firsts) > 1:
        told = "The %d rows are read in %d contexts, so that their calibrations read %d rows more."
        _log.warning(told, len(items), len(firsts), len(firsts) * len(stand_ins))
    texts = _texts(stand_ins, items[0].example.inputs, fit)
    places = [(context, items[index].example, each) for context, index in firsts.items() for each in stand_ins]
    rows = [Example(id=_name(each), inputs=texts[each]) for *_, each in places]
    rendered = bound.apply(rows, context_of=[item for _, item, _ in places])
    return [
        Query(file="support", id=id_of(context, each), example=row, rendered=shown)
        for (context, _, each), row, shown in zip(places, rows, rendered, strict=True)
    ]


def _texts(
    stand_ins: Sequence[ContentFreeInput], variables: Iterable[str], fit: Sequence[Example]
) -> dict[ContentFreeInput, Mapping[str, str]]:
    """The inputs that each stands for; neither the order of `fit` nor its labels change them."""
    variables = [*variables]
    bags = [each for each in stand_ins if isinstance(each, RandomWords)]
    ordered = sorted(fit, key=lambda row: row.id) if bags else []
    words = {name: [word for row in ordered for word in row.inputs[name].split()] for name in variables}
    texts: dict[ContentFreeInput, Mapping[str, str]] = {
        each: dict.fromkeys(variables, each) for each in stand_ins if isinstance(each, str)
    }
    return texts | {bag: {name: _drawn(bag, name, words[name], len(ordered)) for name in variables} for bag in bags}


def _drawn(bag: RandomWords, variable: str, words: Sequence[str], rows: int) -> str:
    """As many of the words as a row has on average, with replacement."""
    ranks = [hash_rank(bag.seed, "bag", str(bag.number), variable, str(place)) for place in range(round(len(words) / rows))]
    return " ".join(words[int.from_bytes(rank[:8]) % len(words)] for rank in ranks)


def collected(
    chains: Sequence[Chain], samples: Sequence[Any], lines: Sequence[Any], observed: ReadOutputs | None = None
) -> tuple[FitData, Integers]:
    """What a run says, as fits read it, and the labels of the fit part's rows. Reads no label of `samples`."""
    labels, needs = chains[0].reader.labels, united(chains)
    of_id = {line["id"]: line for line in lines}
    contexts = {context: number for number, context in enumerate(dict.fromkeys(context_of(line["demos"]) for line in samples))}
    fit = [line for line in lines if line["id"].startswith(FIT)]
    known = [(place, line) for place, line in enumerate(fit) if "gold" in line]
    pairs = [(line["id"].removeprefix(FIT), line["gold"]) for _, line in known]
    support = FitData(
        items=_outputs(samples, labels, contexts, observed),
        rows=_outputs(fit, labels, contexts, observed),
        stand_ins={each: matrix([of_id[id_of(context, each)] for context in contexts], labels) for each in needs.stand_ins},
        premise=matrix([of_id[PREMISE]], labels) if needs.premise else None,
        labels=labels,
        labeled={each: np.array([known[i][0] for i in chosen(each, pairs)], int) for each in needs.labeled},
        names={} if observed is None else observed.names(),
        name_vectors={} if observed is None else observed.name_vectors(needs.named),
        label_vectors=observed.vectors([*chains[0].reader.label_words().values()]) if observed and needs.named else None,
    )
    return support, np.array([labels.index(line["gold"]) if "gold" in line else UNKNOWN for line in fit], int)


def collected_of_choices(samples: Sequence[Any], lines: Sequence[Any]) -> FitData:
    """As `collected`, where each row has answers of its own: all that there is besides is their premises."""
    of_id = {line["id"]: line for line in lines}
    premises = [of_id[premise_id(line["id"], line["logprobs"])] for line in samples] if lines else []
    none = Outputs(logprobs=np.empty((0, 0)), context=np.empty(0, int))
    return FitData(
        items=Outputs(logprobs=padded(samples), context=np.arange(len(samples))),
        rows=none,
        stand_ins={},
        premise=padded(premises) if premises else None,
    )


def padded(lines: Sequence[Any]) -> Floats:
    """Log-probabilities of each line's own answers, shape (lines, the most answers), -inf where one has fewer."""
    logprobs: Floats = np.full((len(lines), max(len(line["logprobs"]) for line in lines)), -np.inf)
    for row, line in zip(logprobs, lines, strict=True):
        row[: len(line["logprobs"])] = list(line["logprobs"].values())
    return logprobs


def _outputs(lines: Sequence[Any], labels: Sequence[str], contexts: Mapping[str, int], observed: ReadOutputs | None) -> Outputs:
    context = np.array([contexts.get(context_of(line["demos"]), UNKNOWN) for line in lines], int)
    ids = [line["id"] for line in lines]
    return Outputs(
        logprobs=matrix(lines, labels),
        context=context,
        tokens={} if observed is None else observed.tokens(ids),
        hidden={} if observed is None else observed.hidden(ids),
    )


def matrix(lines: Sequence[Any], labels: Sequence[str]) -> Floats:
    """Label log-probabilities, shape (lines, labels)."""
    return np.array([[line["logprobs"][label] for label in labels] for line in lines], float).reshape(-1, len(labels))


def premise_id(row: str, choices: Collection[str]) -> str:
    """The id of the line of a row's premise, which is the same for all rows unless they have answers of their own."""
    return f"{PREMISE} of {row}" if choices else PREMISE


def context_of(demos: Sequence[str]) -> str:
    """What tells the contexts of rows apart."""
    return " ".join(demos)


def _contexts(rendered: Iterable[Rendered]) -> dict[str, int]:
    """Each context that items are read in -> the first such item."""
    contexts: dict[str, int] = {}
    for index, row in enumerate(rendered):
        contexts.setdefault(context_of(row.demos), index)
    return contexts


def _name(stand_in: ContentFreeInput) -> str:
    return (
        f"bag {stand_in.number} of seed {stand_in.seed}" if isinstance(stand_in, RandomWords) else f"content-free {stand_in!r}"
    )


def id_of(context: str, stand_in: ContentFreeInput) -> str:
    """The id of the line of what stands in for inputs in a context."""
    return f"{_name(stand_in)} after {sha256_hex(context)[:12]}"
