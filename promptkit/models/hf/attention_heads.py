"""Attention heads, read and changed by hooks on what a layer's output projection is given.

Of a prompt only the last token is computed for each head that is changed: a copy of it for each, side by side, behind the
keys and values of the tokens before, which are computed once (the plain forward computes the prompt anew for each).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from promptkit.core.errors import Unsupported
from promptkit.core.inputs import NO_INTERVENTIONS, TextInput
from promptkit.core.requests import Request, Score
from promptkit.models.hf.attention import KeyValues
from promptkit.models.hf.interventions import layers_of
from promptkit.models.hf.packed import PackedForward
from promptkit.models.hf.padded import PaddedForward

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

PROJECTIONS = frozenset({"o_proj", "c_proj", "out_proj", "dense", "wo"})
"""What a layer's attention may call its output projection."""
Places = list[tuple[int, int]]
"""(layer, head), each counted from 0."""


class AttentionHeads:
    """See `promptkit.core.model.Heads`."""

    def __init__(self, forward: PackedForward | PaddedForward, *, batch_tokens: int) -> None:
        """At most `batch_tokens` tokens are computed at once. Raises Unsupported for a model whose heads cannot be told."""
        config = forward.model.config.get_text_config()
        self._forward = forward
        self._batch_tokens = batch_tokens
        self._layers = layers_of(forward.model)
        self._projections = [_projection(forward.model, layer) for layer in self._layers]
        self._heads: int = config.num_attention_heads
        self._multiplier = float(getattr(config, "residual_multiplier", None) or 1.0)
        self._norms: dict[int, nn.Module] = {}
        with self._seeking_norms():
            self.outputs((1, 2, 3))

    def outputs(self, ids: Sequence[int]) -> Floats:
        """See `Heads.outputs`."""
        found: dict[int, Tensor] = {}

        def kept(layer: int, states: Tensor) -> None:
            found[layer] = states[0, -1].float().reshape(self._heads, -1)

        with torch.no_grad(), self._hooked(range(len(self._layers)), kept):
            self._scores(ids, (0,), 1, self._before(ids))
        if len(found) < len(self._layers) or len({each.shape for each in found.values()}) > 1:
            raise _unidentified(self._forward.model)
        return _values(torch.stack([found[layer] for layer in sorted(found)]))

    def effects(self, ids: Sequence[int], continuation: Sequence[int], outputs: Floats) -> Floats:
        """See `Heads.effects`."""
        given = self._tensor(outputs)
        places = [(layer, head) for layer in range(len(self._layers)) for head in range(self._heads)]
        most = max(1, self._batch_tokens // len(continuation)) if self._forward.reuses else 1
        with torch.no_grad():
            before = self._before(ids)
            found = [self._scores(ids, continuation, 1, before)]
            for begin in range(0, len(places), most):
                found.append(self._changed(ids, continuation, places[begin : begin + most], given, before))
        plain, *changed = torch.cat(found).cpu().double().exp()
        return _values(torch.stack(changed) - plain).reshape(len(self._layers), self._heads)

    def projected(self, outputs: Floats) -> Floats:
        """See `Heads.projected`."""
        with torch.no_grad():
            return _values(torch.stack([self._added(layer, each) for layer, each in enumerate(self._tensor(outputs))]))

    def _added(self, layer: int, outputs: Tensor) -> Tensor:
        """Of the heads of one layer, (heads, d_model). outputs: (heads, width)."""
        projection = self._projections[layer]
        rows = torch.block_diag(*outputs).to(self._forward.dtype)  # type: ignore[no-untyped-call]
        bias = projection(torch.zeros_like(rows[:1]))
        each: Tensor = (projection(rows) - bias).float()
        if layer in self._norms:
            whole = each.sum(0) + bias.float()[0]
            scaled = self._norms[layer](whole.to(self._forward.dtype)[None])[0].float()
            each = each * torch.where(whole == 0, 0, scaled / whole)
        return self._multiplier * each

    def _changed(
        self, ids: Sequence[int], continuation: Sequence[int], places: Places, given: Tensor, before: KeyValues
    ) -> Tensor:
        """The continuation's log-probability with each of these heads changed alone, (places,)."""

        def changed(layer: int, states: Tensor) -> Tensor:
            new = states.clone(memory_format=torch.contiguous_format)
            copies = new.view(len(places), -1, self._heads, new.shape[-1] // self._heads)
            for copy, (at, head) in enumerate(places):
                if at == layer:
                    copies[copy, -len(continuation), head] = given[layer, head].to(new.dtype)
            return new

        with self._hooked(sorted({layer for layer, _ in places}), changed):
            return self._scores(ids, continuation, len(places), before)

    def _before(self, ids: Sequence[int]) -> KeyValues:
        return self._forward.prefix(tuple(ids[:-1]))

    def _scores(self, ids: Sequence[int], continuation: Sequence[int], copies: int, before: KeyValues) -> Tensor:
        """The continuation's log-probability in each copy, whose last tokens are those of the row in turn, (copies,)."""
        request = Request(input=TextInput(ids=tuple(ids)), verb=Score(continuations=(tuple(continuation),)))
        found = self._forward.scores([request] * copies, len(ids) - 1, before, NO_INTERVENTIONS)
        return torch.stack([scores[0].sum() for scores in found])

    @contextmanager
    def _hooked(self, layers: Sequence[int], change: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
        """Inside, `change` sees what these layers' projections are given, (..., T, heads * width), and may give another."""

        def hook(layer: int) -> Callable[[Any, Any], Any]:
            def changed(_: Any, given: Any) -> Any:
                new = change(layer, given[0])
                return None if new is None else (new, *given[1:])

            return changed

        with ExitStack() as stack:
            for layer in layers:
                stack.callback(self._projections[layer].register_forward_pre_hook(hook(layer)).remove)
            yield

    @contextmanager
    def _seeking_norms(self) -> Iterator[None]:
        """Inside, a forward shows which layers norm what their attention gives, before they add it (Gemma, OLMo 2)."""
        given: dict[int, Tensor] = {}

        def projecting(layer: int) -> Callable[[Any, Any, Any], None]:
            return lambda _, __, output: given.__setitem__(layer, output)

        def norming(layer: int) -> Callable[[Any, Any], None]:
            def seen(module: nn.Module, told: Any) -> None:
                if told and layer in given and told[0].data_ptr() == given[layer].data_ptr():
                    self._norms.setdefault(layer, module)

            return seen

        with ExitStack() as stack:
            for number, (layer, projection) in enumerate(zip(self._layers, self._projections, strict=True)):
                stack.callback(projection.register_forward_hook(projecting(number)).remove)
                for child in layer.children():
                    if any(True for _ in child.parameters()):
                        stack.callback(child.register_forward_pre_hook(norming(number)).remove)
            yield

    def _tensor(self, outputs: Floats) -> Tensor:
        return torch.from_numpy(np.asarray(outputs, "<f4")).to(self._forward.model.device)


def _projection(model: Any, layer: nn.Module) -> nn.Module:
    """The output projection of a layer's attention."""
    found: list[nn.Module] = []
    for name, module in layer.named_modules():
        *interventions, own = name.split(".")
        if own in PROJECTIONS and any("att" in part for part in interventions):
            found.append(module)
    if len(found) != 1:
        raise _unidentified(model)
    return found[0]


def _unidentified(model: Any) -> Unsupported:
    kind = str(model.config.model_type)
    return Unsupported(
        "The attention heads of this model cannot be identified",
        code="unidentified-heads",
        got=f"a model of type {kind}",
        hint="Use another model",
        model_type=kind,
    )


def _values(numbers: Tensor) -> Floats:
    found: Floats = numbers.cpu().double().numpy()
    return found
