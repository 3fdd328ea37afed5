"""The output head at scored positions only, in float32, a block of the vocabulary at a time.

A block of the head's rows stays in the processor's cache and is multiplied from the left, which on a CPU is about twice
as fast as the whole product; full logits are never held.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

VOCABULARY_BLOCK = 4096
"""Rows of the output head multiplied at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The output head with what the model does to its logits: log-probabilities in float32, vocabulary by blocks."""

    weight: Tensor
    """Shape (vocabulary, d_model)."""
    bias: Tensor | None
    scale: float
    softcap: float | None

    def logprobs(self, hidden: Tensor, tokens: Tensor, top_m: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities at S positions, normalized over the whole vocabulary.

        hidden: (S, d_model). tokens: (S, W) the ids wanted at each position. Returns (S, W), and the `top_m`
        likeliest as (S, top_m) log-probabilities and ids. Where S is 0 the head is not run.
        """
        states = hidden.float()
        total = torch.full((len(states),), -torch.inf, device=states.device)
        wanted = torch.zeros(tokens.shape, device=states.device)
        best = states.new_empty((len(states), 0))
        best_ids = tokens.new_empty((len(states), 0))
        for begin in range(0, len(self.weight) if len(states) else 0, VOCABULARY_BLOCK):
            logits = self._logits(states, begin)
            total = torch.logaddexp(total, logits.logsumexp(-1))
            inside = (tokens >= begin) & (tokens < begin + logits.shape[1])
            picked = logits.gather(1, (tokens - begin).clamp(0, logits.shape[1] - 1))
            wanted = torch.where(inside, picked, wanted)
            if top_m:
                ids = torch.arange(begin, begin + logits.shape[1], device=tokens.device).expand(len(states), -1)
                best, chosen = torch.cat([best, logits], 1).topk(min(top_m, best.shape[1] + logits.shape[1]))
                best_ids = torch.cat([best_ids, ids], 1).gather(1, chosen)
        return wanted - total[:, None], best - total[:, None], best_ids

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of the whole vocabulary in float32. hidden: (S, d_model) -> (S, vocabulary)."""
        states = hidden.float()
        return torch.cat([self._logits(states, begin) for begin in range(0, len(self.weight), VOCABULARY_BLOCK)], 1)

    def _logits(self, states: Tensor, begin: int) -> Tensor:
        block = slice(begin, begin + VOCABULARY_BLOCK)
        with torch.autocast(states.device.type, enabled=False):
            logits = (self.weight[block].float() @ states.T).T
        if self.bias is not None:
            logits = logits + self.bias[block].float()
        return capped(logits * self.scale, self.softcap)


def capped(scores: Tensor, softcap: float | None) -> Tensor:
    """Gemma 2's soft cap: softcap * tanh(scores / softcap); the scores themselves where there is none."""
    return scores if softcap is None else torch.tanh(scores / softcap) * softcap
