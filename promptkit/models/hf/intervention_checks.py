"""Checks that a model supports the learned values of requests and that their shapes match the model.

What a model supports is determined on a few tokens the first time that a request needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from promptkit.core.errors import Unsupported
from promptkit.core.requests import Request
from promptkit.models.hf.checked import CheckResults
from promptkit.models.hf.forward import CausalForward, Forward
from promptkit.models.hf.tensors import check_prefixes, prefix_of
from promptkit.models.hf.verify import supports_vectors, why_no_edits, why_no_prefixes


class InterventionChecks:
    """Checks the learned values of requests against one model."""

    def __init__(self, forward: Forward, name: str, results: CheckResults) -> None:
        """Prefixes and edits need the forward pass of a causal model.

        Args:
            forward: The forward pass.
            name: The name of the model in error messages.
            results: The known results of checks of this model.
        """
        self._forward = forward
        self._results = results
        self._name = name

    def check(self, requests: Sequence[Request]) -> None:
        """Checks everything that the requests contain.

        Raises:
            Unsupported: If the model does not support learned vectors, prefixes or edits that a request contains.
            CheckpointError: If prefixes have another shape than the model's keys and values.
        """
        if any(request.interventions.vectors for request in requests):
            self.check_vectors()
        if any(request.interventions.prefixes for request in requests):
            self.check_prefixes()
            check_prefixes(requests, *self._prefix_shape)
            self._check_prefix_layers(requests)
        if any(request.interventions.edits for request in requests):
            self.check_edits()

    def check_vectors(self) -> None:
        """Raises Unsupported if the model does not support learned vectors."""
        if not self._supports_vectors:
            raise Unsupported(
                f"The model {self._name} does not support learned vectors: embeddings give other results than token ids",
                code="no-learned-vectors",
                hint="Use another model",
                model=self._name,
            )

    def check_prefixes(self) -> None:
        """Raises Unsupported if the model does not support learned prefixes."""
        if self._why_no_prefixes:
            raise Unsupported(
                f"The model {self._name} does not support prefixes: {self._why_no_prefixes}",
                code="no-prefixes",
                hint="Use another model",
                model=self._name,
            )

    def check_edits(self) -> None:
        """Raises Unsupported if the model does not support edits of hidden states."""
        if self._why_no_edits:
            raise Unsupported(
                f"The hidden states of the model {self._name} cannot be edited layer by layer: {self._why_no_edits}",
                code="no-edits",
                hint="Use another model",
                model=self._name,
            )

    def _check_prefix_layers(self, requests: Sequence[Request]) -> None:
        """Raises Unsupported for a prefix that is not at every layer, which the attention of transformers needs."""
        if self._causal.shares_prefixes:
            return
        all_layers = tuple(range(1, self._causal.causal_lm.num_layers + 1))
        if any(prefix.layers != all_layers for request in requests for prefix in request.interventions.prefixes):
            raise Unsupported(
                f"The model {self._name} runs with attention of transformers, which needs a prefix at every layer or none",
                code="prefix-at-some-layers",
                hint="Do not set layers; if attention is set, leave it out",
                model=self._name,
            )

    @cached_property
    def _supports_vectors(self) -> bool:
        return self._results.holds("vectors", lambda: supports_vectors(self._forward))

    @cached_property
    def _why_no_prefixes(self) -> str:
        return self._results.text("no prefixes", lambda: why_no_prefixes(self._causal))

    @cached_property
    def _why_no_edits(self) -> str:
        return self._results.text("no edits", lambda: why_no_edits(self._causal))

    @cached_property
    def _prefix_shape(self) -> tuple[int, int]:
        """The number of key-value heads of the layers, and the width of a head."""
        _, heads, _, width = prefix_of(self._causal.keys_values((0,))).keys.shape
        return heads, width

    @property
    def _causal(self) -> CausalForward:
        assert isinstance(self._forward, CausalForward)
        return self._forward
