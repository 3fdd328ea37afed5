"""The table of engines, and the names and settings of models: `[engine:]name`, with the hf engine by default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import getdoc
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol, TypeVar, cast, runtime_checkable
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ConfigDict, ValidationError

from promptkit.core.arguments import check_arguments, check_value
from promptkit.core.capabilities import Capabilities, VerbName, union
from promptkit.core.errors import InputError, unknown
from promptkit.core.inputs import Modality
from promptkit.core.model import Model
from promptkit.core.registry import Registry

__all__ = ["Settings", "register"]  # the names of `pk.engines`


class Settings(BaseModel):
    """Base class of the settings of an engine: unknown names are refused, and texts from the command line are converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


BATCH_SIZE, BATCH_TOKENS = "batch_size", "batch_tokens"
"""The setting of the images that are computed at once, and of the tokens."""
S = TypeVar("S", bound=Settings)
ContentOf = Callable[[str, Mapping[str, object]], Mapping[str, object]]
"""Identifies the files of a model, given its name without the engine and the settings of the engine."""


@runtime_checkable
class EngineClass(Protocol):
    """The class of the models of an engine, usually derived from `promptkit.models.base.BatchedEngine`."""

    engine: str
    """The name before the colon in `engine:name`."""
    names: str
    """Valid names after `engine:`."""
    capabilities: Capabilities
    """What its models support."""
    Settings: type[Settings]
    """The settings, which `load` and `--set` take."""

    def __call__(self, name: str, settings: Any, /) -> Model:
        """Creates the model of that name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine: its class, and what it supports.

    The engines of the package are described without importing their classes, which take their capabilities from here.
    """

    name: str
    """The name before the colon in `engine:name`."""
    model_class: Callable[[], EngineClass]
    """Returns the class of its models, which it imports first."""
    settings: Callable[[], type[Settings]]
    """Returns the class of its settings, without importing the class of its models."""
    kinds: Mapping[str, Capabilities]
    """Kind of model, such as `causal`, -> what it supports. The kind is empty if there is only one."""
    names: str
    """Valid names after `engine:`."""
    description: str
    """A one-line description."""
    recorded: tuple[str, ...] = ()
    """The settings that a run records and that `--set` takes, under the same names."""
    runs_files: bool = False
    """Whether it runs language models from their files, which are known without importing its class."""
    content: Callable[[], ContentOf] | None = None
    """Returns a function that identifies the files of a model without importing its class. With its settings and the versions
    of packages they determine its outputs. None if only the model itself knows what determines them."""
    simulated: bool = False
    """Whether it simulates a model, so that hints do not name it."""

    def renamed(self, settings: Mapping[str, object]) -> dict[str, object]:
        """Returns settings in which `batch_size` has the name that this engine gives it."""
        fields = self.settings().model_fields
        own = next((name for name in (BATCH_SIZE, BATCH_TOKENS) if name in fields), BATCH_SIZE)
        if own in settings and BATCH_SIZE in settings and own != BATCH_SIZE:
            raise InputError(
                f"The settings {BATCH_SIZE} and {own} of the {self.name} engine mean the same",
                code="duplicate-setting",
                got=f"{BATCH_SIZE}={settings[BATCH_SIZE]} and {own}={settings[own]}",
                hint="Give one of them",
                setting=own,
                values=(settings[BATCH_SIZE], settings[own]),
            )
        return {own if name == BATCH_SIZE else name: value for name, value in settings.items()}

    @property
    def capabilities(self) -> Capabilities:
        """What at least one kind of its models supports."""
        return union(self.kinds.values())


class EngineTable(Registry[Engine]):
    """A table of engines by name."""

    def _entry(self, added: object) -> tuple[str, Engine]:
        if isinstance(added, Engine):
            return added.name, added
        if not isinstance(added, EngineClass):
            hint = "It needs engine, names, capabilities and Settings; derive it from promptkit.models.base.BatchedEngine"
            raise self._incomplete(added, "An engine is a class that names itself, its models, capabilities and settings", hint)
        return added.engine, Engine(
            name=added.engine,
            model_class=lambda: added,
            settings=lambda: added.Settings,
            kinds={"": added.capabilities},
            names=added.names,
            description=(getdoc(added) or "").partition("\n")[0],
            recorded=tuple(added.Settings.model_fields),
        )


def _at(place: str) -> Callable[[], EngineClass]:
    """Returns a function that imports the class at `module:attribute`."""
    return lambda: cast("EngineClass", resolve_name(place))


def _settings_at(place: str) -> Callable[[], type[Settings]]:
    """Returns a function that imports the settings at `module:attribute`."""
    return lambda: cast("type[Settings]", resolve_name(place))


def _content_at(place: str) -> Callable[[], ContentOf]:
    """Returns a function that imports the function at `module:attribute`."""
    return lambda: cast("ContentOf", resolve_name(place))


_TEXT: frozenset[Modality] = frozenset({"text"})
_LANGUAGE_MODEL: frozenset[VerbName] = frozenset({"Score", "Read", "Generate"})
_CAUSAL = Capabilities(
    modalities=_TEXT,
    verbs=_LANGUAGE_MODEL,
    interventions=frozenset({"vectors", "prefixes", "edits"}),
    json_schema=True,
    hidden_states=True,
    heads=True,
    gradients=True,
    background_loading=True,
)
_ENCODER_DECODER = replace(_CAUSAL, interventions=frozenset({"vectors"}), json_schema=False, heads=False)

ENGINES = EngineTable(
    "engine",
    (
        Engine(
            name="hf",
            model_class=_at("promptkit.models.hf.engine:TransformersModel"),
            settings=_settings_at("promptkit.models.hf.settings:TransformersSettings"),
            kinds={
                "causal": _CAUSAL,
                "encoder-decoder": _ENCODER_DECODER,
                "masked": replace(_ENCODER_DECODER, verbs=frozenset({"Score", "Read"})),
            },
            names="a hub id, a folder, a .gguf file, or demo (Gemma 3 270M)",
            description="causal, encoder-decoder and masked language models of transformers, on a CPU or a GPU",
            recorded=("device", "dtype", "attention", "batch_tokens"),
            runs_files=True,
            content=_content_at("promptkit.models.content:language_model_content"),
        ),
        Engine(
            name="vllm",
            model_class=_at("promptkit.models.vllm.engine:VllmModel"),
            settings=_settings_at("promptkit.models.vllm.settings:VllmSettings"),
            kinds={
                "": Capabilities(
                    modalities=_TEXT, verbs=_LANGUAGE_MODEL, interventions=frozenset({"vectors"}), json_schema=True
                )
            },
            names="as for hf",
            description="vLLM in this process: highest throughput on a GPU; also runs on a CPU",
            recorded=(
                *("dtype", "batch_tokens", "quantization", "max_model_len"),
                *("tensor_parallel_size", "pipeline_parallel_size", "engine_args"),
            ),
            runs_files=True,
            content=_content_at("promptkit.models.content:language_model_content"),
        ),
        Engine(
            name="http",
            model_class=_at("promptkit.models.http.engine:HttpModel"),
            settings=_settings_at("promptkit.models.http.client:HttpSettings"),
            kinds={"": Capabilities(modalities=_TEXT, verbs=_LANGUAGE_MODEL, json_schema=True)},
            names="the model's name at the server given by base_url",
            description="a vLLM server, or any server with an OpenAI-compatible API",
            recorded=("base_url",),
        ),
        Engine(
            name="encoder",
            model_class=_at("promptkit.models.encoder:EncoderModel"),
            settings=_settings_at("promptkit.models.encoder_settings:EncoderSettings"),
            kinds={"": Capabilities(modalities=_TEXT, verbs=frozenset({"Read"}), hidden_states=True)},
            names="a hub id or a folder",
            description="BERT-like sentence encoders with mean pooling, to select demonstrations by similarity",
            content=_content_at("promptkit.models.content:encoder_content"),
        ),
        Engine(
            name="vision",
            model_class=_at("promptkit.models.vision.engine:VisionModel"),
            settings=_settings_at("promptkit.models.vision.settings:VisionSettings"),
            kinds={
                "": Capabilities(
                    modalities=frozenset({"image"}),
                    verbs=frozenset({"Classify", "Read"}),
                    interventions=frozenset({"operations"}),
                    hidden_states=True,
                    gradients=True,
                    background_loading=True,
                )
            },
            names="a hub id, a folder, or demo (EfficientNet-Lite0)",
            description="image classifiers of transformers; with pk.load_module also of PyTorch, timm and torchvision",
            recorded=("device", "dtype", "size", "batch_size"),
            content=_content_at("promptkit.models.content:classifier_content"),
        ),
        Engine(
            name="fake",
            model_class=_at("promptkit.models.fake:FakeModel"),
            settings=_settings_at("promptkit.models.fake:FakeModel.Settings"),
            kinds={
                "": Capabilities(
                    modalities=_TEXT,
                    verbs=_LANGUAGE_MODEL,
                    interventions=frozenset({"vectors"}),
                    json_schema=True,
                    hidden_states=True,
                )
            },
            names="any word; each word is a different model",
            description="pseudo-random probabilities from hashes, for dry runs and tests",
            recorded=("batch_tokens", "context_length"),
            simulated=True,
        ),
    ),
    group="promptkit.engines",
)
"""The engines by name. The table of classes of models is read without importing them."""
register = ENGINES.register
"""Registers the class of an engine, which then has a name in `load`, `--model` and `promptkit models`."""
DEFAULT_ENGINE = "hf"


@check_arguments("load")
def load(name: str | Path, **settings: object) -> Model:
    """Returns a model. Its configuration and tokenizer are read now; its weights load at the first request.

    Args:
        name: `[engine:]name`. For hf, the default engine, the name is a hub id, a folder, a `.gguf` file, or `demo`.
        settings: The settings of the engine, such as `device="cuda"`, `dtype="bfloat16"` or `batch_size=64`, which is the
            number of images computed at once, or of tokens for language models, whose setting is `batch_tokens`.

    Raises:
        InputError: The engine or a setting does not exist, or a setting has an invalid value.
        ModelError: The model cannot be found or read.
    """
    engine, rest = split(str(name))
    given = ENGINES[engine].renamed(settings)
    checked = validated(ENGINES[engine].settings(), engine, given)
    model = ENGINES[engine].model_class()(rest, checked)
    _SETTINGS[model] = given
    return model


_SETTINGS: WeakKeyDictionary[Model, Mapping[str, object]] = WeakKeyDictionary()
"""The settings that models were loaded with."""


def loaded_settings(model: Model) -> Mapping[str, object]:
    """Returns the settings that a model was loaded with; empty for a model that was created in another way."""
    return _SETTINGS.get(model, {})


def split(name: str) -> tuple[str, str]:
    """Returns the engine and the rest of a model's name.

    Args:
        name: `[engine:]name`; it is split at the first colon only if the text before it is the name of an engine.

    Raises:
        InputError: The text before the colon is not an engine, or there is no name after it.
    """
    engine, colon, rest = name.partition(":")
    if engine in ENGINES and colon and not rest:
        raise InputError(
            f"The name of a model is missing after {name}",
            code="empty-name",
            got=name,
            hint=f"Give {ENGINES[engine].names}",
            engine=engine,
        )
    if name in ENGINES and name != DEFAULT_ENGINE:
        return name, name
    if engine in ENGINES and rest:
        return engine, rest
    if rest and engine.isidentifier() and len(engine) > 1 and not Path(name).exists():  # no hub id has a colon
        raise unknown("engine", engine, ENGINES, hint="Write engine:name, or the name alone for hf")
    return DEFAULT_ENGINE, name


def validated(kind: type[S], engine: str, settings: dict[str, object]) -> S:
    """Returns the settings as the engine's type; raises InputError for an unknown name or an invalid value."""
    for name, value in settings.items():
        if name not in kind.model_fields:
            raise unknown(f"setting of the {engine} engine", name, kind.model_fields)
        if isinstance(value, bool):  # pydantic would convert it to a number
            check_value(name, value, kind.model_fields[name].annotation, of=f"the {engine} engine")
    try:
        return kind(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        documentation = " ".join((kind.model_fields[field].description or "").split())
        raise InputError(
            f"Invalid value for the setting {field} of the {engine} engine: {first['msg']}",
            code="invalid-value",
            got=f"{field}={settings[field]!r}",
            hint=documentation,
            engine=engine,
            setting=field,
            value=str(settings[field])[:200],
        ) from None
