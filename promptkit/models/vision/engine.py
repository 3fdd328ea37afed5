"""The vision engine: the logits and features of frozen image classifiers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from importlib.metadata import version

import torch
from torch import Tensor, nn

from promptkit.core.arrays import Array
from promptkit.core.caller import engine_setting
from promptkit.core.errors import ModelError, Unsupported
from promptkit.core.locked_property import locked_property
from promptkit.core.model import LOADER, ImageCard, Precision
from promptkit.core.requests import Output, Request
from promptkit.models import registry
from promptkit.models.base import BaseEngine
from promptkit.models.files.device import device_of
from promptkit.models.files.weights import check_finite
from promptkit.models.finite import not_finite
from promptkit.models.hf.backends import reporting_failure
from promptkit.models.hf.memory import reporting_out_of_memory
from promptkit.models.vision.demo import DemoSource
from promptkit.models.vision.differentiable import TorchLogits
from promptkit.models.vision.forward import answer, check_requests, pixels_of_request
from promptkit.models.vision.network import Classifier, exact_convolutions
from promptkit.models.vision.optimization import TOLERANCE, optimize
from promptkit.models.vision.plan import plan_batches
from promptkit.models.vision.settings import DEMO, VisionSettings
from promptkit.models.vision.sources import ClassifierSource, TransformersSource
from promptkit.models.vision.structure import Structure, logits_of, structure_of

BATCH_SIZES = {"cpu": 32, "cuda": 128}
"""Type of device -> the default size of a batch."""
PROBE_IMAGES = 2


class VisionModel(BaseEngine):
    """An image classifier of transformers or PyTorch; its weights are loaded at the first request."""

    capabilities = registry.ENGINES["vision"].capabilities

    Settings = VisionSettings

    def __init__(self, name: str, settings: VisionSettings, source: ClassifierSource | None = None) -> None:
        """Resolves the name and reads the configuration.

        Args:
            name: `demo`, a folder or a hub id; with a source, any name.
            settings: The settings of the engine. `revision` and `size` are ignored with a source.
            source: Where the classifier comes from, if the name does not say so.

        Raises:
            ModelError: There is no such model, or it is not an image classifier.
            MissingPackage: The packages of the demo classifier are not installed.
        """
        self.name, self._settings = f"vision:{name}", settings
        self._source = source or _source_of(name, settings)
        self._notes: list[str] = []

    @cached_property
    def card(self) -> ImageCard:
        """The model's card."""
        preprocessing, structure = self._source.preprocessing, self._structure
        return ImageCard(
            size=preprocessing.size,
            channels=preprocessing.channels,
            mean=preprocessing.mean,
            std=preprocessing.std,
            class_names=tuple(self._source.class_names),
            layers=structure.layers,
            widths=structure.widths,
        )

    def identity(self) -> Mapping[str, object]:
        """Returns the content, settings and library versions that determine a result."""
        preprocessing = self._source.preprocessing
        return {
            "engine": "vision",
            "name": self.name,
            "content": self._source.content,
            "size": "x".join(map(str, preprocessing.size)),
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "device": self._device.type,
            "dtype": self._settings.dtype,
            "batch_size": self._batch_size,
            "torch": torch.__version__,
            **{package: version(package) for package in self._source.packages},
            **({} if self._source.loads_by_name else {LOADER: "load_module"}),
        }

    def notes(self) -> Sequence[str]:
        """Returns how the preprocessing differs from the model's files, and which optimizations were not possible."""
        return (*self._source.preprocessing.notes, *self._notes)

    def load(self) -> None:
        """Loads the weights, checks them, and folds batch norms."""
        _ = self._classifier

    def close(self) -> None:
        """Releases the weights."""
        self.__dict__.pop("_classifier", None)
        self._notes.clear()

    def batches(self, requests: Sequence[Request]) -> Sequence[tuple[int, ...]]:
        """Returns the indices of the requests that are computed together; see `Model.batches`."""
        return plan_batches(requests, self._batch_size)

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        """Yields the outputs of one batch of the plan at a time; see `Model.answer`."""
        self.check_supported(requests)
        finished = frozenset(done)
        for batch in self.batches(requests):
            if not finished.issuperset(batch):
                with self._reporting_out_of_memory(f"A batch of {len(batch)} images"):
                    outputs = answer(self._classifier, [requests[index] for index in batch])
                yield batch, outputs

    def pixels(self, requests: Sequence[Request]) -> list[Array]:
        """Returns the pixels that the model reads for each request; see `ShowsPixels.pixels`."""
        self.check_supported(requests)
        return [pixels_of_request(self._classifier, request) for request in requests]

    def differentiable(
        self, requests: Sequence[Request], *, checkpointing: bool = False, precision: Precision = "no"
    ) -> TorchLogits:
        """Returns the logits of requests as functions of their interventions; see `Differentiable.differentiable`."""
        self.check_supported(requests)
        return TorchLogits(
            self._classifier, requests, batch_size=self._batch_size, checkpointing=checkpointing, precision=precision
        )

    def check_supported(self, requests: Sequence[Request]) -> None:
        """Raises Unsupported or InputError if the model cannot answer a request; nothing is loaded."""
        super().check_supported(requests)
        card = self.card
        check_requests(requests, classes=len(card.class_names), layers=len(card.layers), channels=card.channels, name=self.name)

    @cached_property
    def _structure(self) -> Structure:
        skeleton = self._source.skeleton()
        if skeleton is not None:
            try:
                return structure_of(skeleton.eval(), self._probe(torch.device("meta")), self.name)
            except Exception:  # the code of a model may fail in any way on the meta device; the weights are loaded instead
                pass
        self.load()
        return self._structure

    @locked_property
    def _classifier(self) -> Classifier:
        module = self._source.module().eval().requires_grad_(False)
        with self._reporting_out_of_memory(f"The model {self.name}"):
            module = module.to(self._device)
        check_finite(module, self.name)
        probe = self._probe(self._device)
        with reporting_failure(self.name, "an image"), exact_convolutions(self._device):
            structure = structure_of(module, probe, self.name)
            _check(module, structure, probe, len(self._source.class_names), self.name)
            self._notes += optimize(module, structure, probe, self.name)
        self.__dict__["_structure"] = structure
        return Classifier(module.to(getattr(torch, self._settings.dtype)), structure, self._source.preprocessing, self.name)

    def _reporting_out_of_memory(self, what: str) -> AbstractContextManager[None]:
        hint = (
            f"Use smaller batches or images, such as {engine_setting('batch_size', 8)} or {engine_setting('size', 96)}, or "
            f"{engine_setting('dtype', 'bfloat16')}"
        )
        return reporting_out_of_memory(what, model=self.name, device=self._device, hint=hint)

    def _probe(self, device: torch.device) -> Tensor:
        """Returns images of random values, normalized."""
        preprocessing = self._source.preprocessing
        shape = (PROBE_IMAGES, preprocessing.channels, *preprocessing.size)
        if device.type == "meta":
            return torch.empty(shape, device=device)
        mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
        return ((torch.rand(shape, generator=torch.Generator().manual_seed(0)) - mean) / std).to(device)

    @cached_property
    def _device(self) -> torch.device:
        return device_of(self._settings.device)

    @property
    def _batch_size(self) -> int:
        return self._settings.batch_size or BATCH_SIZES.get(self._device.type, BATCH_SIZES["cpu"])


def _source_of(name: str, settings: VisionSettings) -> ClassifierSource:
    if name == DEMO:
        return DemoSource(settings.size)
    return TransformersSource(name, revision=settings.revision, size=settings.size)


def _check(module: nn.Module, structure: Structure, probe: Tensor, names: int, name: str) -> None:
    """Checks a loaded classifier: finite logits, a name for each, and results that depend on nothing but the image."""
    if structure.classes != names:
        raise ModelError(
            f"The model {name} has {structure.classes} classes and {names} class names",
            code="wrong-class-names",
            hint="Give the name of each class in the order of the logits",
            model=name,
            classes=structure.classes,
            names=names,
        )
    with torch.no_grad():
        together, again = (logits_of(module(probe.clone()), len(probe), name) for _ in range(2))
        alone = torch.cat([logits_of(module(image[None].clone()), 1, name) for image in probe])
    if not together.isfinite().all():
        raise not_finite("a logit", model=name)
    if float((together - again).abs().max()) > TOLERANCE:
        raise Unsupported(
            f"The model {name} returns different logits for the same images",
            code="not-deterministic",
            hint="Use a module without random numbers in evaluation mode; dropout must depend on `self.training`",
            model=name,
        )
    if float((together - alone).abs().max()) > TOLERANCE:
        raise Unsupported(
            f"The logits of the model {name} depend on the other images of a batch",
            code="depends-on-batch",
            hint="Use a module whose batch norms have running statistics, and that computes each image on its own",
            model=name,
        )
