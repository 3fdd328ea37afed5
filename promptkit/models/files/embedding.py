"""The token embeddings of a model without its other weights, for engines that receive prompts as embeddings."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from promptkit.core.arrays import Array
from promptkit.core.errors import ModelError
from promptkit.core.requests import Prepared
from promptkit.models.files.source import Source
from promptkit.models.hf.tensors import array_of, embed_ids, tensor_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class Embedding:
    """The embedding of a language model, scaled as the model scales it; read from the model's files at the first use."""

    def __init__(self, source: Source, config: PretrainedConfig, dtype: torch.dtype) -> None:
        """Stores the arguments; files are read at the first use.

        Args:
            source: The model's files.
            config: The transformers configuration of the language model.
            dtype: The data type of the model.
        """
        self._source = source
        self._config = config
        self._dtype = dtype

    def rows(self, prepared: Prepared) -> Tensor:
        """Returns the embeddings of a prompt, learned vectors included, shape (tokens, d_model)."""
        ids, vectors = torch.tensor(prepared.text.ids), prepared.interventions.vectors
        if vectors is not None:
            return embed_ids(self._module, ids, tensor_of(vectors))
        rows: Tensor = self._module(ids)
        return rows

    def vectors(self, ids: Sequence[int]) -> Array:
        """Returns the embeddings of tokens."""
        return array_of(self._module(torch.tensor(ids)))

    @cached_property
    def _module(self) -> nn.Module:
        """The embedding module as the class of the model creates it, which may scale its rows; the model has one layer only."""
        from transformers import AutoModelForCausalLM

        auto: Any = AutoModelForCausalLM
        one_layer = copy.deepcopy(self._config)
        one_layer.num_hidden_layers = 1
        if getattr(one_layer, "layer_types", None):
            one_layer.layer_types = one_layer.layer_types[:1]
        model = auto.from_config(one_layer, dtype=self._dtype, trust_remote_code=False)
        module: nn.Embedding = model.get_input_embeddings()
        name = next(name for name, parameter in model.named_parameters() if parameter is module.weight)
        with torch.no_grad():
            module.weight.copy_(_stored(self._folder, name))
        return module.requires_grad_(False).eval()

    @cached_property
    def _folder(self) -> Path:
        if self._source.local:
            return Path(self._source.location)
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(self._source.location, revision=self._source.commit, allow_patterns="*.safetensors*"))


def _stored(folder: Path, name: str) -> Tensor:
    """Returns a tensor of a folder's safetensors files; its stored name may lack the prefix of the base model, or add one."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            for key in [*tensors.keys()]:
                if f".{key}".endswith(f".{name}") or f".{name}".endswith(f".{key}"):
                    tensor: Tensor = tensors.get_tensor(key)
                    return tensor
    raise ModelError(
        f"No safetensors file in the folder {folder} contains the tensor {name}",
        code="missing-tensor",
        hint="Save the model as safetensors",
        folder=str(folder),
        tensor=name,
    )
