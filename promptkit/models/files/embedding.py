"""A model's token embeddings alone, with the model's own scale: what learned vectors stand between."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptkit.core.arrays import Array
from promptkit.core.errors import ModelError
from promptkit.core.inputs import TextInput
from promptkit.models.files.source import Source
from promptkit.models.hf.tensors import array_of, embedded, tensor_of


class Embedding:
    """Reads the rows of the embedding from a model's files when they are first wanted."""

    def __init__(self, source: Source, config: Any, dtype: torch.dtype) -> None:
        """`config` is the model's own, of its language model; `dtype` is what the model computes in."""
        self._source = source
        self._config = config
        self._dtype = dtype

    def rows(self, prompt: TextInput) -> Tensor:
        """What the first layer receives for a prompt: shape (tokens, d_model)."""
        ids = torch.tensor(prompt.ids)
        return self._module(ids) if prompt.vectors is None else embedded(self._module, ids, tensor_of(prompt.vectors))

    def vectors(self, ids: Sequence[int]) -> Array:
        """The rows that the embedding gives these tokens."""
        return array_of(self._module(torch.tensor(ids)))

    @cached_property
    def _module(self) -> Any:
        """The embedding module of the model's own class, so that its scale is the model's."""
        from transformers import AutoModelForCausalLM

        auto: Any = AutoModelForCausalLM
        small = copy.deepcopy(self._config)
        small.num_hidden_layers = 1
        if getattr(small, "layer_types", None):
            small.layer_types = small.layer_types[:1]
        model = auto.from_config(small, dtype=self._dtype)
        module = model.get_input_embeddings()
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
    """The tensor of that name in a folder's safetensors files; files may leave out or add the name of the base model."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118 - no mapping
                if f".{key}".endswith(f".{name}") or f".{name}".endswith(f".{key}"):
                    found: Tensor = tensors.get_tensor(key)
                    return found
    raise ModelError(
        f"No safetensors file in the folder {folder} contains the tensor {name}",
        code="missing-tensor",
        hint="Save the model as safetensors",
        folder=str(folder),
        tensor=name,
    )
