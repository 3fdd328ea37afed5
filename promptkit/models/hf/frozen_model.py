"""Typed access to the common parts of all frozen models of transformers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from promptkit.core.errors import Unsupported
from promptkit.models.files.dimensions import dimensions_of
from promptkit.models.hf.tensors import embed_ids

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


class FrozenModel:
    """A frozen model of transformers, in evaluation mode."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Wraps a model of transformers."""
        self._model = model
        self._config: PretrainedConfig = model.config.get_text_config()
        self._embedding: Any = model.get_input_embeddings()
        self._parameters = frozenset(inspect.signature(model.forward).parameters)

    @property
    def module(self) -> nn.Module:
        """The model as a PyTorch module."""
        return self._model

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        device: torch.device = self._model.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The data type of the weights."""
        dtype: torch.dtype = self._model.dtype
        return dtype

    @property
    def model_type(self) -> str:
        """The name of the architecture in transformers, such as `llama`."""
        return str(self._model.config.model_type)

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens that the configuration states."""
        return int(self._config.vocab_size)

    @property
    def num_embeddings(self) -> int:
        """The number of rows of the embedding."""
        return int(self._embedding.weight.shape[0])

    @property
    def embedding_width(self) -> int:
        """The width of the embedding's rows."""
        return int(self._embedding.weight.shape[1])

    @property
    def state_width(self) -> int:
        """The width of the hidden states that the configuration states."""
        return dimensions_of(self._config).state_width

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The layers, first to last."""
        return [module for modules in _outermost_lists(self.module) for module in modules]

    @property
    def cache_argument(self) -> str:
        """The name of the argument, and of the output, with keys and values; it was renamed in transformers 5.24."""
        return "cache" if "cache" in self._parameters else "past_key_values"

    def embed(self, ids: Tensor) -> Tensor:
        """Returns the embeddings of token ids, shape (..., d_model), as the first layer receives them."""
        rows: Tensor | tuple[Tensor, ...] = self._embedding(ids)
        if not isinstance(rows, Tensor):
            raise Unsupported(
                f"Models of type {self.model_type} do not support learned vectors: the embedding returns other values too",
                code="no-learned-vectors",
                hint="Use another model",
                model_type=self.model_type,
            )
        return rows

    def inputs(self, ids: Tensor, vectors: Tensor | None) -> Mapping[str, Tensor]:
        """Returns the arguments of a forward pass for token ids; a negative id refers to a learned vector."""
        return {"input_ids": ids} if vectors is None else {"inputs_embeds": embed_ids(self._embedding, ids, vectors)}


def _outermost_lists(module: nn.Module) -> list[nn.ModuleList]:
    """Returns the lists of modules that are not inside of another list, such as the layers of an encoder and a decoder."""
    if isinstance(module, nn.ModuleList):
        return [module]
    return [found for child in module.children() for found in _outermost_lists(child)]
