"""Typed access to a causal language model of transformers.

The modules and configurations of transformers are untyped, and the names of their attributes differ between architectures. This
is the only module of the engine that looks inside them. All others work with PyTorch tensors and modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from promptkit.core.errors import Unsupported
from promptkit.models.hf.frozen_model import FrozenModel
from promptkit.models.hf.kv_cache import KeyValues
from promptkit.models.hf.layer_states import LayerStates, recorded
from promptkit.models.hf.lm_head import LMHead
from promptkit.models.hf.rope import RopeState, depends_on_length

if TYPE_CHECKING:
    from promptkit.core.interventions import Interventions, KVPrefix
    from promptkit.models.hf.packed_row import PackedRow

OUTPUT_PROJECTIONS = frozenset({"o_proj", "c_proj", "out_proj", "dense", "wo"})
"""The names of the output projection in the attention modules of transformers."""


class CausalLM(FrozenModel):
    """A frozen causal language model of transformers, with a language modeling head."""

    def __init__(self, model: Any) -> None:
        """Wraps a `transformers.PreTrainedModel`."""
        from transformers import PreTrainedModel

        super().__init__(model)
        candidates = (model.get_decoder(), model.base_model, *model.children())  # of some models, the first ones are others
        self._decoder = next(part for part in candidates if isinstance(part, PreTrainedModel) and part is not model)
        self._slices_logits = "logits_to_keep" in self._parameters
        self._rope_state = RopeState(model.modules() if self.depends_on_length else ())

    # ---- what the model is ---------------------------------------------------------------------------

    @property
    def num_layers(self) -> int:
        """The number of layers."""
        return int(self._config.num_hidden_layers)

    @property
    def num_heads(self) -> int:
        """The number of query heads of each layer."""
        return int(self._config.num_attention_heads)

    @property
    def layer_types(self) -> tuple[str, ...] | None:
        """The kind of each layer's attention, such as `sliding_attention`; None if the configuration does not state it."""
        types = getattr(self._config, "layer_types", None)
        return None if types is None else tuple(types)

    @cached_property
    def depends_on_length(self) -> bool:
        """Whether the rotary embedding is scaled by the length of the sequence."""
        return depends_on_length(self._config)

    @property
    def residual_multiplier(self) -> float:
        """The factor of what each layer adds to the residual stream; 1 for most architectures."""
        return float(getattr(self._config, "residual_multiplier", None) or 1.0)

    @cached_property
    def layers(self) -> Sequence[nn.Module]:
        """The layers, first to last.

        Raises:
            Unsupported: If no list of modules has the number of layers that the configuration states.
        """
        lists = (module for module in self._decoder.modules() if isinstance(module, nn.ModuleList))
        layers = next((modules for modules in lists if len(modules) == len({*modules}) == self.num_layers), None)
        if layers is None:
            raise Unsupported(
                "The layers of this model cannot be identified among its modules",
                code="unidentified-layers",
                got=f"a model of type {self.model_type}",
                hint="Use another model",
                model_type=self.model_type,
            )
        return [*layers]

    @cached_property
    def output_projections(self) -> list[nn.Module]:
        """The output projection of each layer's attention, to which the concatenated outputs of its heads are passed.

        Raises:
            Unsupported: If some layer has none, or several.
        """
        return [self._output_projection(layer) for layer in self.layers]

    def _output_projection(self, layer: nn.Module) -> nn.Module:
        projections: list[nn.Module] = []
        for path, module in layer.named_modules():
            *parents, name = path.split(".")
            if name in OUTPUT_PROJECTIONS and any("att" in parent for parent in parents):
                projections.append(module)
        if len(projections) != 1:
            raise self.unidentified_heads()
        return projections[0]

    def unidentified_heads(self) -> Unsupported:
        """Returns the error for a model whose attention heads cannot be distinguished."""
        return Unsupported(
            "The attention heads of this model cannot be identified",
            code="unidentified-heads",
            got=f"a model of type {self.model_type}",
            hint="Use another model",
            model_type=self.model_type,
        )

    def lm_head(self) -> LMHead | None:
        """Returns the output head, or None if it is not a linear layer."""
        linear = self._model.get_output_embeddings()  # type: ignore[no-untyped-call]
        if not isinstance(linear, nn.Linear):
            return None
        divisor = getattr(self._config, "logits_scaling", None)
        return LMHead(
            weight=linear.weight,
            bias=linear.bias,
            scale=1 / divisor if divisor else getattr(self._config, "logit_scale", None) or 1.0,
            softcap=getattr(self._config, "final_logit_softcapping", None),
        )

    @property
    def attention(self) -> str:
        """The name of the attention implementation."""
        return str(self._model.config._attn_implementation)

    def set_attention(self, name: str) -> None:
        """Sets the attention implementation, by a name that is registered with transformers."""
        self._model.set_attn_implementation(name)

    # ---- what it computes ----------------------------------------------------------------------------

    def hidden_states(self, row: PackedRow, *, all_layers: bool = False) -> tuple[Tensor, LayerStates | None]:
        """Runs a packed row through the decoder, whose attention must be packed attention.

        Returns:
            The last hidden states, shape (T, d_model); and with `all_layers` the states of every layer, each of shape
            (1, T, d_model).
        """
        with self._recorded(all_layers) as states:
            output = self._decoder(
                **self.inputs(row.ids[None], row.interventions.vectors),
                position_ids=row.learned_tokens + row.positions[None],
                use_cache=False,
                packed=row,
            )
        return output.last_hidden_state[0], states

    def logits(
        self, ids: Tensor, mask: Tensor, interventions: Interventions[Tensor], *, first: int, all_layers: bool = False
    ) -> tuple[Tensor, LayerStates | None]:
        """Runs padded rows through the model; if it `depends_on_length`, the rows must have one length.

        Args:
            ids: Token ids, shape (rows, width); a negative id refers to a learned vector.
            mask: 1 for a token, 0 for padding, shape (rows, learned prefix + width).
            interventions: Learned vectors and prefixes; edits are not applied here.
            first: The first position at which logits are returned.
            all_layers: Whether to return hidden states.

        Returns:
            Logits, shape (rows, width - first, vocabulary); and with `all_layers` the states of every layer, each of shape
            (rows, width, d_model).
        """
        options: dict[str, object] = {"use_cache": bool(interventions.prefixes)}
        if interventions.prefixes:
            options[self.cache_argument] = _prefix_cache(interventions.prefixes, rows=len(ids), dtype=self.dtype)
        if self._slices_logits:
            options["logits_to_keep"] = ids.shape[1] - first
        inputs = self.inputs(ids, interventions.vectors)
        self._rope_state.restore()
        with self._recorded(all_layers) as states:
            output = self._model(**inputs, **options, attention_mask=mask)
        logits = output.logits if self._slices_logits else output.logits[:, first:]
        return logits, states

    def keys_values(self, ids: Sequence[int]) -> KeyValues:
        """Returns the keys and values of a text, as the model's own attention computes them."""
        from transformers import DynamicCache

        cache: Any = DynamicCache()
        self._rope_state.restore()
        with torch.no_grad():
            self._model(torch.tensor([ids], device=self.device), use_cache=True, **{self.cache_argument: cache})
        return {number: (layer.keys[0], layer.values[0]) for number, layer in enumerate(cache.layers)}

    def _recorded(self, all_layers: bool) -> AbstractContextManager[LayerStates | None]:
        """Returns a context manager that records the states of all layers, or none."""
        if not all_layers:
            return nullcontext()
        try:
            return recorded(self._decoder, self.layers)
        except Unsupported as error:
            return recorded(self._decoder, error)


def _prefix_cache(prefixes: Sequence[KVPrefix[Tensor]], *, rows: int, dtype: torch.dtype) -> Any:
    """Learned prefixes as a cache of transformers, the same for every row.

    A forward pass does not add to it, so that gradient checkpointing can compute a layer again.
    """
    from transformers import DynamicCache

    cache: Any = DynamicCache()
    for prefix in prefixes:
        for layer, *pair in zip(prefix.layers, prefix.keys, prefix.values, strict=True):
            keys, values = (tensor.to(dtype).expand(rows, *tensor.shape) for tensor in pair)
            cache.update(keys, values, layer - 1)

    def prepend(keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        prefix = cache.layers[layer]
        return torch.cat([prefix.keys, keys], dim=-2), torch.cat([prefix.values, values], dim=-2)

    cache.update = prepend
    return cache
