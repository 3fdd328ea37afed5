"""Differentiable scores: the forward pass that answers requests, with gradients for learned values.

The tokens that all prompts begin with, up to the first learned one, are computed once. Losses and parameters are defined in
`promptkit.training`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from promptkit.core.errors import TrainingError
from promptkit.core.hashing import Hasher
from promptkit.core.interventions import Interventions
from promptkit.core.model import Precision
from promptkit.core.requests import Request
from promptkit.models.batching import MIN_SHARED, BatchBounds, make_plan, tree_of, unshared_tokens
from promptkit.models.hf.checkpointing import checkpointing
from promptkit.models.hf.forward import Forward

EMBEDDINGS_AT_ONCE = 8192
"""Tokens of the vocabulary whose embeddings are in memory in float32 at once."""
AUTOCAST_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TorchScores:
    """The scores of requests as functions of learned values; implements `promptkit.core.model.DifferentiableTextScores`."""

    def __init__(
        self,
        forward: Forward,
        requests: Sequence[Request],
        *,
        batch_tokens: int,
        batch_pairs: int,
        checkpointing: bool,
        precision: Precision,
    ) -> None:
        """Computes the tokens that the requests share.

        Args:
            forward: The forward pass.
            requests: `Score` requests with the same learned values.
            batch_tokens: The most tokens computed at once.
            batch_pairs: The most query-key pairs computed at once.
            checkpointing: Whether the backward pass computes the activations of each layer again.
            precision: The precision of matrix products, if not that of the weights.

        Raises:
            TrainingError: If the requests do not have the same learned values.
        """
        if len({request.interventions for request in requests}) > 1:
            raise TrainingError(
                "Requests that are trained together must have the same learned vectors, prefixes and edits",
                code="mixed-interventions",
                hint="Train on each group of such requests separately",
                requests=len(requests),
            )
        self._forward, self._requests = forward, requests
        self._checkpointing, self._precision = checkpointing, precision
        self._bounds = BatchBounds(batch_tokens=batch_tokens, batch_pairs=batch_pairs)
        shared = _shared_constant_ids(requests) if forward.shares_prefixes else ()
        self._reuse = len(shared) if len(shared) >= MIN_SHARED else 0
        self._prefix = forward.prefill(shared[: self._reuse])
        self.device: torch.device = forward.device
        self.costs: Sequence[int] = [
            len(request.text.ids) - self._reuse + len(tree_of([request]).tokens) for request in requests
        ]

    def batches(self, chosen: Sequence[int]) -> list[list[int]]:
        """Splits the chosen requests into batches of similar lengths that are each computed at once."""
        plan = make_plan([self._requests[index] for index in chosen], share=False, **self._bounds)
        return [[chosen[place] for place in batch.requests] for batch in plan.batches]

    def scores(self, chosen: Sequence[int], interventions: Interventions[Tensor]) -> list[list[Tensor]]:
        """Returns the token log-probabilities of each continuation of each chosen request."""
        requests = [self._requests[index] for index in chosen]
        with ExitStack() as stack:
            if self._checkpointing and torch.is_grad_enabled():
                stack.enter_context(checkpointing(self._forward.frozen.layers))
            if self._precision != "no":
                stack.enter_context(torch.autocast(self.device.type, AUTOCAST_DTYPES[self._precision]))
            return self._forward.token_logprobs(requests, self._reuse, self._prefix, interventions)

    def embed(self, ids: Sequence[int]) -> Tensor:
        """Returns the embeddings of tokens, shape (tokens, d_model), in float32."""
        with torch.no_grad():
            return self._forward.frozen.embed(torch.tensor(ids, device=self.device)).float()

    def projected(self, vectors: Tensor) -> Tensor:
        """Returns the inner products of vectors, (rows, d_model), with the embeddings of all tokens, (rows, vocabulary)."""
        frozen = self._forward.frozen
        ids = torch.arange(frozen.num_embeddings, device=self.device)
        with torch.no_grad():
            blocks = torch.split(ids, EMBEDDINGS_AT_ONCE)
            return torch.cat([vectors @ frozen.embed(block).float().T for block in blocks], dim=1)

    def weights_hash(self) -> str:
        """Returns the SHA-256 of the names and values of all weights of the model."""
        hasher = Hasher()
        for name, weight in self._forward.model.state_dict().items():
            hasher.update(name)
            hasher.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return hasher.hexdigest()


def _shared_constant_ids(requests: Sequence[Request]) -> tuple[int, ...]:
    """Returns the ids that all prompts begin with, before the first learned value; leaves at least one token of each prompt."""
    prompts, shared = [request.text.ids for request in requests], requests[0].interventions
    if shared.prefixes or any(edit.all_positions or edit.first for edit in shared.edits):
        return ()
    smallest, largest = min(prompts), max(prompts)
    limit = min(map(len, prompts)) - unshared_tokens(requests[0])
    length = 0
    while length < limit and smallest[length] == largest[length] >= 0:
        length += 1
    return smallest[:length]
