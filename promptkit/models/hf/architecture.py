"""The kind of language model that a configuration describes: causal, encoder-decoder, masked, or none that can be used.

The kind follows from the auto classes of transformers and from fields of the configuration, never from the names of models. It
is known before weights load. When the weights load, a test measures whether a causal model is causal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from promptkit.core.errors import Unsupported

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Kind = Literal["causal", "encoder-decoder", "masked", "unsupported"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The kind of a language model, and the reason for it."""

    kind: Kind
    """`causal` predicts each token from those before it; `encoder-decoder` writes a text given another, as in T5; `masked`
    predicts tokens from both sides, as in BERT; `unsupported` is none of these."""
    reason: str
    """The reason, as a clause that follows a colon in a message."""


def architecture_of(config: PretrainedConfig) -> Architecture:
    """Returns the kind of language model that a configuration describes.

    Args:
        config: The configuration of all modalities, as `AutoConfig` reads it.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING

    causal, masked = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING, type(config) in MODEL_FOR_MASKED_LM_MAPPING
    seq2seq = type(config) in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING
    if getattr(config, "is_encoder_decoder", False):
        return _encoder_decoder(config, reads_text=seq2seq)
    decodes = bool(getattr(config, "is_decoder", False) or getattr(config, "causal", False))
    if causal and (decodes or not masked):
        return Architecture(kind="causal", reason=f"{config.model_type} predicts each token from the tokens before it")
    if masked and not decodes:
        return Architecture(
            kind="masked", reason=f"the attention of {config.model_type} is bidirectional: it predicts masked tokens"
        )
    if seq2seq and getattr(type(config), "is_encoder_decoder", False):
        return Architecture(kind="unsupported", reason=f"it is only one half of an encoder-decoder model ({config.model_type})")
    return Architecture(kind="unsupported", reason=_not_a_language_model(config))


def check_causal(config: PretrainedConfig, name: str) -> None:
    """Checks that a configuration describes a causal language model.

    Args:
        config: As for `architecture_of`.
        name: The model as the user named it.

    Raises:
        Unsupported: If it is not.
    """
    architecture = architecture_of(config)
    if architecture.kind == "causal":
        return
    alternative = "" if architecture.kind == "unsupported" else "; this one runs on hf, by its name without an engine"
    raise Unsupported(
        f"The model {name} is not a causal language model: {architecture.reason}",
        code="not-causal",
        hint=f"Use a causal language model{alternative}",
        model=name,
        kind=architecture.kind,
    )


def _encoder_decoder(config: PretrainedConfig, *, reads_text: bool) -> Architecture:
    if reads_text:
        return Architecture(
            kind="encoder-decoder", reason=f"the decoder of {config.model_type} writes a text given one that its encoder reads"
        )
    return Architecture(kind="unsupported", reason=f"the encoder of {config.model_type} does not read text")


def _not_a_language_model(config: PretrainedConfig) -> str:
    """Returns why a configuration does not describe a language model, with the tasks for which transformers has a class."""
    import transformers

    tasks = [
        name.removeprefix("MODEL_FOR_").removesuffix("_MAPPING").replace("_", " ").lower()
        for name in dir(transformers)
        if name.startswith("MODEL_FOR_") and name.endswith("_MAPPING") and type(config) in getattr(transformers, name)
    ]
    listed = f", only for {', '.join(tasks)}" if tasks else ""
    return f"transformers has no model of text alone for the type {config.model_type}{listed}"
