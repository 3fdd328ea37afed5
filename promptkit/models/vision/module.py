"""Any classifier of PyTorch as a frozen model."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

from torch import nn

from promptkit.core.arguments import check_arguments
from promptkit.core.errors import InputError
from promptkit.core.hashing import short_hash
from promptkit.models.registry import validated
from promptkit.models.vision.engine import VisionModel
from promptkit.models.vision.network import state_hash
from promptkit.models.vision.preprocessing import Preprocessing, given_preprocessing

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""An address in memory, which the description of a module may contain."""


class ModuleSource:
    """A module of PyTorch. It is copied, so that later changes of the original have no effect."""

    packages = ()
    loads_by_name = False

    def __init__(self, module: nn.Module, preprocessing: Preprocessing, class_names: Sequence[str]) -> None:
        """Copies the module; `content` is a hash of its weights and of the description of its submodules."""
        self._module = copy.deepcopy(module).float().cpu()
        self.preprocessing, self.class_names = preprocessing, tuple(class_names)
        described = ADDRESS.sub("", repr(module))
        self.content = f"module:{state_hash(self._module)[:32]} code:{short_hash(f'{type(module).__qualname__} {described}')}"

    def module(self) -> nn.Module:
        """Returns a copy of the module."""
        return copy.deepcopy(self._module)

    def skeleton(self) -> None:
        """Returns None: the weights are loaded anyway."""
        return


@check_arguments("load_module")
def load_module(
    module: nn.Module,
    *,
    size: int | tuple[int, int],
    normalization: tuple[Sequence[float], Sequence[float]],
    class_names: Sequence[str],
    name: str = "",
    **settings: object,
) -> VisionModel:
    """Returns a classifier of PyTorch as a model: one of timm or torchvision, or your own.

    The module is copied and frozen. It maps images (N, C, H, W) to logits (N, classes), or to a mapping with `logits`.
    Its results in evaluation mode must not depend on the other images of a batch, which is checked when it is first used.

    Args:
        module: The classifier with its trained weights.
        size: The height and width of the images that it reads, or one number for both.
        normalization: The mean and the standard deviation of each channel, for pixels between 0 and 1.
        class_names: The name of each class, in the order of the logits.
        name: The name in messages and results; the name of the module's class by default.
        settings: Settings of the vision engine: `device`, `dtype`, `batch_size`.

    Raises:
        InputError: An argument is invalid.
    """
    if not class_names:
        raise InputError(
            "The classifier needs a name for each of its classes",
            code="no-class-names",
            hint="Give them in the order of the logits, such as class_names=['cat', 'dog']",
            class_names=tuple(class_names),
        )
    preprocessing = given_preprocessing(size, *normalization)
    source = ModuleSource(module, preprocessing, [str(class_name) for class_name in class_names])
    return VisionModel(name or type(module).__name__, validated(VisionModel.Settings, "vision", settings), source)
