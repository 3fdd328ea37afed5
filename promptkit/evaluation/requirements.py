"""Checks what aligners require of the rows and what a model must return for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from promptkit.align.chain import Chain
from promptkit.core.alignment import Calibration, Needs, PerClass, RandomWords, TopTokens
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import Example
from promptkit.evaluation.readings import ReadOutputs

FIT = "fit "
"""How the id of the line of a row of the fit part begins."""


SKEWED = 1.5
"""A class is over-represented that has more than this many times its equal share."""


CHANCE = 0.05
"""Unless so few rows would show it by chance, of any class, so often."""


def united(chains: Sequence[Chain]) -> Needs:
    """What all of them need."""
    needs = [chain.calibration.needs for chain in chains if chain.calibration]
    return Needs(
        stand_ins=tuple(dict.fromkeys(each for need in needs for each in need.stand_ins)),
        premise=any(need.premise for need in needs),
        rows=max((need.rows for need in needs), default=0),
        labels=any(need.labels for need in needs),
        labeled=tuple(dict.fromkeys(each for need in needs for each in need.labeled)),
        tokens=tuple(dict.fromkeys(each for need in needs for each in need.tokens)),
        layers=tuple(sorted({each for need in needs for each in need.layers})),
        named=tuple(dict.fromkeys(each for need in needs for each in need.named)),
    )


def check_fit(calibration: Calibration, fit: Sequence[Example]) -> None:
    """Raise if it is fitted on rows of the fit part, or reads words of them, and there are none."""
    if fit or not uses_fit(calibration.needs):
        return
    other = f"Use --calibrate {calibration.name}:estimate_on=test, which fits on the evaluated rows"
    raise TaskError(
        f"The calibration {calibration.name} has no rows to fit on: the fit part of the train split is empty",
        code="empty-part",
        hint=other if hasattr(calibration, "estimate_on") else "Give the task more train rows",
        calibration=calibration.name,
        part="fit",
    )


def check(calibration: Calibration, *, labels: int, items: int, known: Sequence[bool]) -> None:
    """Raise if it cannot be fitted on so many items, and rows of the fit part whose labels are `known` or not."""
    needs = calibration.needs
    if needs.classes not in (0, labels):
        raise InputError(
            f"The calibration {calibration.name} needs one number for each label",
            code="wrong-length",
            got=f"{needs.classes} for {labels} labels",
            calibration=calibration.name,
            given=needs.classes,
            needed=labels,
        )
    fewest = needs.tokens_each * labels
    short = [top.most for top in needs.tokens if top.most < fewest]
    if short:
        raise InputError(
            f"The calibration {calibration.name} needs at least {fewest} tokens, {needs.tokens_each} for each label",
            code="too-few-tokens",
            got=f"tokens={short[0]} for {labels} labels",
            hint=f"Set tokens={fewest}, or preferably many more",
            calibration=calibration.name,
            given=short[0],
            needed=fewest,
        )
    if needs.labels and not any(known[: needs.rows or None]):
        raise InputError(
            f"The calibration {calibration.name} needs labels, and every row of the fit part is itself evaluated",
            code="rows-are-evaluated",
            hint="Evaluate a split other than train, on which aligners are fitted",
            calibration=calibration.name,
        )
    learned = min([sum(known), *(each.rows * labels for each in needs.labeled)])
    if learned < needs.labeled_fewest:
        raise InputError(
            f"The calibration {calibration.name} needs at least {needs.labeled_fewest} labeled rows to vote",
            code="too-few-labeled-rows",
            got=f"at most {learned} labeled rows",
            hint="Use a smaller k, or a larger per_class",
            calibration=calibration.name,
            given=learned,
            needed=needs.labeled_fewest,
        )
    there = len(known[: needs.rows]) if needs.rows else items
    if there < needs.rows_each * labels:
        raise InputError(
            f"The calibration {calibration.name} needs at least {needs.rows_each} rows for each label",
            code="too-few-rows",
            got=f"{there} rows for {labels} labels",
            hint="Use more rows, or another calibration",
            calibration=calibration.name,
            given=there,
            needed=needs.rows_each * labels,
        )


def fit_warnings(chains: Sequence[Chain], samples: Sequence[Any], lines: Sequence[Any]) -> list[str]:
    """What a reader of the figures should know of the rows that their calibrations are fitted on; no fit is told of it."""
    labels = chains[0].reader.labels
    items, fit = [line["gold"] for line in samples], [line.get("gold") for line in lines if line["id"].startswith(FIT)]
    skews = [skew(chain.calibration, items, fit, len(labels)) for chain in chains if chain.calibration]
    return [told for told in (*skews, _scarcity(united(chains), labels, Counter(fit))) if told]


def _scarcity(needs: Needs, labels: Sequence[str], counts: Mapping[str | None, int]) -> str | None:
    """Which labels have fewer rows than are to be learned from."""
    most = max((each.rows for each in needs.labeled), default=0)
    fewer = [f"{label} ({counts.get(label, 0)})" for label in labels if counts.get(label, 0) < most]
    if not fewer:
        return None
    some = ", ".join(fewer[:5]) + (", ..." if len(fewer) > 5 else "")
    return f"{len(fewer)} of {len(labels)} labels have fewer than {most} rows to learn from: {some}"


def skew(calibration: Calibration, items: Sequence[str], rows: Sequence[str | None], labels: int) -> str | None:
    """What a reader should know of a prior that takes classes for equal which are not.

    items, rows: the labels of those that are evaluated, and of the fit part's, None for one that may not be known.
    """
    from scipy.stats import binom

    where = getattr(calibration, "estimate_on", None)
    seen = items if where == "test" else [label for label in rows[: calibration.needs.rows] if label is not None]
    if where is None or calibration.needs.classes or not seen:
        return None
    label, count = Counter(seen).most_common(1)[0]
    if labels * binom.sf(count - 1, len(seen), min(1.0, SKEWED / labels)) > CHANCE:
        return None
    return (
        f"The calibration {calibration.name} takes the classes to be about equal, and {count / len(seen):.0%} of the rows "
        f"that it is estimated on are {label}: read its figures with care"
    )


def uses_fit(needs: Needs) -> bool:
    """Whether any of the needs are met by the fit part."""
    return bool(needs.rows or needs.labeled or any(isinstance(each, RandomWords) for each in needs.stand_ins))


def unread(needs: Needs, had: Needs, observed: ReadOutputs | None) -> str | None:
    """What of the rows chosen by their labels, and of what is read besides scores, a run lacks that `had` these needs."""
    layers = [] if observed is None else observed.told["layers"]
    states = [f"hidden states of layer {layer}" for layer in needs.layers if layer not in layers]
    sets = set() if observed is None else {top for top, _ in observed.sets()}
    rows = [f"{each.rows} labeled rows of each label" for each in needs.labeled if not _holds(had.labeled, each)]
    tokens = [_chosen_tokens(top) for top in needs.tokens if top not in sets]
    names = ["hidden states of the tokens' texts" for top in needs.named if top not in had.named]
    return next(iter([*states, *names, *rows, *tokens]), None)


def _chosen_tokens(top: TopTokens) -> str:
    return f"the log-probabilities of the {top.most} tokens that are likeliest for {top.of.rows} labeled rows of each label"


def _holds(had: Sequence[PerClass], wanted: PerClass) -> bool:
    """Fewer rows of a seed are among more of it."""
    return any(each.seed == wanted.seed and each.rows >= wanted.rows for each in had)
