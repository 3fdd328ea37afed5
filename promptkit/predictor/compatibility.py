"""Checks that a model can run the manipulations of a predictor, before any weights are loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from promptkit.align.chain import make_chain
from promptkit.core.calibration import Calibration
from promptkit.core.caller import by_caller
from promptkit.core.capabilities import FEATURES, Capabilities, Feature
from promptkit.core.errors import CheckpointError, InputError, Unsupported
from promptkit.core.manipulation import Manipulation, Modifier
from promptkit.core.model import HasCapabilities, Model, text_card
from promptkit.core.needs import with_required
from promptkit.core.output_reader import OutputReader
from promptkit.core.paths import expanded
from promptkit.core.registry import spelling
from promptkit.manipulate.learned.base_model import base_of, check_base
from promptkit.models.registry import ENGINES, load, split
from promptkit.models.support import check_supports


def needed_features(
    encoder: Manipulation, modifiers: Sequence[Modifier], reader: OutputReader, calibrations: Sequence[Calibration]
) -> frozenset[Feature]:
    """Returns the features that a model needs for predictors that differ only in their calibrations.

    Args:
        encoder: The manipulation that encodes rows.
        modifiers: The manipulations that modify inputs.
        reader: The first aligner.
        calibrations: The calibrations of the predictors.
    """
    of_modifiers = (feature for modifier in modifiers for feature in modifier.requires)
    of_calibrations = (feature for calibration in calibrations for feature in _features_of_needs(calibration))
    return frozenset({*encoder.requires, *of_modifiers, reader.verb, *of_calibrations})


def _features_of_needs(calibration: Calibration) -> frozenset[Feature]:
    """Returns the features that the needs of a calibration require of the model."""
    return frozenset(feature for need in with_required(calibration.needs) for feature in need.features)


def check_objects(model: object, manipulate: object) -> None:
    """Raises InputError if names or other values were given in place of a model and a manipulation."""
    is_model = isinstance(model, HasCapabilities) and not isinstance(model, type)
    if not is_model or isinstance(manipulate, str):
        value = repr(manipulate if is_model else model)[:100]
        raise InputError(
            "A predictor needs a model and a manipulation, not their names or other values",
            code="not-a-manipulation" if is_model else "not-a-model",
            got=value,
            hint='Write pk.Predictor(pk.load("demo"), pk.Prompt("sentiment/review"), ...)',
            value=value,
        )


def check(manipulation: Manipulation, model: Model, needed: Collection[Feature]) -> None:
    """Checks that a model supports the modifiers of a manipulation and is the one that they were trained on.

    Args:
        manipulation: The manipulation.
        model: The model.
        needed: All features that the predictor needs.

    Raises:
        Unsupported: The model does not support the interventions of a modifier.
        CheckpointError: A modifier was trained on another model.
        InputError: The modifiers take up the whole context of the model.
    """
    for modifier in manipulation.modifiers:
        check_features(modifier.requires, model.name, model.capabilities, needed, modifier=modifier.name)
        if modifier.base:
            check_base(modifier, model)
            _check_base_name(modifier, model)
    _check_context(manipulation.modifiers, model)


def check_engine(
    name: str,
    encoder: Manipulation,
    modifiers: Sequence[Modifier],
    reader: OutputReader,
    calibrations: Sequence[Calibration],
    also: Collection[Feature] = (),
) -> None:
    """Checks that the engine of a model supports predictors, without loading the model or importing the engine.

    Args:
        name: The name of the model.
        encoder: The manipulation that encodes rows.
        modifiers: The manipulations that modify inputs.
        reader: The first aligner.
        calibrations: The calibrations of the predictors.
        also: Further features that are needed, so that the error names only engines that support them too.

    Raises:
        InputError: A calibration cannot follow the first aligner.
        Unsupported: The engine does not read the inputs, or does not support a modifier or an aligner.
    """
    capabilities = ENGINES[split(name)[0]].capabilities
    needed = needed_features(encoder, modifiers, reader, calibrations) | {*also}
    check_features(encoder.requires, name, capabilities, needed)
    for modifier in modifiers:
        check_features(modifier.requires, name, capabilities, needed, modifier=modifier.name)
    for calibration in calibrations:
        make_chain([reader, calibration])  # raises for a calibration that cannot follow the first aligner
    check_aligners(reader, calibrations, name, capabilities, needed)


def check_aligners(
    reader: OutputReader,
    calibrations: Sequence[Calibration],
    name: str,
    capabilities: Capabilities,
    needed: Collection[Feature],
) -> None:
    """Raises Unsupported if a model cannot answer the requests of aligners.

    Args:
        reader: The first aligner.
        calibrations: The calibrations.
        name: The model's name.
        capabilities: What the model supports.
        needed: All features that are needed, so that the error names only engines that support all of them.
    """
    check_supports(name, capabilities, reader.verb, together=needed)
    for calibration in calibrations:
        spelled = spelling(calibration)
        for feature in sorted(_features_of_needs(calibration)):
            purpose = f"the alignment {spelled}"
            check_supports(name, capabilities, feature, together=needed, needed_by=purpose, aligner=spelled)


def check_features(
    features: Collection[Feature], name: str, capabilities: Capabilities, needed: Collection[Feature], *, modifier: str = ""
) -> None:
    """Raises Unsupported if a model does not support one of several features.

    Args:
        features: The features.
        name: The model's name.
        capabilities: What the model supports.
        needed: As for `check_aligners`.
        modifier: The name of the modifier that needs them, if any.
    """
    needed_by = {"needed_by": modifier, "manipulation": modifier} if modifier else {}
    for feature in FEATURES:
        if feature in features:
            check_supports(name, capabilities, feature, together=needed, **needed_by)


def _check_context(modifiers: Sequence[Modifier], model: Model) -> None:
    """Raises InputError if the modifiers leave no room for the prompt in the model's context."""
    tokens = sum(modifier.context_tokens for modifier in modifiers)
    if tokens and tokens >= text_card(model.card).context_length:
        lengths = tuple((modifier.name, modifier.context_tokens) for modifier in modifiers if modifier.context_tokens)
        raise InputError(
            f"The learned manipulations take {tokens} tokens and leave no room for a prompt: the context of {model.name} has "
            f"{text_card(model.card).context_length} tokens",
            code="no-room-for-prompt",
            got=", ".join(f"{name} with {length} tokens" for name, length in lengths),
            hint="Use fewer tokens, as in soft:length=20, or a model with a longer context",
            model=model.name,
            tokens=tokens,
            context_tokens=text_card(model.card).context_length,
            manipulations=lengths,
        )


def _check_base_name(modifier: Modifier, model: Model) -> None:
    """Raises CheckpointError if only the name of the base model is known and this model has another one."""
    name = str(modifier.base.get("name", ""))
    if not name or {"content", "tokenizer"} & modifier.base.keys():
        return
    identity = base_of(model)
    if not _has_name(identity, name):
        raise CheckpointError(
            f"The manipulation {modifier.name} was trained on {name}, and it is not known whether {model.name} is the same",
            code="unconfirmed-model",
            hint=f"Load {name}, or, if it is the same, record it once: "
            + by_caller(
                command=f"promptkit convert FOLDER OUT --model {identity['name']}",
                python=f"pk.convert(FOLDER, OUT, model=pk.load({str(identity['name'])!r}))",
            ),
            manipulation=modifier.name,
            base=name,
            model=model.name,
        )


def _has_name(identity: Mapping[str, str | int], name: str) -> bool:
    """Whether a model is the one that another library identifies by a folder or a hub id."""
    if (expanded(name) / "config.json").is_file():
        return load(name).identity()["content"] == identity["content"]
    return identity["name"] == name


def check_shared_labels(reader: OutputReader, name: str, subject: str, *, several: bool = False) -> None:
    """Raises Unsupported without labels that all rows share, and if a row can have several of them, unless `several`.

    Args:
        reader: The first aligner.
        name: The name of the last aligner.
        subject: What needs the labels, such as `There are probabilities of`.
        several: Whether rows may have several labels.
    """
    is_multi_label = reader.task_kind == "multi-label"
    if not reader.labels or (is_multi_label and not several):
        which = "one label for each row" if is_multi_label else "labels that all rows share"
        raise Unsupported(
            f"{subject} {which}, which the aligner {name} does not have",
            code="no-probabilities",
            hint="Use predict without them, or an aligner that scores labels, such as a Verbalizer",
            aligner=name,
        )
