"""The encoder engine: a BERT-like model of transformers as a sentence encoder, whose vector of a text is a mean over tokens.

As sentence-transformers computes it (Reimers and Gurevych 2019, 1908.10084): the model's special tokens stand around the
text and count in the mean. A model whose files ask for another pooling or for further layers is refused; the scaling to
length 1 that they may ask for is left to whoever compares vectors.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import PositiveInt

from promptkit.core.errors import ModelError, Unsupported, json_reason
from promptkit.core.model import Card
from promptkit.core.requests import Output, Read, ReadOutput, Request
from promptkit.models import registry as base
from promptkit.models.batching import make_plan
from promptkit.models.files.device import device_of
from promptkit.models.files.pretrained import card, fetched, read_config
from promptkit.models.files.source import Source, resolve
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.hf.pooling import hidden_state
from promptkit.models.one_token import refuse_layers

VECTOR = Read(hidden_layer=-1, mean_from=0)
"""All that an encoder is asked."""


class TextTokenizer(TransformersTokenizer):
    """A tokenizer that says nothing of the special tokens around a text: the encoder itself puts them there."""

    @property
    def bos(self) -> tuple[int, ...]:
        """None."""
        return ()

    @property
    def longest(self) -> int:
        """The most tokens of a text that the tokenizer's settings allow, the special ones counted."""
        return int(self._tokenizer.model_max_length)

    @property
    def padding(self) -> int:
        """The token that fills a batch's shorter rows."""
        return int(self._tokenizer.pad_token_id or 0)


class EncoderModel:
    """A sentence encoder, its weights loaded at the first request."""

    verbs = frozenset({"Read"})
    hidden_states = True
    learned_vectors = False
    learned_layers = False

    class Settings(base.Settings):
        """Settings of the encoder engine."""

        device: str = "auto"
        """`auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`."""
        revision: str | None = None
        """Branch, tag or commit of a model on the hub."""
        batch_tokens: PositiveInt = 4096
        """Tokens computed at once, at least 1."""

    def __init__(self, name: str, settings: Settings) -> None:
        """Resolve the name; refuse a model that is no encoder, or whose vectors are made in another way."""
        self.name = f"encoder:{name}"
        self._settings = settings
        self._source = resolve(name, settings.revision)
        self._config: Any = read_config(self._source, self.name)
        _check_encoder(self._config, self.name)
        self._files = _files(self._source)
        _check_pooling(self._files, self.name)

    @cached_property
    def card(self) -> Card:
        """What manipulations may know of the model; its context is what a text may have, special tokens not counted."""
        stated = _read(self._files / "sentence_bert_config.json") or {}
        limits = (stated.get("max_seq_length"), self._tokenizer.longest, self._config.max_position_embeddings)
        before, after = self._tokenizer.frame
        longest = min(limit for limit in limits if limit) - len(before) - len(after)
        return card(self._config, self._tokenizer, at_most=longest)

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        from transformers import AutoTokenizer

        return TextTokenizer(fetched(AutoTokenizer, self._source, self.name))

    def identity(self) -> Mapping[str, object]:
        """Content, settings and library versions that determine a result."""
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

    def notes(self) -> Sequence[str]:
        """Nothing ever happens."""
        return ()

    def load(self) -> None:
        """Load the weights."""
        self._model  # noqa: B018 - a cached property

    def batches(self, requests: Sequence[Request]) -> Sequence[tuple[int, ...]]:
        """See `Model.batches`."""
        size = self._settings.batch_tokens
        plan = make_plan(requests, batch_tokens=size, batch_pairs=size**2, share=False)
        return [batch.requests for batch in plan.batches]

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        """Answer a batch of the plan at a time; see `Model.answer`."""
        if any(request.verb != VECTOR or request.input.vectors for request in requests):
            raise Unsupported(
                f"The model {self.name} is a sentence encoder, which returns only one vector for each text",
                code="only-embeddings",
                hint="Use an hf model",
                model=self.name,
            )
        refuse_layers(requests, self.name)
        finished = frozenset(done)
        for batch in self.batches(requests):
            if not finished.issuperset(batch):
                yield batch, self._vectors([requests[i].input.ids for i in batch])

    def _vectors(self, texts: Sequence[tuple[int, ...]]) -> tuple[Output, ...]:
        before, after = self._tokenizer.frame
        rows = [before + text + after for text in texts]
        ids = torch.full((len(rows), max(map(len, rows))), self._tokenizer.padding)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        with torch.no_grad():
            states = self._model(ids.to(self._device), attention_mask=mask.to(self._device)).last_hidden_state
        return tuple(
            ReadOutput(hidden=hidden_state(VECTOR, state[: len(row)])) for state, row in zip(states, rows, strict=True)
        )

    @cached_property
    def _model(self) -> Any:
        from transformers import AutoModel

        model = fetched(AutoModel, self._source, self.name, dtype=torch.float32)
        return model.eval().requires_grad_(False).to(self._device)

    @cached_property
    def _fingerprint(self) -> str:
        return self._source.fingerprint()

    @cached_property
    def _device(self) -> torch.device:
        return device_of(self._settings.device)


def _check_encoder(config: Any, name: str) -> None:
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    if type(config) not in MODEL_FOR_MASKED_LM_MAPPING or config.is_encoder_decoder:
        raise ModelError(
            f"The model {name} is not a sentence encoder: it is not BERT-like",
            code="not-an-encoder",
            got=f"a model of type {config.model_type}",
            hint="Use one such as encoder:sentence-transformers/all-MiniLM-L6-v2; a language model is named without encoder:",
            model=name,
            model_type=str(config.model_type),
        )


def _check_pooling(files: Path, name: str) -> None:
    """Raise if the files say that a text's vector is another than the mean; files that say nothing mean the mean."""
    asked = []
    for module in _read(files / "modules.json") or ():
        kind = str(module["type"]).rpartition(".")[2]
        asked += _poolings(_read(files / module["path"] / "config.json") or {}) if kind == "Pooling" else [kind]
    foreign = [what for what in asked if what not in ("Transformer", "mean", "Normalize")]
    if foreign:
        raise Unsupported(
            f"The model {name} does not use mean pooling alone: its files specify {' and '.join(foreign)}",
            code="unsupported-pooling",
            hint="Use one with mean pooling alone, such as encoder:sentence-transformers/all-MiniLM-L6-v2",
            model=name,
            pooling=tuple(foreign),
        )


def _poolings(config: Mapping[str, Any]) -> list[str]:
    """The poolings that a file of sentence-transformers names, as its newer or its older versions write it."""
    if "pooling_mode" in config:
        return [str(config["pooling_mode"])]
    named = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
    return [key.removeprefix("pooling_mode_").partition("_token")[0] for key in named]


def _files(source: Source) -> Path:
    """The folder of the small files beside the weights."""
    if source.local:
        return Path(source.location)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(source.location, revision=source.commit, allow_patterns="*.json"))


def _read(path: Path) -> Any:
    """What a JSON file says; None where there is no such file."""
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
