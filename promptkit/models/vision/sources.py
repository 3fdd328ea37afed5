"""Sources of classifiers: the protocol, and image classifiers of transformers."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from promptkit.core.errors import ModelError
from promptkit.models.files.pretrained import fetched, load_weights, read_config
from promptkit.models.files.quiet import quiet
from promptkit.models.files.source import resolve
from promptkit.models.vision.preprocessing import Preprocessing, preprocessing_of
from promptkit.models.vision.settings import KNOWN

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class ClassifierSource(Protocol):
    """A classifier that can be loaded."""

    loads_by_name: bool
    """Whether `load` returns it for its name, so that a command can repeat its runs."""

    @property
    def packages(self) -> Sequence[str]:
        """The packages besides torch whose code computes the logits."""
        ...

    @property
    def class_names(self) -> Sequence[str]:
        """The names of the classes, in the order of the logits."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """The size and the normalization of the images that it reads."""
        ...

    @property
    def content(self) -> str:
        """An identifier of the weights and everything else that determines results."""
        ...

    def module(self) -> nn.Module:
        """Returns the classifier in float32 on the CPU, which the caller may change."""
        ...

    def skeleton(self) -> nn.Module | None:
        """Returns the classifier on the meta device, to find its structure without its weights; None if there is none."""
        ...


class TransformersSource:
    """An image classifier of transformers: a folder or a hub id."""

    packages = ("transformers",)
    loads_by_name = True

    def __init__(self, name: str, *, revision: str | None, size: tuple[int, int] | None) -> None:
        """Resolves the name and reads the configuration.

        Args:
            name: The folder or hub id.
            revision: Branch, tag or commit of a hub id.
            size: The height and width of the images; None for the size of the image processor.

        Raises:
            ModelError: The model is not an image classifier, or its files cannot be read.
        """
        self._name, self._stated_size = name, size
        self._source = resolve(name, revision, KNOWN)
        self._config = read_config(self._source, name)
        _check_classifier(self._config, name)

    @property
    def class_names(self) -> Sequence[str]:
        """The names of the classes in the configuration."""
        return [str(name) for _, name in sorted((int(number), name) for number, name in (self._config.id2label or {}).items())]

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of the image processor in the model's files."""
        # In version 5.17 the class that `transformers` itself exports needs torchvision; this one does not.
        from transformers.models.auto.image_processing_auto import AutoImageProcessor

        processor = dict(fetched(AutoImageProcessor, self._source, self._name).to_dict())
        stated = self._stated_processor()
        if self._stated_size:
            height, width = self._stated_size
            given = {"size": {"height": height, "width": width}, "do_center_crop": False}
            processor, stated = processor | given, stated | given
        return preprocessing_of(processor, stated, int(getattr(self._config, "num_channels", 3)), self._name)

    def _stated_processor(self) -> dict[str, Any]:
        """Returns the settings of the image processor that its file states; it has defaults for all others."""
        from transformers.image_processing_base import ImageProcessingMixin

        mixin: Any = ImageProcessingMixin
        with quiet():
            return dict(mixin.get_image_processor_dict(self._source.location, revision=self._source.commit)[0])

    @cached_property
    def content(self) -> str:
        """The commit, or a hash of the files."""
        return self._source.fingerprint()

    def module(self) -> nn.Module:
        """Returns the model, whose weights all come from its files."""
        from transformers import AutoModelForImageClassification

        auto: Any = AutoModelForImageClassification
        return self._sized(load_weights(auto, self._source, self._config, self._name, dtype=torch.float32))

    def skeleton(self) -> nn.Module:
        """Returns the model without its weights."""
        from transformers import AutoModelForImageClassification

        auto: Any = AutoModelForImageClassification
        with torch.device("meta"):
            return self._sized(auto.from_config(self._config, trust_remote_code=False))

    def _sized(self, model: nn.Module) -> nn.Module:
        """Returns a model for images of the size; position embeddings are interpolated unless the model was trained on it."""
        trained = getattr(self._config, "image_size", None)
        height, width = self.preprocessing.size
        interpolates = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        if interpolates and trained not in (height if height == width else None, (height, width), [height, width]):
            model.forward = partial(model.forward, interpolate_pos_encoding=True)
        return model


def _check_classifier(config: PretrainedConfig, name: str) -> None:
    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING

    if type(config) not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        raise ModelError(
            f"The model {name} is not an image classifier of transformers",
            code="not-an-image-classifier",
            got=f"a model of type {config.model_type}",
            hint="Use an image classifier such as microsoft/resnet-18, vision:demo, or any module with pk.load_module",
            model=name,
            model_type=str(config.model_type),
        )
