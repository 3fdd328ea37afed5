"""Log-probabilities from the output head, at scored positions only and in float32.

The vocabulary is processed in blocks. A block of the head's rows stays in the processor's cache and is multiplied from the
left, which on a CPU is about twice as fast as one product with the whole head; the full logits are never in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

VOCABULARY_BLOCK = 4096
"""Rows of the output head multiplied at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LMHead:
    """The output head of a language model, with the scale and the soft cap that the model applies to its logits."""

    weight: Tensor
    """Shape (vocabulary, d_model)."""
    bias: Tensor | None
    """Shape (vocabulary,)."""
    scale: float
    """Factor of the logits."""
    softcap: float | None
    """Soft cap of the scaled logits; see `capped`."""

    def logprobs(self, hidden: Tensor, tokens: Tensor, top_m: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Computes next-token log-probabilities at S positions, normalized over the whole vocabulary.

        Args:
            hidden: Last hidden states, shape (S, d_model). If S is 0, the head is not run.
            tokens: The ids to score at each position, shape (S, W).
            top_m: How many of the most likely tokens to return.

        Returns:
            The log-probabilities of `tokens`, shape (S, W); and the log-probabilities and ids of the `top_m` most likely
            tokens, each of shape (S, top_m), most likely first.
        """
        states = hidden.float()
        log_normalizer = torch.full((len(states),), -torch.inf, device=states.device)
        logits_of_tokens = torch.zeros(tokens.shape, device=states.device)
        best = states.new_empty((len(states), 0))
        best_ids = tokens.new_empty((len(states), 0))
        for begin in range(0, len(self.weight) if len(states) else 0, VOCABULARY_BLOCK):
            logits = self._block_logits(states, begin)
            size = logits.shape[1]
            log_normalizer = torch.logaddexp(log_normalizer, logits.logsumexp(-1))
            in_block = (tokens >= begin) & (tokens < begin + size)
            logits_of_tokens = torch.where(in_block, logits.gather(1, (tokens - begin).clamp(0, size - 1)), logits_of_tokens)
            if top_m:
                ids = torch.arange(begin, begin + size, device=tokens.device).expand(len(states), -1)
                best, chosen = torch.cat([best, logits], 1).topk(min(top_m, best.shape[1] + size))
                best_ids = torch.cat([best_ids, ids], 1).gather(1, chosen)
        return logits_of_tokens - log_normalizer[:, None], best - log_normalizer[:, None], best_ids

    def logits(self, hidden: Tensor) -> Tensor:
        """Computes the logits of the whole vocabulary in float32: (S, d_model) -> (S, vocabulary)."""
        states = hidden.float()
        return torch.cat([self._block_logits(states, begin) for begin in range(0, len(self.weight), VOCABULARY_BLOCK)], 1)

    def _block_logits(self, states: Tensor, begin: int) -> Tensor:
        block = slice(begin, begin + VOCABULARY_BLOCK)
        with torch.autocast(states.device.type, enabled=False):
            logits = (self.weight[block].float() @ states.T).T
        if self.bias is not None:
            logits = logits + self.bias[block].float()
        return capped(logits * self.scale, self.softcap)


def capped(scores: Tensor, softcap: float | None) -> Tensor:
    """Applies the soft cap of Gemma 2, softcap * tanh(scores / softcap); returns the scores themselves if it is None."""
    return scores if softcap is None else torch.tanh(scores / softcap) * softcap
