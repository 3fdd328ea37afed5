"""Checks of what a model supports, with hints that name the engines that support it, and the table of engines in the guide."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from promptkit.core.caller import by_caller
from promptkit.core.capabilities import FEATURES, Capabilities, Feature
from promptkit.core.errors import Unsupported
from promptkit.core.inputs import MODALITIES
from promptkit.core.requests import Classify, Generate, Read, Request, Score
from promptkit.models.registry import ENGINES, Engine


def check_supports(
    name: str,
    capabilities: Capabilities,
    feature: Feature,
    *,
    together: Collection[Feature] = (),
    needed_by: str = "",
    alternative: str = "",
    **fields: object,
) -> None:
    """Raises Unsupported if a model does not support a feature.

    Args:
        name: The model's name, for the error.
        capabilities: What the model supports.
        feature: The feature.
        together: All features that are needed at once; the hint names only engines that support all of them.
        needed_by: What needs the feature, for the error.
        alternative: What to try instead of another engine, as a clause that follows "or" in the hint.
        fields: Further fields of the error.
    """
    if feature not in capabilities:
        raise unsupported(
            name, capabilities, feature, together=together, needed_by=needed_by, alternative=alternative, **fields
        )


def unsupported(
    name: str,
    capabilities: Capabilities,
    feature: Feature,
    *,
    together: Collection[Feature] = (),
    needed_by: str = "",
    alternative: str = "",
    **fields: object,
) -> Unsupported:
    """Returns the error for a model that does not support a feature; see `check_supports` for the arguments."""
    description = FEATURES[feature]
    reason = f", which {needed_by} needs" if needed_by else ""
    return Unsupported(
        f"The model {name} does not {description.missing}{reason}",
        code=description.code,
        hint=_hint({feature, *together}, capabilities) + (f", or {alternative}" if alternative else ""),
        model=name,
        **fields,
    )


def check_requests(name: str, capabilities: Capabilities, requests: Sequence[Request]) -> None:
    """Raises Unsupported if a model does not support a request."""
    needed = {feature for request in requests for feature in features_of(request)}
    for feature in FEATURES:
        if feature in needed:
            check_supports(name, capabilities, feature, together=needed)


def features_of(request: Request) -> Iterator[Feature]:
    """Yields the features that a model needs for a request."""
    yield request.input.modality
    match request.verb:
        case Score():
            yield "Score"
        case Generate(json_schema=schema):
            yield "Generate"
            if schema:
                yield "json_schema"
        case Classify():
            yield "Classify"
        case Read(hidden_layer=layer):
            yield "Read"
            if layer is not None:
                yield "hidden_states"
    interventions = request.interventions
    if interventions.vectors is not None:
        yield "vectors"
    if interventions.prefixes:
        yield "prefixes"
    if interventions.edits:
        yield "edits"
    if interventions.operations:
        yield "operations"


def _hint(features: Collection[Feature], capabilities: Capabilities) -> str:
    """Returns a sentence with the engines that support several features at once, for inputs of the same modality."""
    modalities = {feature for feature in features if feature in MODALITIES} or capabilities.modalities
    engines = [
        f"{name} ({', '.join(kinds)} models)" if len(kinds) < len(engine.kinds) else name
        for name, engine in ENGINES.items()
        if not engine.simulated and modalities & engine.capabilities.modalities
        for kinds in [_kinds_with(features, engine)]
        if kinds
    ]
    named = f"{engines[0]}:NAME" if len(engines) == 1 and engines[0] in ENGINES else ""
    example = f" ({by_caller(command=f'--model {named}', python=f'pk.load({named!r})')})" if named else ""
    if not engines:
        return "No engine supports it" + (" together with the task and the other settings" if len({*features}) > 1 else "")
    return f"Use an engine that supports it: {', '.join(engines)}{example}"


def _kinds_with(features: Collection[Feature], engine: Engine) -> Sequence[str]:
    """Returns the kinds of models of an engine that support several features at once."""
    return [kind for kind, capabilities in engine.kinds.items() if all(feature in capabilities for feature in features)]


def capabilities_table() -> str:
    """Returns the features of each engine as a Markdown table, which docs/engines.md contains."""
    headings = [*dict.fromkeys(description.heading for description in FEATURES.values() if description.heading)]
    rows = [
        ["", *(f"`{name}`" for name in ENGINES)],
        ["---"] * (len(ENGINES) + 1),
        ["NAME", *(engine.names for engine in ENGINES.values())],
        *([heading, *(_cell(heading, engine) for engine in ENGINES.values())] for heading in headings),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(heading: str, engine: Engine) -> str:
    """Returns `yes`, `no`, or the kinds of models that support the features of a row."""
    features: list[Feature] = [feature for feature, description in FEATURES.items() if description.heading == heading]
    kinds = _kinds_with(features, engine)
    if not kinds:
        return "no"
    return "yes" if len(kinds) == len(engine.kinds) else ", ".join(kinds)
