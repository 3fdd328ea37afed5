"""The hf engine: frozen language models, loaded by Hugging Face transformers and run by PyTorch."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import takewhile
from typing import Any

import torch

from promptkit.core.arrays import Array
from promptkit.core.caller import engine_setting
from promptkit.core.errors import OutOfMemory, Unsupported
from promptkit.core.interventions import KVPrefix
from promptkit.core.locked_property import locked_property
from promptkit.core.model import Precision, TextCard
from promptkit.core.requests import Generate, Output, Request
from promptkit.models import registry as base
from promptkit.models.base import BaseEngine
from promptkit.models.batching import BatchBounds, Plan, make_plan
from promptkit.models.constraint import Constraints, fast_tokenizer
from promptkit.models.files.device import device_of
from promptkit.models.files.pretrained import caps_attention_logits, card, end_tokens, load_weights, read_config, read_tokenizer
from promptkit.models.files.source import resolve
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.generation import Writing
from promptkit.models.hf.attention_heads import AttentionHeads
from promptkit.models.hf.backends import CausalBackend, ForwardOptions, backend_of, reporting_failure
from promptkit.models.hf.checked import CheckResults
from promptkit.models.hf.differentiable import TorchScores
from promptkit.models.hf.forward import CausalForward, Forward
from promptkit.models.hf.frozen_model import FrozenModel
from promptkit.models.hf.intervention_checks import InterventionChecks
from promptkit.models.hf.kv_cache import KeyValues
from promptkit.models.hf.memory import reporting_out_of_memory
from promptkit.models.hf.settings import TransformersSettings
from promptkit.models.hf.tensors import check_ids, interventions_of, merge_vectors, prefix_of
from promptkit.models.hf.verify import check_sizes

BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}
"""The most tokens of a batch by default, for each type of device."""
PAIRS_PER_BATCH = 2**22
"""The most query-key pairs of a batch, per head."""
KEPT_TOKENS = 8192
"""Number of tokens of several prefixes that are kept; the prefix that was used last is always kept."""

_log = logging.getLogger(__name__)


class TransformersModel(BaseEngine):
    """A language model of transformers, causal, encoder-decoder or masked; its weights are loaded at the first request."""

    capabilities = base.ENGINES["hf"].capabilities

    Settings = TransformersSettings

    def __init__(self, name: str, settings: TransformersSettings) -> None:
        """Resolves the name and reads the configuration."""
        self.name = name
        self._settings = settings
        self._source = resolve(name, settings.revision)
        self._tokenizer_source = resolve(settings.tokenizer) if settings.tokenizer else self._source
        self._notes: list[str] = []
        self._reused: tuple[int, ...] = ()
        self._kept_prefixes: OrderedDict[tuple[int, ...], KeyValues] = OrderedDict()
        """The keys and values of the latest prefixes that were reused."""
        self._config = read_config(self._source, name)
        self._backend = backend_of(self._config, name)
        self.capabilities = self._backend.capabilities

    @cached_property
    def card(self) -> TextCard:
        """The model's card; the tokenizer is read at the first access."""
        backend, tokenizer = self._backend, self._tokenizer
        read = card(self._config, tokenizer, self.name, at_most=backend.longest(tokenizer))
        return replace(read, format=backend.format(tokenizer), layers=backend.layers)

    @cached_property
    def _tokenizer(self) -> TransformersTokenizer:
        return read_tokenizer(self._tokenizer_source, self.name)

    def identity(self) -> Mapping[str, object]:
        """Returns the content, settings and library versions that determine a result."""
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
            **({} if isinstance(self._backend, CausalBackend) else {"kind": type(self._backend).__name__}),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def notes(self) -> Sequence[str]:
        """Returns what slowed the model down, such as a batch that was split."""
        return tuple(self._notes)

    def load(self) -> None:
        """Loads the weights, and determines which forward pass the model supports."""
        _ = self._forward

    def embed(self, ids: Sequence[int]) -> Array:
        """Returns the embeddings of tokens."""
        return self._forward.embed(ids)

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """Returns the keys and values of a text in every layer."""
        forward = self._causal_forward("Keys and values")
        self._checks.check_prefixes()
        return prefix_of(forward.keys_values(ids))

    def batches(self, requests: Sequence[Request]) -> Sequence[tuple[int, ...]]:
        """Returns the indices of the requests that are computed together; see `Model.batches`."""
        return [
            tuple(indices[i] for i in batch.requests)
            for indices, plan in self._plans(self._merged(requests))
            for batch in plan.batches
        ]

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        """Yields the outputs of one batch of the plan at a time; see `Model.answer`."""
        self.check_supported(requests)
        requests = self._merged(requests)
        check_ids(requests, self.card)
        self._checks.check(requests)
        finished = frozenset(done)
        for indices, plan in self._plans(requests):
            prefix: KeyValues | None = None
            for batch in plan.batches:
                batch_indices = tuple(indices[i] for i in batch.requests)
                if finished.issuperset(batch_indices):
                    continue
                if prefix is None:
                    prefix = self._prefix_of(plan, [requests[i] for i in indices])
                outputs = self._answer_or_split([requests[i] for i in batch_indices], batch.reuse, prefix)
                yield batch_indices, tuple(outputs)

    @contextmanager
    def reusing(self, prefix: tuple[int, ...]) -> Iterator[None]:
        """Keeps the keys and values of a prefix for the next calls; see `KeepsPrefixes.reusing`.

        Requests with learned prefixes or edits, which change the keys and values of all tokens, reuse nothing.
        """
        texts = takewhile(lambda token: token >= 0, prefix)  # not the learned vectors, which are negative ids
        self._reused = tuple(texts)
        try:
            yield
        finally:
            self._reused = ()

    def differentiable(
        self, requests: Sequence[Request], *, checkpointing: bool = False, precision: Precision = "no"
    ) -> TorchScores:
        """Returns requests as functions of their learned values; see `Differentiable.differentiable`."""
        self.check_supported(requests)
        self._checks.check(requests)
        return TorchScores(self._forward, requests, **self._bounds, checkpointing=checkpointing, precision=precision)

    def heads(self) -> AttentionHeads:
        """Returns the attention heads; see `ExposesHeads.heads`."""
        forward = self._causal_forward("Attention heads")
        return AttentionHeads(forward, batch_tokens=self._batch_tokens)

    def _causal_forward(self, what: str) -> CausalForward:
        """Returns the forward pass of a causal model; raises Unsupported for others before their weights load."""
        if not self.capabilities.heads:
            raise Unsupported(
                f"{what} can be read from a causal model only, and {self.name} is {self._backend.description}",
                code="not-causal",
                hint="Use a causal language model",
                model=self.name,
            )
        assert isinstance(self._forward, CausalForward)
        return self._forward

    def _merged(self, requests: Sequence[Request]) -> Sequence[Request]:
        return merge_vectors(requests, self.card.embedding_width)

    def _plans(self, requests: Sequence[Request]) -> list[tuple[list[int], Plan]]:
        """Returns a plan, with the indices of its requests, for all requests with the same prefixes and edits.

        Prefixes and edits change the keys and values of the tokens that a plan shares.
        """
        groups: dict[tuple[tuple[object, ...], tuple[object, ...]], list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault((request.interventions.prefixes, request.interventions.edits), []).append(index)
        share = self._forward.shares_prefixes
        plans = []
        for interventions, indices in groups.items():
            known = () if any(interventions) else self._reused
            plans.append((indices, make_plan([requests[i] for i in indices], share=share, known=known, **self._bounds)))
        return plans

    def _prefix_of(self, plan: Plan, requests: Sequence[Request]) -> KeyValues:
        """Returns the keys and values of a plan's shared prefix, and keeps them if it is the reused prefix.

        With learned prefixes or edits they are not kept, because these change them even if the tokens are the same.
        """
        given = requests[0].interventions
        if not plan.prefix or plan.prefix != self._reused or given.prefixes or given.edits:
            return self._prefill(plan, requests)
        if plan.prefix not in self._kept_prefixes:
            self._kept_prefixes[plan.prefix] = self._prefill(plan, requests)
        self._kept_prefixes.move_to_end(plan.prefix)
        while len(self._kept_prefixes) > 1 and sum(map(len, self._kept_prefixes)) > KEPT_TOKENS:
            self._kept_prefixes.popitem(last=False)
        return self._kept_prefixes[plan.prefix]

    def _prefill(self, plan: Plan, requests: Sequence[Request]) -> KeyValues:
        tokens = len(plan.prefix)
        with self._reporting_out_of_memory(f"A shared prompt of {tokens} tokens", tokens=tokens):
            return self._forward.prefill(plan.prefix, interventions_of(requests, self._device))

    def _answer_or_split(self, requests: list[Request], reuse: int, prefix: KeyValues) -> list[Output]:
        """Answers a batch; if memory runs out, splits it into halves, repeatedly down to single requests."""
        try:
            return self._answer(requests, reuse, prefix)
        except OutOfMemory:
            if len(requests) == 1:
                raise
            self._notes.append(f"out of memory: a batch of {len(requests)} was split in two")
            _log.warning("Out of memory: a batch of %d requests is split in two.", len(requests))
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        half = len(requests) // 2
        first = self._answer_or_split(requests[:half], reuse, prefix)
        return first + self._answer_or_split(requests[half:], reuse, prefix)

    def _answer(self, requests: list[Request], reuse: int, prefix: KeyValues) -> list[Output]:
        tokens = len(requests[0].text.ids)
        with self._reporting_out_of_memory(f"A prompt of {tokens} tokens", tokens=tokens):
            if isinstance(requests[0].verb, Generate):
                return self._forward.generate(requests, reuse, prefix, writing=self._writing)
            return self._forward.answer(requests, reuse, prefix)

    def _reporting_out_of_memory(self, what: str, **fields: object) -> AbstractContextManager[None]:
        hint = f"Use fewer shots, a smaller model, or {engine_setting('dtype', 'bfloat16')}"
        return reporting_out_of_memory(what, model=self.name, device=self._device, hint=hint, **fields)

    @locked_property
    def _forward(self) -> Forward:
        import transformers

        auto = getattr(transformers, self._backend.auto)
        keywords = {"dtype": self._dtype, **self._load_attention}
        model: Any = load_weights(auto, self._source, self._config, self.name, **keywords)
        with self._reporting_out_of_memory(f"The model {self.name}"):
            model.eval().requires_grad_(False).to(self._device)
        check_sizes(FrozenModel(model), self.card, self.name)
        options = ForwardOptions(
            packed=self._settings.attention == "packed",
            batch_tokens=self._batch_tokens,
            warn=self._warn_unshared,
            checks=self._check_results,
        )
        with reporting_failure(self.name):
            return self._backend.forward(model, self._tokenizer, options)

    def _warn_unshared(self, reason: str) -> None:
        self._notes.append(f"no shared prefixes: {reason}")
        _log.warning("%s is scored without shared prefixes, which is slow: %s.", self.name, reason)

    @cached_property
    def _checks(self) -> InterventionChecks:
        return InterventionChecks(self._forward, self.name, self._check_results)

    @cached_property
    def _check_results(self) -> CheckResults:
        return CheckResults(self.identity(), self._device)

    @property
    def _load_attention(self) -> Mapping[str, str]:
        """The attention that transformers loads the model with: its default, unless that ignores the model's soft cap."""
        chosen = self._settings.attention
        if not caps_attention_logits(self._config.get_text_config()):
            return {} if chosen == "packed" else {"attn_implementation": chosen}
        if chosen == "sdpa":
            raise Unsupported(
                f"The model {self.name} uses attention logit soft-capping, which sdpa silently ignores",
                code="soft-cap-ignored",
                hint=f"Leave attention out, or use {engine_setting('attention', 'eager')}",
                model=self.name,
                attention=chosen,
            )
        return {"attn_implementation": "eager" if chosen == "packed" else chosen}

    def _check_schemas(self, schemas: Sequence[str]) -> None:
        """Raises Unsupported if texts cannot be restricted to one of the schemas, or with the tokenizer."""
        super()._check_schemas(schemas)
        for schema in schemas:
            self._constraints(schema)

    @cached_property
    def _constraints(self) -> Constraints:
        return Constraints(
            lambda: fast_tokenizer(self._tokenizer.serialized, vocabulary=self.card.vocabulary, ends=self._ends), self.name
        )

    @cached_property
    def _writing(self) -> Writing:
        return Writing(tokenizer=self.card.tokenizer, ends=self._ends, constrain=self._constraints)

    @cached_property
    def _ends(self) -> frozenset[int]:
        return end_tokens(self._source, self._config, self._tokenizer)

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

    @property
    def _bounds(self) -> BatchBounds:
        """The most tokens and query-key pairs of a batch, as keywords."""
        return {"batch_tokens": self._batch_tokens, "batch_pairs": PAIRS_PER_BATCH}
