"""The table of engines, and the names and settings of models: `[engine:]name`, with the hf engine by default."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from promptkit.core.arguments import check_arguments, check_value
from promptkit.core.errors import InputError, unknown
from promptkit.core.model import Model


class Engine(NamedTuple):
    """The class of an engine and the features that it supports.

    The table repeats what the engine's class declares, so that it can be read without importing torch; a test compares them.
    """

    module: str
    """The module of the engine's class."""
    attribute: str
    """The name of the engine's class in that module."""
    verbs: tuple[str, ...]
    """The verbs that it supports."""
    names: str
    """Valid names after `engine:`."""
    description: str
    """A one-line description."""
    hidden_states: bool = False
    """Whether `Read` returns hidden states."""
    learned_vectors: bool = False
    """Whether prompts can contain learned vectors."""
    learned_layers: bool = False
    """Whether the layers accept learned keys, values and edits of hidden states."""


ENGINES = {
    "hf": Engine(
        "promptkit.models.hf.engine",
        "TransformersModel",
        ("Score", "Read", "Generate"),
        "a hub id, a folder, a .gguf file, or demo (Gemma 3 270M)",
        "causal, encoder-decoder and masked language models of transformers, on a CPU or a GPU",
        hidden_states=True,
        learned_vectors=True,
        learned_layers=True,
    ),
    "vllm": Engine(
        "promptkit.models.vllm.engine",
        "VllmModel",
        ("Score", "Read", "Generate"),
        "as for hf",
        "vLLM in this process: highest throughput on a GPU; also runs on a CPU",
        learned_vectors=True,
    ),
    "http": Engine(
        "promptkit.models.http.engine",
        "HttpModel",
        ("Score", "Read", "Generate"),
        "the model's name at the server given by --set base_url=URL",
        "a vLLM server, or any server with an OpenAI-compatible API",
    ),
    "encoder": Engine(
        "promptkit.models.encoder",
        "EncoderModel",
        ("Read",),
        "a hub id or a folder",
        "BERT-like sentence encoders with mean pooling, to select demonstrations by similarity",
        hidden_states=True,
    ),
    "vision": Engine(
        "promptkit.models.vision.engine",
        "VisionModel",
        ("Classify", "Read"),
        "a hub id, a folder, or demo (EfficientNet-Lite0)",
        "image classifiers of transformers; pk.load_module runs those of PyTorch, timm and torchvision",
        hidden_states=True,
    ),
    "fake": Engine(
        "promptkit.models.fake",
        "FakeModel",
        ("Score", "Read", "Generate"),
        "any word; each word is a different model",
        "pseudo-random probabilities from hashes, for dry runs and tests",
        hidden_states=True,
        learned_vectors=True,
    ),
}
DEFAULT_ENGINE = "hf"


def capabilities_table() -> str:
    """Returns the features of each engine as a Markdown table, which docs/engines.md contains."""
    heads = ("scores labels", "writes texts", "classifies images", "hidden states", "learned vectors", "prefixes, edits")
    lines = [f"| engine | {' | '.join(heads)} | NAME |", "|---|---|---|---|---|---|---|---|"]
    for name, engine in ENGINES.items():
        supported = (
            "Score" in engine.verbs,
            "Generate" in engine.verbs,
            "Classify" in engine.verbs,
            engine.hidden_states,
            engine.learned_vectors,
            engine.learned_layers,
        )
        cells = " | ".join("yes" if support else "no" for support in supported)
        lines.append(f"| `{name}` | {cells} | {engine.names} |")
    return "\n".join(lines)


class Settings(BaseModel):
    """Base class of the settings of an engine: unknown names are refused, and texts from the command line are converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


S = TypeVar("S", bound=Settings)


class EngineClass(Protocol):
    """The class of an engine."""

    Settings: type[Settings]

    def __call__(self, name: str, settings: Any, /) -> Model:
        """Creates the model of that name."""
        ...


@check_arguments("load")
def load(name: str | Path, **settings: object) -> Model:
    """Returns a model. Its configuration and tokenizer are read now; its weights load at the first request.

    Args:
        name: `[engine:]name`. For hf, the default engine, the name is a hub id, a folder, a `.gguf` file, or `demo`.
        settings: The settings of the engine, such as `dtype="bfloat16"` or `batch_tokens=4096`.

    Raises:
        InputError: The engine or a setting does not exist, or a setting has an invalid value.
        ModelError: The model cannot be found or read.
    """
    engine, rest = split(str(name))
    engine_class: EngineClass = getattr(import_module(ENGINES[engine].module), ENGINES[engine].attribute)
    return engine_class(rest, validated(engine_class.Settings, engine, settings))


def split(name: str) -> tuple[str, str]:
    """Returns the engine and the rest of a model's name.

    Args:
        name: `[engine:]name`; it is split at the first colon only if the text before it is the name of an engine.

    Raises:
        InputError: The text before the colon is not an engine.
    """
    engine, _, rest = name.partition(":")
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
        documentation = kind.model_fields[field].description or ""
        raise InputError(
            f"Invalid value for the setting {field} of the {engine} engine: {first['msg']}",
            code="invalid-value",
            got=f"{field}={settings[field]!r}",
            hint=documentation,
            engine=engine,
            setting=field,
            value=str(settings[field])[:200],
        ) from None
