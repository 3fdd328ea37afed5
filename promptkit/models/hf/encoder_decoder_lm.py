"""Typed access to an encoder-decoder of transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from promptkit.core.errors import ModelError
from promptkit.models.hf.frozen_model import FrozenModel

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel


class Encoded(NamedTuple):
    """The output of the encoder for padded rows."""

    states: Tensor
    """The states that the decoder attends to, shape (rows, width, d_model)."""
    mask: Tensor
    """1 for a token, 0 for padding, shape (rows, width)."""
    layers: Sequence[Tensor]
    """The states of every layer, embeddings first, if they were requested."""
    output: Callable[..., object]
    """The class of the encoder's output, in which the decoder takes the states."""

    def select(self, rows: Tensor) -> Encoded:
        """Returns some rows, in this order; a row may occur several times. States of single layers are left out."""
        return Encoded(self.states[rows], self.mask[rows], (), self.output)


class Decoded(NamedTuple):
    """The output of the decoder for padded rows."""

    logits: Tensor
    """Shape (rows, width, vocabulary)."""
    layers: Sequence[Tensor]
    """The states of every layer, embeddings first, if they were requested."""
    cache: Cache | None
    """The keys and values of the rows, for the next step; None if they were not requested or the model has none."""


class EncoderDecoderLM(FrozenModel):
    """A frozen encoder-decoder of transformers, with a language modeling head."""

    def __init__(self, model: PreTrainedModel, *, target_start: tuple[int, ...] = ()) -> None:
        """Wraps a model; `target_start` are the tokens that its tokenizer adds before a target text."""
        super().__init__(model)
        self._encoder: nn.Module = model.get_encoder()
        self._embedding = getattr(self._encoder, "get_input_embeddings", model.get_input_embeddings)()
        self.start = self._start(target_start)
        """The input of the decoder before an answer: its start token, and the tokens that begin every target."""

    def _start(self, target_start: tuple[int, ...]) -> tuple[int, ...]:
        start, forced = (self._setting(name) for name in ("decoder_start_token_id", "forced_bos_token_id"))
        if start is None:
            start = self._setting("bos_token_id")
        if start is None:
            raise ModelError(
                "The configuration of this encoder-decoder does not state the token that its decoder starts with",
                code="no-decoder-start",
                hint="Set decoder_start_token_id in its config.json or generation_config.json",
                model_type=str(self._model.config.model_type),
            )
        first = target_start if forced is None else (forced,)
        return (start,) if first == (start,) and forced is None else (start, *first)

    def _setting(self, name: str) -> int | None:
        """Returns a token id of the generation settings, or of the configuration; None if it is in neither."""
        settings = (self._model.generation_config, self._model.config)
        value = next((value for part in settings if (value := getattr(part, name, None)) is not None), None)
        first = value[0] if isinstance(value, list) else value
        return None if first is None else int(first)

    def encode(self, ids: Tensor, mask: Tensor, vectors: Tensor | None, *, all_layers: bool = False) -> Encoded:
        """Runs padded prompts through the encoder.

        Args:
            ids: Token ids, shape (rows, width); a negative id refers to a learned vector.
            mask: 1 for a token, 0 for padding, shape (rows, width).
            vectors: Learned vectors, shape (vectors, d_model).
            all_layers: Whether to return the states of every layer.
        """
        output = self._encoder(**self.inputs(ids, vectors), attention_mask=mask, output_hidden_states=all_layers)
        layers = output.hidden_states if all_layers else ()
        return Encoded(output.last_hidden_state, mask, layers, type(output))

    def decode(
        self, encoded: Encoded, ids: Tensor, *, all_layers: bool = False, cache: Cache | None = None, use_cache: bool = False
    ) -> Decoded:
        """Runs padded answers through the decoder.

        Args:
            encoded: The prompt of each row.
            ids: Token ids of the decoder, shape (rows, width); with a cache, those after the tokens that it has.
            all_layers: Whether to return the states of every layer.
            cache: The cache that a step before this one returned.
            use_cache: Whether to return a cache.
        """
        options = {self.cache_argument: self._new_cache() if cache is None else cache} if use_cache else {}
        output = self._model(
            encoder_outputs=encoded.output(last_hidden_state=encoded.states),
            attention_mask=encoded.mask,
            decoder_input_ids=ids,
            output_hidden_states=all_layers,
            use_cache=use_cache,
            **options,
        )
        cache = getattr(output, self.cache_argument, None) if use_cache else None
        return Decoded(output.logits, output.decoder_hidden_states if all_layers else (), cache)

    def logits(self, ids: Tensor, answer: Tensor) -> Tensor:
        """Runs prompts of one length and their answers through encoder and decoder, shape (rows, answer width, vocabulary)."""
        logits: Tensor = self._model(
            input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=answer, use_cache=False
        ).logits
        return logits

    def _new_cache(self) -> Cache:
        """Returns an empty cache, which grows to the number of layers that the decoder has.

        The one that a model makes itself has the number of layers of the encoder in transformers 5.24.
        """
        from transformers import DynamicCache, EncoderDecoderCache

        return EncoderDecoderCache(DynamicCache(), DynamicCache())
