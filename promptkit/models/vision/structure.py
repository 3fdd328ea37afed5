"""The structure of a classifier, found by running it once: its classes, its layers, and the batch norms that can be folded.

Hooks on all modules record what each of them reads and returns, so that this works for any PyTorch module. On the meta device
nothing is computed, and only shapes are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from promptkit.core.errors import ModelError

POOLED = "pooled"
"""The name of the last layer: the features that the classifier's output layer reads."""
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """The structure of a classifier."""

    classes: int
    """The number of logits."""
    layers: tuple[str, ...]
    """The names of the modules whose outputs are layers, in the order in which they end, and `POOLED`."""
    widths: tuple[int, ...]
    """The number of features of each layer."""
    output_layer: str
    """The name of the last module with weights, whose input is the layer `POOLED`."""
    foldable: tuple[tuple[str, str], ...]
    """The names of convolutions or linear layers, each with the batch norm that is the only reader of its output."""


@dataclass(slots=True, kw_only=True)
class _Call:
    """The last call of a module."""

    number: int
    """How many modules ended before it."""
    read: Tensor | None
    returned: Tensor | None
    version: int
    """How many times the returned tensor had been changed in place when the module ended."""
    source: str
    """The module that returned the tensor that it reads, if the tensor was not changed since; otherwise empty."""


@dataclass(slots=True)
class _Trace:
    """The calls of all modules in one forward pass."""

    calls: dict[str, _Call] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    producers: dict[int, str] = field(default_factory=dict)
    """The innermost module that returned a tensor last, by the tensor's id."""
    kept: list[Tensor] = field(default_factory=list)
    """All returned tensors, so that no id is used again."""


def structure_of(module: nn.Module, images: Tensor, name: str) -> Structure:
    """Runs a classifier once and returns its structure.

    The layers are the children of the outermost `nn.Sequential` and `nn.ModuleList` containers that are run as a whole and
    consist of several modules: blocks or stages. If there are none, they are all children of such containers with weights,
    except a convolution that a batch norm follows.

    Args:
        module: The classifier, in evaluation mode.
        images: Normalized images; they may be on the meta device, like the module.
        name: The model as the user named it, for error messages.

    Raises:
        ModelError: The module does not return logits, or has no weights.
    """
    trace, logits = _traced(module, images, name)
    modules = dict(module.named_modules())
    weighted = [called for called in trace.calls if called and _has_weights(modules[called], recurse=False)]
    if not weighted:
        raise _no_logits(name, "no module in it has weights")
    output_layer = max(weighted, key=lambda called: trace.calls[called].number)
    foldable = _foldable(modules, trace)
    layers = _layers(modules, trace, output_layer, len(images), {first for first, _ in foldable})
    ends = {id(trace.calls[layer].returned) for layer in layers}
    states = [trace.calls[layer].returned for layer in layers] + [trace.calls[output_layer].read]
    return Structure(
        classes=logits.shape[1],
        layers=(*layers, POOLED),
        widths=tuple(pool(state).shape[1] for state in states if state is not None),
        output_layer=output_layer,
        foldable=tuple(pair for pair in foldable if id(trace.calls[pair[0]].returned) not in ends),
    )


def first_tensor(value: object) -> Tensor | None:
    """Returns the first tensor of what a module reads or returns; None if there is none."""
    if isinstance(value, Tensor):
        return value
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return next((part for part in parts if isinstance(part, Tensor)), None)


def logits_of(output: object, rows: int, name: str) -> Tensor:
    """Returns the logits in the output of a classifier: a tensor, or `logits` in a mapping, shape (rows, classes).

    Raises:
        ModelError: There are none of that shape.
    """
    logits = output.get("logits") if isinstance(output, Mapping) else output
    if not isinstance(logits, Tensor):
        raise _no_logits(name, f"it returns {type(output).__name__}")
    if logits.dim() != 2 or len(logits) != rows:
        raise _no_logits(name, f"it returns shape {tuple(logits.shape)} for {rows} images")
    return logits


def pool(states: Tensor) -> Tensor:
    """Returns the mean over the positions of each image, shape (rows, features).

    Features are the second axis of (rows, features, height, width), and the last of (rows, positions, features). If the second
    and the third of four axes are equal and differ from the last, the axes are (rows, height, width, features).
    """
    if states.dim() == 4:
        last = states.shape[1] == states.shape[2] != states.shape[3]
        return states.mean((1, 2)) if last else states.mean((2, 3))
    return states.mean(1) if states.dim() == 3 else states.flatten(1)


def _traced(module: nn.Module, images: Tensor, name: str) -> tuple[_Trace, Tensor]:
    trace = _Trace()
    with ExitStack() as stack, torch.no_grad():
        for path, child in module.named_modules():
            handle = child.register_forward_pre_hook(_starting(trace, path), with_kwargs=True)
            stack.callback(handle.remove)
            stack.callback(child.register_forward_hook(_ending(trace, path, child)).remove)
        return trace, logits_of(module(images.clone()), len(images), name)


def _starting(trace: _Trace, path: str) -> Callable[[nn.Module, tuple[object, ...], dict[str, object]], None]:
    def record(module: nn.Module, positional: tuple[object, ...], named: dict[str, object]) -> None:
        read = first_tensor(positional)
        if read is None:
            read = first_tensor(named)
        source = trace.producers.get(id(read), "") if read is not None else ""
        unchanged = source and read is not None and trace.calls[source].version == read._version
        trace.calls[path] = _Call(number=-1, read=read, returned=None, version=-1, source=source if unchanged else "")

    return record


def _ending(trace: _Trace, path: str, child: nn.Module) -> Callable[[nn.Module, tuple[object, ...], object], None]:
    innermost = isinstance(child, (_ConvNd, nn.Linear)) or not _has_children(child)

    def record(module: nn.Module, positional: tuple[object, ...], output: object) -> None:
        call, returned = trace.calls[path], first_tensor(output)
        call.number, call.returned = sum(trace.counts.values()), returned
        trace.counts[path] = trace.counts.get(path, 0) + 1
        if returned is not None:
            trace.kept.append(returned)
            call.version = returned._version
            if innermost:
                trace.producers[id(returned)] = path

    return record


def _foldable(modules: Mapping[str, nn.Module], trace: _Trace) -> list[tuple[str, str]]:
    """Returns pairs of a convolution or linear layer and the batch norm that follows it, each run once."""
    pairs = []
    for path, call in trace.calls.items():
        norm, source = modules[path], modules[call.source] if call.source else None
        folds = isinstance(source, (_ConvNd, nn.Linear)) and not isinstance(source, _ConvTransposeNd)
        if isinstance(norm, NORMS) and norm.running_mean is not None and folds:
            pairs.append((call.source, path))
    readers: dict[str, int] = {}
    for call in trace.calls.values():
        readers[call.source] = readers.get(call.source, 0) + 1
    return [pair for pair in pairs if readers[pair[0]] == trace.counts[pair[0]] == trace.counts[pair[1]] == 1]


def _layers(modules: Mapping[str, nn.Module], trace: _Trace, output_layer: str, rows: int, before_norms: set[str]) -> list[str]:
    """Returns the names of the layers before the output layer, in the order in which they end."""

    def usable(path: str) -> bool:
        call, state = trace.calls[path], trace.calls[path].returned
        inside = output_layer == path or output_layer.startswith(f"{path}.")
        shaped = state is not None and state.is_floating_point() and 2 <= state.dim() <= 4 and len(state) == rows
        weighted = _has_weights(modules[path])
        return shaped and weighted and not inside and call.number < trace.calls[output_layer].number

    children = [path for path in _children_of_containers(modules[""], "", trace) if usable(path)]
    blocks = [path for path in children if not isinstance(modules[path], _ConvNd) and _has_children(modules[path])]
    layers = blocks or [path for path in children if path not in before_norms]
    return sorted(layers, key=lambda path: trace.calls[path].number)


def _children_of_containers(module: nn.Module, prefix: str, trace: _Trace) -> Iterator[str]:
    container = isinstance(module, (nn.Sequential, nn.ModuleList))
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if container and path in trace.calls:
            yield path
        else:
            yield from _children_of_containers(child, f"{path}.", trace)


def _has_children(module: nn.Module) -> bool:
    return any(True for _ in module.children())


def _has_weights(module: nn.Module, *, recurse: bool = True) -> bool:
    return any(True for _ in module.parameters(recurse=recurse))


def _no_logits(name: str, reason: str) -> ModelError:
    return ModelError(
        f"The module of the model {name} is not a classifier of images: {reason}",
        code="no-logits",
        hint="Use a module that returns one logit for each image and class, or a mapping with such `logits`",
        model=name,
        reason=reason,
    )
