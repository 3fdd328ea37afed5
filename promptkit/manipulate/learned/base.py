"""The base class of the learned manipulations: their parameters, and the defaults of the `Learnable` protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from promptkit.core.arguments import checked
from promptkit.core.arrays import Array, check_parameters, parameters_digest
from promptkit.core.caller import by_caller
from promptkit.core.capabilities import Feature
from promptkit.core.errors import CheckpointError
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.interventions import Interventions
from promptkit.core.manipulation import BindContext, Embed, Learnable, Transform
from promptkit.core.model import ModelCard
from promptkit.core.registry import parameters_field, trained_rows_field
from promptkit.core.taxonomy import Kind

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedManipulation(ABC):
    """A manipulation with trained parameters; the base class of soft prompts, prefixes, steering vectors and others."""

    parameters: Mapping[str, Array] = parameters_field()
    """The trained parameters by name; empty before training."""
    base: Mapping[str, str | int] = parameters_field()
    """The identity of the model that the parameters were trained on; empty before training."""
    fitted_on: frozenset[Fingerprint] = trained_rows_field()
    """The labeled rows that the parameters were trained on or selected by; empty before training."""

    name: ClassVar[str]
    kind: ClassVar[Kind]
    requires: ClassVar[frozenset[Feature]]
    """What a model must support."""
    title: ClassVar[str]
    """Its name in error messages, with an article."""
    shapes: ClassVar[Mapping[str, str]]
    """The names and dimensions of the trained parameters, such as `{"vectors": "length d_model"}`."""
    is_discrete: ClassVar[bool] = False
    fixed_parameters: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        checked(self)
        self._check_settings()
        check_parameters(self.title, self.parameters, self.shapes, **self._sizes())

    @abstractmethod
    def _check_settings(self) -> None:
        """Raises InputError for settings that are out of range or exclude one another."""

    @abstractmethod
    def _sizes(self) -> Mapping[str, int]:
        """Returns the sizes of dimensions that the settings fix; 0 leaves a size open."""

    @property
    def slots(self) -> Mapping[str, int]:
        """The template slots that it fills: name -> length."""
        return {}

    @property
    def context_tokens(self) -> int:
        """The number of tokens that it takes from the model's context."""
        return 0

    @property
    @abstractmethod
    def learning_rate(self) -> float | None:
        """The default peak learning rate for gradient descent; None for discrete parameters."""

    def settings(self) -> Mapping[str, object]:
        """Returns everything that determines a result: a hash of the parameters, or before training the initialization."""
        trained = self._trained_settings() if self.parameters else self._initial_settings()
        return {"name": self.name, **self._placement_settings(), **trained}

    @abstractmethod
    def _placement_settings(self) -> Mapping[str, object]:
        """Returns the settings that matter before and after training: the size and where in the model it applies."""

    @abstractmethod
    def _initial_settings(self) -> Mapping[str, object]:
        """Returns the settings that determine the initial parameters."""

    def _trained_settings(self) -> Mapping[str, object]:
        return {"sha256": parameters_digest(self.parameters)}

    @abstractmethod
    def bind(self, bind_context: BindContext) -> Transform:
        """Returns the transform that applies the current parameters to encoded prompts."""

    @abstractmethod
    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """Returns the parameters that training starts from: the trained ones, if there are any."""

    @abstractmethod
    def interventions(self, trained: Mapping[str, Tensor], embed: Embed) -> Interventions[Tensor]:
        """Returns the interventions on the forward pass, as a differentiable function of the parameters."""

    def with_parameters(
        self, trained: Mapping[str, Array], base: Mapping[str, str | int], fitted_on: frozenset[Fingerprint] = frozenset()
    ) -> Self:
        """Returns a copy with the trained parameters, the identity of the model and the rows that they were trained on."""
        return replace(self, parameters=self._saved_parameters(trained), base=dict(base), fitted_on=fitted_on)

    def _saved_parameters(self, trained: Mapping[str, Array]) -> Mapping[str, Array]:
        """Returns the parameters that are saved, computed from those that were trained."""
        return dict(trained)

    def differentiable_form(self, bind_context: BindContext) -> Learnable:
        """Returns an equivalent manipulation that gradients flow through: itself, by default."""
        return self

    def describe(self, card: ModelCard) -> Mapping[str, object]:
        """Returns a readable form of the trained parameters for reports; empty by default."""
        return {}

    def canonical(self, card: ModelCard) -> Self:
        """Returns an equivalent manipulation in the form that other formats know, for the model with this card."""
        return self


def check_trained(learned: Learnable) -> None:
    """Raises CheckpointError if the manipulation has no trained parameters."""
    if not learned.parameters:
        raise CheckpointError(
            f"The manipulation {learned.name} has no trained parameters to save",
            code="not-trained",
            hint="Train it: " + by_caller(command="promptkit train", python="pk.train"),
            manipulation=learned.name,
        )
