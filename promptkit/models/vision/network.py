"""A frozen classifier, which computes logits and pooled features from normalized images."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext

import torch
from torch import Tensor, nn

from promptkit.core.hashing import Hasher
from promptkit.models.vision.preprocessing import Preprocessing
from promptkit.models.vision.structure import POOLED, Structure, first_tensor, logits_of, pool


def exact_convolutions(device: torch.device) -> AbstractContextManager[None]:
    """Context manager in which convolutions on a GPU are computed in float32, which cuDNN rounds to TF32 by default."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


class Classifier:
    """A frozen classifier in evaluation mode, with its normalization."""

    def __init__(self, module: nn.Module, structure: Structure, preprocessing: Preprocessing, name: str) -> None:
        """Stores the arguments.

        Args:
            module: The classifier, in evaluation mode, without gradients, on its device.
            structure: Its structure.
            preprocessing: Its size and normalization.
            name: The model as the user named it, for error messages.
        """
        self.module, self.structure, self.size = module, structure, preprocessing.size
        self._name = name
        weight = next(module.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        self._mean, self._std = (
            torch.tensor(values, device=self.device)[:, None, None] for values in (preprocessing.mean, preprocessing.std)
        )

    def logits(self, pixels: Tensor) -> Tensor:
        """Returns the logits of images in float32, shape (N, classes).

        Args:
            pixels: Images of the model's size, shape (N, C, H, W), values between 0 and 1.
        """
        images = ((pixels - self._mean) / self._std).to(self.dtype)
        with exact_convolutions(self.device):
            return logits_of(self.module(images), len(pixels), self._name).float()

    def outputs(self, pixels: Tensor, layers: Collection[int] = ()) -> tuple[Tensor, Mapping[int, Tensor]]:
        """Returns the logits, and the pooled features of layers by their index, shape (N, features), of one forward pass.

        Args:
            pixels: As for `logits`.
            layers: Indices of layers of the structure, not negative.
        """
        features: dict[int, Tensor] = {}

        def keep(number: int, value: object) -> None:
            states = first_tensor(value)
            assert states is not None  # the layers of a structure return tensors
            features[number] = pool(states).float()

        with ExitStack() as stack:
            for number in layers:
                if self.structure.layers[number] == POOLED:
                    module = self.module.get_submodule(self.structure.output_layer)
                    hook = module.register_forward_pre_hook(
                        lambda _, read, named, number=number: keep(number, (*read, *named.values())), with_kwargs=True
                    )
                else:
                    module = self.module.get_submodule(self.structure.layers[number])
                    hook = module.register_forward_hook(lambda _, read, output, number=number: keep(number, output))
                stack.callback(hook.remove)
            return self.logits(pixels), features

    def weights_hash(self) -> str:
        """Returns the SHA-256 of the names and values of all weights and buffers."""
        return state_hash(self.module)


def state_hash(module: nn.Module) -> str:
    """Returns the SHA-256 of the names, types, shapes and values of a module's weights and buffers."""
    hasher = Hasher()
    for name, value in module.state_dict().items():
        hasher.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0")
        hasher.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()
