"""Model names and engines: `[engine:]name`, the hf engine by default."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from promptkit.core.errors import InputError, unknown
from promptkit.core.model import Model


class Engine(NamedTuple):
    """One kind of model; what it says of itself is checked against the class by a test, so that a list loads no torch."""

    module: str
    attribute: str
    verbs: tuple[str, ...]
    """What it can be asked."""
    names: str
    """What stands behind `engine:`."""
    description: str
    hidden_states: bool = False
    """Whether `Read` gives them."""
    learned_vectors: bool = False
    """Whether a prompt may hold them."""
    learned_layers: bool = False
    """Whether its layers take learned keys and values, and edits of hidden states."""


ENGINES = {
    "hf": Engine(
        "promptkit.models.hf.engine",
        "TransformersModel",
        ("Score", "Read", "Generate"),
        "a hub id, a folder, a .gguf file, or demo (Gemma 3 270M)",
        "any causal language model of transformers, on a CPU or a GPU",
        hidden_states=True,
        learned_vectors=True,
        learned_layers=True,
    ),
    "vllm": Engine(
        "promptkit.models.vllm.engine",
        "VllmModel",
        ("Score", "Read", "Generate"),
        "as for hf",
        "vLLM in this process: the most throughput on a GPU, and runs on a CPU",
        learned_vectors=True,
    ),
    "http": Engine(
        "promptkit.models.http.engine",
        "HttpModel",
        ("Score", "Read", "Generate"),
        "the model's name at the server that --set base_url=URL names",
        "vLLM's server, or any other that speaks OpenAI's protocol",
    ),
    "encoder": Engine(
        "promptkit.models.encoder",
        "EncoderModel",
        ("Read",),
        "a hub id or a folder",
        "a sentence encoder, BERT-like with mean pooling: demonstrations are chosen by its vectors",
        hidden_states=True,
    ),
    "fake": Engine(
        "promptkit.models.fake",
        "FakeModel",
        ("Score", "Read", "Generate"),
        "any word; another word is another model",
        "hashes for probabilities: for dry runs and tests",
        hidden_states=True,
        learned_vectors=True,
    ),
}
DEFAULT_ENGINE = "hf"


def capabilities_table() -> str:
    """What each engine can apply, as Markdown: the README's table."""
    heads = ("scores labels", "writes texts", "hidden states", "learned vectors", "prefixes, edits")
    lines = [f"| engine | {' | '.join(heads)} | NAME |", "|---|---|---|---|---|---|---|"]
    for name, engine in ENGINES.items():
        able = ["Score" in engine.verbs, "Generate" in engine.verbs, engine.hidden_states]
        able += [engine.learned_vectors, engine.learned_layers]
        lines.append(f"| `{name}` | {' | '.join('yes' if each else 'no' for each in able)} | {engine.names} |")
    return "\n".join(lines)


class Settings(BaseModel):
    """The settings of an engine: unknown names are refused, texts from the command line converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


S = TypeVar("S", bound=Settings)


def load(name: str | Path, **settings: object) -> Model:
    """The model of that name. Reads its configuration and tokenizer; weights load at the first request.

    `name` is `[engine:]name`, split at the first colon only if an engine stands left of it. For hf (the default) it is a
    hub id, a folder, a `.gguf` file, or `demo`. Raises PromptkitError for an unknown name or setting.
    """
    engine, rest = split(str(name))
    constructor: Any = getattr(import_module(ENGINES[engine].module), ENGINES[engine].attribute)
    return cast(Model, constructor(rest, validated(constructor.Settings, engine, settings)))


def split(name: str) -> tuple[str, str]:
    """The engine that a name says, and what stands behind it; raises PromptkitError for an engine that there is not."""
    engine, _, rest = name.partition(":")
    if name in ENGINES and name != DEFAULT_ENGINE:
        return name, name
    if engine in ENGINES and rest:
        return engine, rest
    if rest and engine.isidentifier() and len(engine) > 1 and not Path(name).exists():  # no hub id has a colon
        raise unknown("engine", engine, ENGINES, hint="Write engine:name, or the name alone for hf")
    return DEFAULT_ENGINE, name


def validated(kind: type[S], engine: str, settings: dict[str, object]) -> S:
    """The settings as the engine's own type; raises PromptkitError for an unknown name or a bad value."""
    for name in settings:
        if name not in kind.model_fields:
            raise unknown(f"setting of the {engine} engine", name, kind.model_fields)
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
