"""The encoder engine: a BERT-like model of transformers whose vector of a text is the mean over its tokens.

It computes what sentence-transformers does (Reimers and Gurevych 2019, arXiv 1908.10084): the special tokens around the text
count in the mean. A model that specifies another pooling or further layers is refused. Normalization to length 1, which a
model may specify, is left to the code that compares vectors.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from promptkit.core.errors import ModelError, Unsupported, json_reason
from promptkit.core.model import TextCard
from promptkit.core.requests import Output, Read, ReadOutput, Request
from promptkit.models import registry
from promptkit.models.base import BatchedEngine
from promptkit.models.encoder_settings import KNOWN, EncoderSettings
from promptkit.models.files.device import device_of
from promptkit.models.files.dimensions import usable_positions
from promptkit.models.files.pretrained import card, fetched_tokenizer, load_weights, read_config
from promptkit.models.files.source import Source, resolve
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.hf.pooling import hidden_state
from promptkit.models.hf.rope import RopeState, depends_on_length

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

VECTOR = Read(hidden_layer=-1, mean_from=0)
"""The only verb that an encoder supports."""
SUPPORTED_MODULES = ("Transformer", "mean", "Normalize")
"""The modules and the pooling of sentence-transformers that this engine computes."""
EXAMPLE = f"{KNOWN.engine}:{KNOWN.hub}"


class TextTokenizer(TransformersTokenizer):
    """A tokenizer without a BOS token: the encoder adds the special tokens around a text itself."""

    @property
    def bos(self) -> tuple[int, ...]:
        """The empty tuple."""
        return ()


class EncoderModel(BatchedEngine):
    """A sentence encoder; its weights load at the first request."""

    capabilities = registry.ENGINES["encoder"].capabilities

    Settings = EncoderSettings

    def __init__(self, name: str, settings: EncoderSettings) -> None:
        """Resolves the name and reads the configuration.

        Raises:
            ModelError: The model is not BERT-like, or its files cannot be read.
            Unsupported: The files specify another pooling than the mean, or further layers.
        """
        super().__init__(f"encoder:{name}", batch_tokens=settings.batch_tokens)
        self._settings = settings
        self._source = resolve(name, settings.revision, KNOWN)
        self._config = read_config(self._source, self.name)
        _check_encoder(self._config, self.name)
        self._files = _json_folder(self._source)
        _check_pooling(self._files, self.name)

    @cached_property
    def card(self) -> TextCard:
        """The model's card; the context length does not count special tokens."""
        stated = _read_json(self._files / "sentence_bert_config.json") or {}
        limits = (stated.get("max_seq_length"), self._tokenizer.max_length, usable_positions(self._config))
        before, after = self._tokenizer.frame
        longest = min(limit for limit in limits if limit) - len(before) - len(after)
        return card(self._config, self._tokenizer, self.name, at_most=longest)

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        return TextTokenizer(fetched_tokenizer(self._source, self.name))

    def identity(self) -> Mapping[str, object]:
        """Returns the content hash, settings and library versions that determine a result."""
        import transformers

        return {
            "engine": "encoder",
            "name": self.name,
            "content": self._fingerprint,
            "device": self._device.type,
            "batch_tokens": self._settings.batch_tokens,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def load(self) -> None:
        """Loads the weights."""
        _ = self._model

    def check_supported(self, requests: Sequence[Request]) -> None:
        """Raises Unsupported if a request is not for the vector of a text."""
        if any(request.verb != VECTOR or request.interventions.vectors for request in requests):
            raise Unsupported(
                f"The model {self.name} is a sentence encoder, which returns only one vector for each text",
                code="only-embeddings",
                hint="Use an hf model",
                model=self.name,
            )
        super().check_supported(requests)

    def _compute(self, requests: Sequence[Request]) -> tuple[Output, ...]:
        before, after = self._tokenizer.frame
        rows = [before + request.text.ids + after for request in requests]
        together = [[row] for row in rows] if self._depends_on_length else [rows]
        return tuple(output for some in together for output in self._vectors(some))

    def _vectors(self, rows: Sequence[tuple[int, ...]]) -> Iterator[ReadOutput]:
        """Yields the vector of each text, computed together with padding."""
        ids = torch.full((len(rows), max(map(len, rows))), self._tokenizer.padding)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        model = self._model
        self._rope_state.restore()
        with torch.no_grad():
            states = model(ids.to(self._device), attention_mask=mask.to(self._device)).last_hidden_state
        for state, row in zip(states, rows, strict=True):
            yield ReadOutput(hidden=hidden_state(VECTOR, state[: len(row)], self.card.d_model))

    @cached_property
    def _depends_on_length(self) -> bool:
        """Whether the rotary embedding is scaled by the longest text of a batch, so that each text is computed alone."""
        return depends_on_length(self._config)

    @cached_property
    def _rope_state(self) -> RopeState:
        return RopeState(self._model.modules() if self._depends_on_length else ())

    @cached_property
    def _model(self) -> PreTrainedModel:
        from transformers import MODEL_MAPPING, AutoModel

        kind: Any = MODEL_MAPPING[type(self._config)]
        pooled = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
        without_pooler = {"add_pooling_layer": False} if pooled else {}  # the mean of states is taken instead
        loaded: Any = load_weights(AutoModel, self._source, self._config, self.name, dtype=torch.float32, **without_pooler)
        model: PreTrainedModel = loaded.eval().requires_grad_(False).to(self._device)
        return model

    @cached_property
    def _fingerprint(self) -> str:
        return self._source.fingerprint()

    @cached_property
    def _device(self) -> torch.device:
        return device_of(self._settings.device)


def _check_encoder(config: PretrainedConfig, name: str) -> None:
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    if type(config) not in MODEL_FOR_MASKED_LM_MAPPING or config.is_encoder_decoder:
        raise ModelError(
            f"The model {name} is not a sentence encoder: it is not BERT-like",
            code="not-an-encoder",
            got=f"a model of type {config.model_type}",
            hint=f"Use an encoder such as {EXAMPLE}, or a language model without the prefix encoder:",
            model=name,
            model_type=str(config.model_type),
        )


def _check_pooling(files: Path, name: str) -> None:
    """Raises Unsupported if the files specify other vectors than the mean; without such files the mean is used."""
    specified = []
    for module in _read_json(files / "modules.json") or ():
        kind = str(module["type"]).rpartition(".")[2]
        specified += _poolings(_read_json(files / module["path"] / "config.json") or {}) if kind == "Pooling" else [kind]
    unsupported = [module for module in specified if module not in SUPPORTED_MODULES]
    if unsupported:
        raise Unsupported(
            f"The model {name} does not use only mean pooling: its files specify {' and '.join(unsupported)}",
            code="unsupported-pooling",
            hint=f"Use an encoder with only mean pooling, such as {EXAMPLE}",
            model=name,
            pooling=tuple(unsupported),
        )


def _poolings(config: Mapping[str, object]) -> list[str]:
    """Returns the poolings in a configuration of sentence-transformers, in the format of its newer or older versions."""
    if "pooling_mode" in config:
        return [str(config["pooling_mode"])]
    enabled = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
    return [key.removeprefix("pooling_mode_").partition("_token")[0] for key in enabled]


def _json_folder(source: Source) -> Path:
    """Returns the folder of the model's JSON files, downloaded if the model is on the hub."""
    if source.local:
        return Path(source.location)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(source.location, revision=source.commit, allow_patterns="*.json"))


def _read_json(path: Path) -> Any:
    """Returns the content of a JSON file, or None if there is no such file."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ModelError(
            f"The file {path} is not valid JSON: {json_reason(error)}",
            code="not-json",
            hint="Download the model again",
            file=str(path),
        ) from None
