"""Text generation with packed rows: a step computes the next token of every text.

A prompt is computed once for all of its samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptkit.core.interventions import Interventions
from promptkit.core.requests import GenerateOutput, Request
from promptkit.models.batching import tree
from promptkit.models.finite import not_finite
from promptkit.models.generation import Text, Writing, outputs_of, texts_of
from promptkit.models.hf.kv_cache import GenerationCache, KeyValues
from promptkit.models.hf.lm_head import LMHead
from promptkit.models.hf.packed_row import PackedRow, pack, pack_next_tokens

SAMPLED_AT_ONCE = 32
"""Texts whose whole next-token distributions are in memory at once."""
MIN_ACTIVE_SHARE = 0.75
"""Texts that have ended are removed from the batch when less than this share of it is still being generated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """The model and the shared prefix with which a batch of texts is generated."""

    hidden_states: Callable[[PackedRow], Tensor]
    """Runs a row through the model; returns its last hidden states, shape (T, d_model)."""
    head: LMHead
    prefix: KeyValues
    """Keys and values that all prompts share."""
    reuse: int
    """How many tokens of `prefix` the prompts begin with."""
    interventions: Interventions[Tensor]
    """The learned parts of the prompts."""
    device: torch.device
    batch_tokens: int
    """The most tokens computed at once."""

    def prefill(self, requests: Sequence[Request]) -> tuple[list[KeyValues], list[Tensor]]:
        """Computes the prompts: the keys and values of each, and the last hidden state of each, shape (d_model,)."""
        prompts: list[KeyValues] = []
        last_states: list[Tensor] = []
        for group in _groups(requests, self.reuse, self.batch_tokens):
            row = pack(
                [request.text.ids[self.reuse :] for request in group],
                [tree(())] * len(group),
                prefix=self.prefix,
                reuse=self.reuse,
                device=self.device,
                interventions=self.interventions,
                store=True,
            )
            states = self.hidden_states(row)
            prompts += [row.stored_prompt(prompt) for prompt in range(len(group))]
            last_states += [states[start + length - 1] for start, length in zip(row.starts, row.lengths, strict=True)]
        return prompts, last_states

    def step(self, tokens: Sequence[int], cache: GenerationCache) -> Tensor:
        """Computes one more token of each text and adds it to the cache; returns hidden states, shape (texts, d_model)."""
        row = pack_next_tokens(
            tokens, cache, prefix=self.prefix, reuse=self.reuse, device=self.device, interventions=self.interventions
        )
        states = self.hidden_states(row)
        cache.advance()
        return states


def generate(decoding: Decoding, requests: Sequence[Request], writing: Writing) -> list[GenerateOutput]:
    """Returns the outputs of `Generate` requests that all begin with the shared prefix.

    Args:
        decoding: The model and the prefix.
        requests: The requests; each may request several samples.
        writing: Determines which tokens a text may have, and when it ends.
    """
    texts = texts_of(requests, writing.constrain)
    cache, hidden = _start(decoding, requests, texts)
    active = list(texts)
    while True:
        tokens = _next_tokens(decoding.head, hidden, active)
        for text, token in zip(active, tokens, strict=True):
            if text.generation is None:
                text.add(token, writing)
        unfinished = [index for index, text in enumerate(active) if text.generation is None]
        if not unfinished:
            return outputs_of(texts, len(requests))
        if len(unfinished) < MIN_ACTIVE_SHARE * len(active):
            cache = cache.select(unfinished)
            active, tokens = [active[i] for i in unfinished], [tokens[i] for i in unfinished]
        hidden = decoding.step(tokens, cache)


def _start(decoding: Decoding, requests: Sequence[Request], texts: Sequence[Text]) -> tuple[GenerationCache, Tensor]:
    """Returns a cache with each text's prompt, and the hidden states that predict each text's first token, (texts, d_model)."""
    prompts, last_states = decoding.prefill(requests)
    longest_prompt = max(len(request.text.ids) - decoding.reuse for request in requests)
    capacity = longest_prompt + max(text.verb.max_tokens for text in texts)
    cache = GenerationCache.from_prompts([prompts[text.request] for text in texts], capacity)
    return cache, torch.stack([last_states[text.request] for text in texts])


def next_token(logits: Tensor, text: Text) -> int:
    """Returns the most likely token that is allowed, or for a temperature above 0 a sampled one.

    Samples by inverting the cumulative distribution at a number in [0, 1) that depends only on the text's seed, sample and
    step.

    Args:
        logits: Shape (vocabulary,).
        text: The text so far, with its sampling settings.

    Raises:
        ModelError: If the logits have no finite largest value.
    """
    if not torch.isfinite(logits.logsumexp(-1)):
        raise not_finite("a logit")
    if text.constraint is not None:
        allowed = torch.from_numpy(text.constraint.allowed(len(logits))).to(logits.device)
        logits = logits.masked_fill(~allowed, -torch.inf)
    if text.verb.temperature == 0:
        return int(logits.argmax())
    cumulative = (logits / text.verb.temperature).softmax(-1).double().cumsum(-1)
    target = torch.tensor([text.uniform], dtype=torch.float64, device=logits.device) * cumulative[-1]
    return min(int(torch.searchsorted(cumulative, target, right=True)), len(logits) - 1)


def _next_tokens(head: LMHead, hidden: Tensor, texts: Sequence[Text]) -> list[int]:
    if all(text.verb.temperature == 0 and text.constraint is None for text in texts):
        no_tokens = torch.zeros((len(hidden), 0), dtype=torch.long, device=hidden.device)
        _, best, best_ids = head.logprobs(hidden, no_tokens, 1)
        if not torch.isfinite(best).all():
            raise not_finite("a logit")
        most_likely: list[int] = best_ids[:, 0].tolist()
        return most_likely
    tokens: list[int] = []
    for begin in range(0, len(texts), SAMPLED_AT_ONCE):
        some = slice(begin, begin + SAMPLED_AT_ONCE)
        tokens += [next_token(row, text) for row, text in zip(head.logits(hidden[some]), texts[some], strict=True)]
    return tokens


def _groups(requests: Sequence[Request], reuse: int, batch_tokens: int) -> Iterator[list[Request]]:
    """Yields consecutive requests with at most `batch_tokens` tokens to compute together."""
    group: list[Request] = []
    size = 0
    for request in requests:
        tokens = len(request.text.ids) - reuse
        if group and size + tokens > batch_tokens:
            yield group
            group, size = [], 0
        group.append(request)
        size += tokens
    if group:
        yield group
