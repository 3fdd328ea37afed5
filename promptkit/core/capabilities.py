"""What an engine supports, as one value from which checks, tables and hints derive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from promptkit.core.inputs import Modality

VerbName = Literal["Score", "Read", "Generate", "Classify"]
VERBS: tuple[VerbName, ...] = get_args(VerbName)
InterventionName = Literal["vectors", "prefixes", "edits", "operations"]
"""The fields of `Interventions`."""
Feature = Modality | VerbName | InterventionName | Literal["json_schema", "hidden_states", "heads", "gradients"]
"""One thing that a model supports or does not support."""


class FeatureDescription(NamedTuple):
    """How messages and tables describe a feature."""

    code: str
    """The code of the error for a model without it."""
    missing: str
    """Completes the sentence `The model does not ...`."""
    heading: str
    """The row of the table of engines. Features with the same heading share a row; there is none if it is empty."""


FEATURES: Mapping[Feature, FeatureDescription] = {
    "text": FeatureDescription("needs-text-model", "read texts", "reads texts"),
    "image": FeatureDescription("needs-image-model", "read images", "reads images"),
    "Score": FeatureDescription("cannot-score", "score labels", "scores labels"),
    "Read": FeatureDescription("cannot-read", "return its outputs at a position (the request Read)", ""),
    "Generate": FeatureDescription("cannot-generate", "write texts", "writes texts"),
    "json_schema": FeatureDescription("cannot-constrain", "restrict texts to a JSON schema", "restricts texts to a schema"),
    "Classify": FeatureDescription("cannot-classify", "have classes of its own to choose from", "classifies"),
    "hidden_states": FeatureDescription("no-hidden-states", "return hidden states", "hidden states"),
    "heads": FeatureDescription("no-attention-heads", "give access to its attention heads", "attention heads"),
    "vectors": FeatureDescription("no-learned-vectors", "accept learned vectors", "learned vectors"),
    "prefixes": FeatureDescription("no-prefixes-or-edits", "accept learned keys and values in its layers", "prefixes, edits"),
    "edits": FeatureDescription("no-prefixes-or-edits", "accept edits of its hidden states", "prefixes, edits"),
    "operations": FeatureDescription("no-operations", "apply operations to images", "image programs"),
    "gradients": FeatureDescription("no-gradients", "provide gradients", "gradients"),
}
"""All features, in the order of checks and tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine supports."""

    modalities: frozenset[Modality]
    """The modalities of the inputs that it reads."""
    verbs: frozenset[VerbName]
    """The names of the requests that it answers."""
    interventions: frozenset[InterventionName] = frozenset()
    """The interventions that a request may have."""
    json_schema: bool = False
    """Whether `Generate` can restrict texts to a JSON schema."""
    hidden_states: bool = False
    """Whether `Read` returns hidden states: of the layers of a language model, or pooled features of an image classifier."""
    heads: bool = False
    """Whether attention heads can be read and replaced individually."""
    gradients: bool = False
    """Whether scores can be differentiated with respect to interventions, so that manipulations are trained by gradients."""
    background_loading: bool = False
    """Whether weights can load in a background thread, while the main thread renders prompts."""

    def __contains__(self, feature: Feature) -> bool:
        """Returns whether it supports a feature."""
        return feature in frozenset(self._features())

    def _features(self) -> Iterator[Feature]:
        yield from self.modalities
        yield from self.verbs
        yield from self.interventions
        if self.json_schema:
            yield "json_schema"
        if self.hidden_states:
            yield "hidden_states"
        if self.heads:
            yield "heads"
        if self.gradients:
            yield "gradients"


def union(values: Iterable[Capabilities]) -> Capabilities:
    """Returns what at least one of several values supports."""
    given = tuple(values)
    return Capabilities(
        modalities=frozenset(name for value in given for name in value.modalities),
        verbs=frozenset(name for value in given for name in value.verbs),
        interventions=frozenset(name for value in given for name in value.interventions),
        json_schema=any(value.json_schema for value in given),
        hidden_states=any(value.hidden_states for value in given),
        heads=any(value.heads for value in given),
        gradients=any(value.gradients for value in given),
        background_loading=any(value.background_loading for value in given),
    )
