"""Reads configuration, tokenizer and weights of a model with transformers, and reports its many errors in one form."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.core.caller import engine_setting
from promptkit.core.errors import ModelError, OutOfMemory, first_line
from promptkit.core.model import TextCard
from promptkit.models.files.dimensions import UNBOUNDED, Configuration, dimensions_of
from promptkit.models.files.quiet import quiet
from promptkit.models.files.source import Source
from promptkit.models.files.stored_weights import stored_weights
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.files.weights import check_weights

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

PARTS = {"AutoConfig": "configuration", "AutoTokenizer": "tokenizer", "AutoImageProcessor": "image processor"}
"""The part of a model that a class of transformers loads; the weights, for all others."""
UNSAFE_PICKLE = "Weights only load failed"
"""The start of PyTorch's message for a pickled checkpoint that contains something other than weights."""
_SPACE = " \u2581"
"""White space in the tokens of a vocabulary."""

REPORTED: Mapping[str, bool] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
"""Options of `from_pretrained` that return a report of the weights that do not belong to the model."""


def fetched(auto: Any, source: Source, name: str, **options: object) -> Any:
    """Loads a part of a model with `auto.from_pretrained`, without executing code in the model's files.

    Args:
        auto: A class of transformers, such as `AutoConfig`.
        source: The model's files.
        name: The model as the user named it, for error messages.
        options: Further arguments of `from_pretrained`.

    Raises:
        OutOfMemory: If the weights do not fit in memory.
        ModelError: If loading fails otherwise.
    """
    try:
        with quiet():
            return auto.from_pretrained(source.location, revision=source.commit, trust_remote_code=False, **options)
    except Exception as error:
        import torch

        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            raise OutOfMemory(
                f"The weights of {name} do not fit in memory",
                code="out-of-memory",
                hint=f"Try {engine_setting('dtype', 'bfloat16')}",
                model=name,
            ) from None
        part = PARTS.get(auto.__name__, "weights")
        if "trust_remote_code" in str(error):
            raise _needs_code(part, name) from None
        if UNSAFE_PICKLE in str(error):
            raise _unsafe(name) from None
        raise _unloadable(part, source, name, error) from error


def load_weights(auto: Any, source: Source, config: PretrainedConfig, name: str, **options: object) -> PreTrainedModel:
    """Loads a model whose weights all come from its files.

    Args:
        auto: An auto class of transformers, such as `AutoModelForCausalLM`.
        source: The model's files.
        config: The configuration of the model, of all its modalities.
        name: The model as the user named it, for error messages.
        options: Further arguments of `from_pretrained`.

    Raises:
        ModelError: If weights are missing, unexpected or wrongly shaped, or as `fetched`.
    """
    model, report = fetched(auto, source, name, **REPORTED, **options)
    if getattr(model, "peft_config", None):
        raise ModelError(
            f"The files of the model {name} contain an adapter of PEFT, which belongs to the weights of another model",
            code="adapter-in-model",
            hint="Merge the adapter (merge_and_unload) and save the model, or import a prompt with promptkit convert",
            model=name,
        )
    check_weights(model, report, name, config)
    loaded: PreTrainedModel = model
    return loaded


def check_stored_weights(auto: Any, source: Source, config: PretrainedConfig, name: str) -> None:
    """Checks stored weights as `load_weights` does, without loading them, for engines that load a model by themselves.

    A quantized model is not checked, because quantization changes the stored names and shapes.

    Args:
        auto: As for `load_weights`.
        source: The model's files.
        config: The whole configuration of the model.
        name: The model as the user named it, for error messages.

    Raises:
        ModelError: As `load_weights`.
    """
    import torch

    if getattr(config, "quantization_config", None) is not None:
        return
    try:
        with quiet():
            weights = stored_weights(source)
            with torch.device("meta"):
                empty = auto.from_config(config, trust_remote_code=False)
            if weights is not None:
                options: Any = {"config": empty.config, "state_dict": weights, "device_map": "meta"}
                model, report = type(empty).from_pretrained(None, **options, **REPORTED)
    except Exception as error:
        raise _unloadable("weights", source, name, error) from error
    if weights is None:  # the files are read; nothing is kept in memory
        load_weights(auto, source, config, name, device_map="meta")
    else:
        check_weights(model, report, name, config)


def _unsafe(name: str) -> ModelError:
    return ModelError(
        f"The weights of the model {name} are a pickled file that is damaged or contains code, which is never executed",
        code="unsafe-checkpoint",
        hint="Save the weights as safetensors (model.safetensors)",
        model=name,
    )


def _needs_code(part: str, name: str) -> ModelError:
    return ModelError(
        f"The {part} of the model {name} needs code from the model's files, which is never executed",
        code="remote-code",
        hint="Use a model whose architecture is part of transformers, or a newer transformers",
        model=name,
        part=part,
    )


def _unloadable(part: str, source: Source, name: str, error: Exception) -> ModelError:
    reason = first_line(error)
    if part == "tokenizer" and source.local and not (Path(source.location) / "tokenizer.json").is_file():
        reason = "there is no tokenizer.json"
    hint = f"Check the name, the files and the network; models that need no network are {source.known.local}"
    if source.local:
        reads = "preprocessor_config.json" if part == "image processor" else "tokenizer.json"
        hint = f"Check that config.json, {reads} and model.safetensors exist and are complete"
    return ModelError(
        f"The {part} of the model {name} could not be loaded from {'its folder' if source.local else 'the hub'}: {reason}",
        code="unloadable-model",
        hint=hint,
        model=name,
        part=part,
    )


def read_config(source: Source, name: str) -> PretrainedConfig:
    """Returns the transformers configuration of a model, of all its modalities; raises as `fetched`."""
    from transformers import AutoConfig

    config: PretrainedConfig = fetched(AutoConfig, source, name)
    return config


def fetched_tokenizer(source: Source, name: str) -> PreTrainedTokenizerBase:
    """Returns the tokenizer of transformers.

    For a model without the files of its tokenizer, transformers makes one that has only special tokens, which is an error here.

    Raises:
        ModelError: If there is no tokenizer, or as `fetched`.
    """
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = fetched(AutoTokenizer, source, name)
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    if any(token.strip(_SPACE) for token in tokenizer.get_vocab().keys() - special):
        return tokenizer
    raise _unloadable("tokenizer", source, name, ValueError("its vocabulary has only special tokens"))


def read_tokenizer(source: Source, name: str) -> TransformersTokenizer:
    """Returns the tokenizer; raises as `fetched_tokenizer`."""
    return TransformersTokenizer(fetched_tokenizer(source, name))


def card(config: Configuration, tokenizer: TransformersTokenizer, name: str, *, at_most: int | None = None) -> TextCard:
    """Returns the model card, which manipulations are allowed to see.

    The context length is that of the configuration, or else that of the tokenizer's settings.

    Args:
        config: The transformers configuration of the model, of all its modalities.
        tokenizer: The tokenizer.
        name: The model as the user named it, for error messages.
        at_most: An upper bound of the context length.

    Raises:
        ModelError: If the tokenizer has a token that prompts can contain and the embedding does not have.
    """
    sizes = dimensions_of(config)
    stated = sizes.context_length
    limit = min(UNBOUNDED, tokenizer.max_length) if stated == UNBOUNDED else stated
    check_vocabulary(tokenizer, sizes.vocabulary, name)
    return TextCard(
        tokenizer=tokenizer,
        d_model=sizes.state_width,
        embedding_width=sizes.embedding_width,
        vocabulary=sizes.vocabulary,
        layers=sizes.layers,
        kv_heads=sizes.kv_heads,
        context_length=min(limit, at_most or limit),
        instruct=tokenizer.has_chat,
    )


def check_vocabulary(tokenizer: TransformersTokenizer, rows: int, name: str) -> None:
    """Checks that the embedding has a row for every token that a prompt can contain.

    Args:
        tokenizer: The tokenizer.
        rows: The number of rows of the embedding.
        name: The model as the user named it, for error messages.

    Raises:
        ModelError: If it has not.
    """
    token_id, token = tokenizer.largest
    if token_id < rows:
        return
    raise ModelError(
        f"The tokenizer of the model {name} has the token {token!r} with the id {token_id}, and the embedding has {rows} rows",
        code="vocabulary-too-large",
        hint="Save the model with resized embeddings (model.resize_token_embeddings), or use the tokenizer of its base model",
        model=name,
        id=token_id,
        rows=rows,
    )


def caps_attention_logits(config: PretrainedConfig) -> bool:
    """Returns whether the model applies a soft cap to its attention logits, as Gemma 2 does."""
    return bool(getattr(config, "attn_logit_softcapping", None))


def end_tokens(source: Source, config: PretrainedConfig, tokenizer: TransformersTokenizer) -> frozenset[int]:
    """Returns the end tokens of a text: the union of those in the tokenizer, the configuration and the generation settings."""
    from transformers import GenerationConfig

    stated = [getattr(part, "eos_token_id", None) for part in (config, config.get_text_config())]
    with suppress(OSError, ValueError):  # the file with generation settings is optional
        stated.append(GenerationConfig.from_pretrained(source.location, revision=source.commit or "main").eos_token_id)
    listed = [token for ids in stated for token in (ids if isinstance(ids, (list, tuple)) else [ids]) if token is not None]
    return frozenset(listed) | frozenset(tokenizer.ends)
