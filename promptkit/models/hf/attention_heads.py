"""The attention heads of a model, read and replaced by hooks on the output projection of each layer.

The effect of replacing a head is measured at the prompt's last token only. The tokens before it are computed once; the packed
forward then computes one copy of the last token for each head, many in one row. The padded forward computes the prompt anew for
each head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from promptkit.core.inputs import TextInput
from promptkit.core.interventions import NO_INTERVENTIONS
from promptkit.core.requests import Request, Score
from promptkit.models.hf.forward import CausalForward
from promptkit.models.hf.kv_cache import KeyValues

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

LayersAndHeads = Sequence[tuple[int, int]]
"""(layer, head), each counted from 0."""
HookInputs = tuple[Tensor, ...]
"""The positional arguments of a module, as a hook receives them."""


class AttentionHeads:
    """The attention heads of a model of transformers; implements `promptkit.core.model.Heads`."""

    def __init__(self, forward: CausalForward, *, batch_tokens: int) -> None:
        """Creates a view of a model; at most `batch_tokens` tokens are computed at once.

        Raises:
            Unsupported: If the heads of the model cannot be identified.
        """
        self._forward = forward
        self._batch_tokens = batch_tokens
        self._layers = forward.causal_lm.layers
        self._projections = forward.causal_lm.output_projections
        self._heads = forward.causal_lm.num_heads
        self._norms: dict[int, nn.Module] = {}
        """Layer -> the norm that follows its attention, for the layers that have one."""
        with self._detecting_norms():
            self.outputs((1, 2, 3))

    def outputs(self, ids: Sequence[int]) -> Floats:
        """Returns the output of each head at the prompt's last token; see `Heads.outputs`."""
        outputs: dict[int, Tensor] = {}

        def record(layer: int, states: Tensor) -> None:
            outputs[layer] = states[0, -1].float().reshape(self._heads, -1)

        with torch.no_grad(), self._projection_hooks(range(len(self._layers)), record):
            self._logprobs(ids, (0,), 1, self._prefill(ids))
        if len(outputs) < len(self._layers) or len({output.shape for output in outputs.values()}) > 1:
            raise self._forward.causal_lm.unidentified_heads()
        return _as_floats(torch.stack([outputs[layer] for layer in sorted(outputs)]))

    def effects(self, ids: Sequence[int], continuation: Sequence[int], outputs: Floats) -> Floats:
        """Returns the effect of each head on a continuation's probability; see `Heads.effects`."""
        replacements = self._tensor(outputs)
        heads = [(layer, head) for layer in range(len(self._layers)) for head in range(self._heads)]
        at_once = max(1, self._batch_tokens // len(continuation)) if self._forward.shares_prefixes else 1
        with torch.no_grad():
            prefix = self._prefill(ids)
            logprobs = [self._logprobs(ids, continuation, 1, prefix)]
            for begin in range(0, len(heads), at_once):
                logprobs.append(self._patched(ids, continuation, heads[begin : begin + at_once], replacements, prefix))
        original, *patched = torch.cat(logprobs).cpu().double().exp()
        return _as_floats(torch.stack(patched) - original).reshape(len(self._layers), self._heads)

    def projected(self, outputs: Floats) -> Floats:
        """Returns what each head adds to the residual stream; see `Heads.projected`."""
        with torch.no_grad():
            return _as_floats(torch.stack([self._project(layer, rows) for layer, rows in enumerate(self._tensor(outputs))]))

    def _project(self, layer: int, outputs: Tensor) -> Tensor:
        """Returns what each head of a layer adds, (heads, d_model). outputs: (heads, width)."""
        projection = self._projections[layer]
        rows = torch.block_diag(*outputs).to(self._forward.dtype)  # type: ignore[no-untyped-call]
        bias = projection(torch.zeros_like(rows[:1]))
        added: Tensor = (projection(rows) - bias).float()
        if layer in self._norms:  # a norm is not linear: scale each head as it scales the sum of all
            total = added.sum(0) + bias.float()[0]
            normalized = self._norms[layer](total.to(self._forward.dtype)[None])[0].float()
            added = added * torch.where(total == 0, 0, normalized / total)
        return self._forward.causal_lm.residual_multiplier * added

    def _patched(
        self, ids: Sequence[int], continuation: Sequence[int], heads: LayersAndHeads, replacements: Tensor, prefix: KeyValues
    ) -> Tensor:
        """Returns the continuation's log-probability with one of these heads replaced at a time, shape (heads,).

        replacements: (layers, heads, width).
        """

        def replace(layer: int, states: Tensor) -> Tensor:
            new = states.clone(memory_format=torch.contiguous_format)
            copies = new.view(len(heads), -1, self._heads, new.shape[-1] // self._heads)
            for copy, (head_layer, head) in enumerate(heads):
                if head_layer == layer:
                    copies[copy, -len(continuation), head] = replacements[layer, head].to(new.dtype)
            return new

        with self._projection_hooks(sorted({layer for layer, _ in heads}), replace):
            return self._logprobs(ids, continuation, len(heads), prefix)

    def _prefill(self, ids: Sequence[int]) -> KeyValues:
        return self._forward.prefill(tuple(ids[:-1]))

    def _logprobs(self, ids: Sequence[int], continuation: Sequence[int], copies: int, prefix: KeyValues) -> Tensor:
        """Returns the continuation's log-probability in each of several copies of the request, shape (copies,)."""
        request = Request(input=TextInput(ids=tuple(ids)), verb=Score(continuations=(tuple(continuation),)))
        logprobs = self._forward.token_logprobs([request] * copies, len(ids) - 1, prefix, NO_INTERVENTIONS)
        return torch.stack([continuations[0].sum() for continuations in logprobs])

    @contextmanager
    def _projection_hooks(self, layers: Sequence[int], function: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
        """Context manager that calls a function with each layer and the input of its projection, (..., T, heads * width).

        If the function returns a tensor, it replaces the input.
        """

        def hook_for(layer: int) -> Callable[[nn.Module, HookInputs], HookInputs | None]:
            def hook(module: nn.Module, inputs: HookInputs) -> HookInputs | None:
                new = function(layer, inputs[0])
                return None if new is None else (new, *inputs[1:])

            return hook

        with ExitStack() as stack:
            for layer in layers:
                stack.callback(self._projections[layer].register_forward_pre_hook(hook_for(layer)).remove)
            yield

    @contextmanager
    def _detecting_norms(self) -> Iterator[None]:
        """Context manager in which a forward pass finds the norms that layers apply to the output of attention (Gemma, OLMo 2).

        Such a norm is a child of the layer whose input is the tensor that the output projection returned.
        """
        outputs: dict[int, Tensor] = {}

        def record_for(layer: int) -> Callable[[nn.Module, HookInputs, Tensor], None]:
            return lambda module, inputs, output: outputs.__setitem__(layer, output)

        def compare_for(layer: int) -> Callable[[nn.Module, HookInputs], None]:
            def compare(module: nn.Module, inputs: HookInputs) -> None:
                if inputs and layer in outputs and inputs[0].data_ptr() == outputs[layer].data_ptr():
                    self._norms.setdefault(layer, module)

            return compare

        with ExitStack() as stack:
            for number, (layer, projection) in enumerate(zip(self._layers, self._projections, strict=True)):
                stack.callback(projection.register_forward_hook(record_for(number)).remove)
                for child in layer.children():
                    if any(True for _ in child.parameters()):
                        stack.callback(child.register_forward_pre_hook(compare_for(number)).remove)
            yield

    def _tensor(self, outputs: Floats) -> Tensor:
        return torch.from_numpy(np.asarray(outputs, "<f4")).to(self._forward.device)


def _as_floats(tensor: Tensor) -> Floats:
    floats: Floats = tensor.cpu().double().numpy()
    return floats
