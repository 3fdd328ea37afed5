"""The hf engine: any causal language model of transformers, frozen."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal

import torch
from pydantic import PositiveInt

from promptkit.core.arrays import Array
from promptkit.core.errors import OutOfMemory, Unsupported
from promptkit.core.inputs import KVPrefix
from promptkit.core.model import Card, Precision
from promptkit.core.requests import Generate, Output, Request
from promptkit.models import registry as base
from promptkit.models.base import BaseEngine
from promptkit.models.batching import Plan, make_plan
from promptkit.models.files.device import device_of
from promptkit.models.files.pretrained import card, end_tokens, fetched, read_config, read_tokenizer
from promptkit.models.files.source import resolve
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.hf.attention import KeyValues
from promptkit.models.hf.attention_heads import AttentionHeads
from promptkit.models.hf.differentiable import TorchScores
from promptkit.models.hf.packed import PackedForward
from promptkit.models.hf.padded import PaddedForward
from promptkit.models.hf.tensors import check_prefixes, prefix_of, tabled, within_of
from promptkit.models.hf.verify import packed_forward, reads_vectors, takes_edits, takes_prefixes

BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}
PAIRS_PER_BATCH = 2**22
"""Query-key pairs of one batch, per head."""

_log = logging.getLogger(__name__)


class TransformersModel(BaseEngine):
    """A causal language model of transformers, its weights loaded at the first request."""

    verbs = frozenset({"Score", "Read", "Generate"})
    hidden_states = True
    learned_vectors = True
    learned_layers = True

    class Settings(base.Settings):
        """Settings of the hf engine."""

        device: str = "auto"
        """`auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`."""
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
        """`auto` is float32 on a CPU and bfloat16 on a GPU; or float32, bfloat16, float16."""
        revision: str | None = None
        """Branch, tag or commit of a model on the hub."""
        tokenizer: str | None = None
        """Hub id or folder of another tokenizer than the model's own."""
        attention: Literal["packed", "eager", "sdpa", "flash_attention_2"] = "packed"
        """`packed` shares prefixes and packs labels; eager, sdpa and flash_attention_2 are transformers' own, and
        share nothing."""
        batch_tokens: PositiveInt | None = None
        """Tokens computed at once: 1024 on a CPU and 16384 on a GPU unless given; at least 1."""

    def __init__(self, name: str, settings: Settings) -> None:
        """Resolve the name, and read configuration and tokenizer."""
        self.name = name
        self._settings = settings
        self._source = resolve(name, settings.revision)
        self._tokenizer_source = resolve(settings.tokenizer) if settings.tokenizer else self._source
        self._notes: list[str] = []
        self._config: Any = read_config(self._source, name)

    @cached_property
    def card(self) -> Card:
        """What manipulations may know of the model; reads the tokenizer the first time."""
        return card(self._config, self._tokenizer)

    @cached_property
    def _tokenizer(self) -> TransformersTokenizer:
        return read_tokenizer(self._tokenizer_source, self.name)

    def identity(self) -> Mapping[str, object]:
        """Content, settings and library versions that determine a result."""
        import transformers

        return {
            "engine": "hf",
            "name": self.name,
            "content": self._source.fingerprint(),
            "tokenizer": self._tokenizer_source.fingerprint(),
            "device": self._device.type,
            "dtype": str(self._dtype).removeprefix("torch."),
            "attention": self._settings.attention,
            "batch_tokens": self._batch_tokens,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def notes(self) -> Sequence[str]:
        """What happened on the way that a reader of the timings should know."""
        return tuple(self._notes)

    def load(self) -> None:
        """Load the weights, and see which forward the model can be run by."""
        self._forward  # noqa: B018 - a cached property

    def embed(self, ids: Sequence[int]) -> Array:
        """What its embedding module gives these tokens."""
        return self._forward.embed(ids)

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """What its layers hold of these tokens."""
        self._takes_prefixes  # noqa: B018 - raises where it does not
        return prefix_of(self._forward.keys_values(ids))

    def batches(self, requests: Sequence[Request]) -> Sequence[tuple[int, ...]]:
        """See `Model.batches`."""
        return [
            tuple(some[i] for i in batch.requests)
            for some, plan in self._plans(self._tabled(requests))
            for batch in plan.batches
        ]

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        """Answer a batch of the plan at a time; see `Model.answer`."""
        requests = self._tabled(requests)
        self._check(requests)
        finished = frozenset(done)
        for some, plan in self._plans(requests):
            prefix: KeyValues | None = None
            for batch in plan.batches:
                indices = tuple(some[i] for i in batch.requests)
                if finished.issuperset(indices):
                    continue
                if prefix is None:
                    with self._fitting(f"A shared prompt of {len(plan.prefix)} tokens", tokens=len(plan.prefix)):
                        prefix = self._forward.prefix(plan.prefix, within_of([requests[i] for i in some], self._device))
                yield indices, tuple(self._halving([requests[i] for i in indices], batch.reuse, prefix))

    def differentiable(
        self, requests: Sequence[Request], *, checkpointing: bool = False, precision: Precision = "no"
    ) -> TorchScores:
        """See `Trains.differentiable`."""
        self._check(requests)
        bounds = {"batch_tokens": self._batch_tokens, "batch_pairs": PAIRS_PER_BATCH}
        return TorchScores(self._forward, requests, **bounds, checkpointing=checkpointing, precision=precision)

    def heads(self) -> AttentionHeads:
        """See `Attends.heads`."""
        return AttentionHeads(self._forward, batch_tokens=self._batch_tokens)

    def _tabled(self, requests: Sequence[Request]) -> Sequence[Request]:
        return tabled(requests, self._config.hidden_size)

    def _plans(self, requests: Sequence[Request]) -> list[tuple[list[int], Plan]]:
        """A plan for all requests that hold the same prefixes and edits, since what is shared holds them too."""
        bounds = {"batch_tokens": self._batch_tokens, "batch_pairs": PAIRS_PER_BATCH}
        alike: dict[object, list[int]] = {}
        for index, request in enumerate(requests):
            alike.setdefault((request.input.prefixes, request.input.edits), []).append(index)
        return [(some, make_plan([requests[i] for i in some], share=self._forward.reuses, **bounds)) for some in alike.values()]

    def _check(self, requests: Sequence[Request]) -> None:
        """Raise where the model cannot take what is learned."""
        if any(request.input.vectors for request in requests):
            self._reads_vectors  # noqa: B018 - raises where it does not
        if any(request.input.prefixes for request in requests):
            check_prefixes(requests, *self._takes_prefixes)
        if any(request.input.edits for request in requests):
            self._takes_edits  # noqa: B018 - raises where it does not
        if self._forward.reuses:
            return
        layers = range(1, self._config.num_hidden_layers + 1)
        if any(prefix.layers != tuple(layers) for request in requests for prefix in request.input.prefixes):
            raise Unsupported(
                f"The model {self.name} runs with its own attention, which needs a prefix at every layer or at none",
                code="prefix-at-some-layers",
                hint="Do not set layers; if attention is set, leave it out",
                model=self.name,
            )

    def _halving(self, requests: list[Request], reuse: int, prefix: KeyValues) -> list[Output]:
        """One batch; in two halves if memory runs out, and so on down to single requests."""
        try:
            tokens = len(requests[0].input.ids)
            with self._fitting(f"A prompt of {tokens} tokens", tokens=tokens):
                if isinstance(requests[0].verb, Generate):
                    return self._forward.write(requests, reuse, prefix, tokenizer=self.card.tokenizer, ends=self._ends)
                return self._forward.answer(requests, reuse, prefix)
        except OutOfMemory:
            if len(requests) == 1:
                raise
            self._notes.append(f"out of memory: a batch of {len(requests)} was split in two")
            _log.warning("Out of memory: a batch of %d requests is split in two.", len(requests))
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        half = len(requests) // 2
        return self._halving(requests[:half], reuse, prefix) + self._halving(requests[half:], reuse, prefix)

    @contextmanager
    def _fitting(self, what: str, **fields: object) -> Iterator[None]:
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            raise OutOfMemory(
                f"{what} does not fit in memory on {self._device}",
                code="out-of-memory",
                hint="Use fewer shots, a smaller model, or --set dtype=bfloat16",
                model=self.name,
                device=str(self._device),
                **fields,
            ) from None

    @cached_property
    def _forward(self) -> PackedForward | PaddedForward:
        from transformers import AutoModelForCausalLM

        model = fetched(AutoModelForCausalLM, self._source, self.name, dtype=self._dtype, **self._own_attention)
        with self._fitting(f"The model {self.name}"):
            model.eval().requires_grad_(False).to(self._device)
        if self._settings.attention == "packed":
            packed, reason = packed_forward(model, batch_tokens=self._batch_tokens)
            if packed is not None:
                return packed
            self._notes.append(f"no shared prefixes: {reason}")
            _log.warning("%s is scored without shared prefixes, which is slow: %s.", self.name, reason)
        return PaddedForward(model, batch_tokens=self._batch_tokens)

    @cached_property
    def _reads_vectors(self) -> None:
        if not reads_vectors(self._forward, self._config.vocab_size):
            raise Unsupported(
                f"The model {self.name} does not support learned vectors: its own embeddings give other results than token ids",
                code="no-learned-vectors",
                hint="Use another model",
                model=self.name,
            )

    @cached_property
    def _takes_prefixes(self) -> tuple[int, int]:
        """The kv heads of its layers, and their width."""
        if not takes_prefixes(self._forward, self._config.vocab_size):
            raise Unsupported(
                f"The model {self.name} does not support prefixes: its own keys and values give other results than tokens",
                code="no-prefixes",
                hint="Use another model",
                model=self.name,
            )
        _, heads, _, width = prefix_of(self._forward.keys_values((0,))).keys.shape
        return heads, width

    @cached_property
    def _takes_edits(self) -> None:
        if not takes_edits(self._forward, self._config.vocab_size, self._config.num_hidden_layers):
            raise Unsupported(
                f"The hidden states of the model {self.name} cannot be edited layer by layer",
                code="no-edits",
                hint="Use another model",
                model=self.name,
            )

    @property
    def _own_attention(self) -> Mapping[str, str]:
        """The attention that transformers loads the model with: its default, unless that would leave out a soft cap."""
        chosen = self._settings.attention
        if not getattr(self._config, "attn_logit_softcapping", None):
            return {} if chosen == "packed" else {"attn_implementation": chosen}
        if chosen == "sdpa":
            raise Unsupported(
                f"The model {self.name} uses attention logit soft-capping, which sdpa silently ignores",
                code="soft-cap-ignored",
                hint="Leave attention out, or use --set attention=eager",
                model=self.name,
                attention=chosen,
            )
        return {"attn_implementation": "eager" if chosen == "packed" else chosen}

    @cached_property
    def _ends(self) -> frozenset[int]:
        return end_tokens(self._source, self._tokenizer)

    @cached_property
    def _device(self) -> torch.device:
        return device_of(self._settings.device)

    @property
    def _dtype(self) -> torch.dtype:
        if self._settings.dtype == "auto":
            return torch.float32 if self._device.type == "cpu" else torch.bfloat16
        chosen: torch.dtype = getattr(torch, self._settings.dtype)
        return chosen

    @property
    def _batch_tokens(self) -> int:
        return self._settings.batch_tokens or BATCH_TOKENS.get(self._device.type, BATCH_TOKENS["cpu"])


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)
