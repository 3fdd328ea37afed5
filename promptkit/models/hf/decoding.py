"""Texts written by a packed model, a token of every text a step; the prompts are read once for all their samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from promptkit.core.model import Tokenizer
from promptkit.core.requests import GenerateOutput, Request
from promptkit.models.batching import tree
from promptkit.models.generation import Text, outputs_of, texts_of
from promptkit.models.hf.attention import KeyValues, Layout, Past, lay_out, lay_out_step
from promptkit.models.hf.lm_head import Head
from promptkit.models.hf.tensors import within_of

DRAWN_AT_ONCE = 32
"""Texts whose whole next-token distributions are held at a time."""
WORTH_KEEPING = 0.75
"""Texts that have ended stay in the row until fewer than this share of it is still being written."""


def write(
    states: Callable[[Layout], Tensor],
    head: Head,
    requests: Sequence[Request],
    reuse: int,
    prefix: KeyValues,
    *,
    tokenizer: Tokenizer,
    ends: frozenset[int],
    batch_tokens: int,
    device: torch.device,
) -> list[GenerateOutput]:
    """Outputs of `Generate` requests that all begin with the first `reuse` tokens that `prefix` was made of.

    `states` runs a row through the model and answers its last hidden states, (T, d_model).
    """
    texts = texts_of(requests)
    interventions = within_of(requests, device)
    places: list[tuple[Layout, int]] = []
    last: list[Tensor] = []
    for group in _groups(requests, reuse, batch_tokens):
        prompts = [request.input.ids[reuse:] for request in group]
        trees = [tree(())] * len(prompts)
        row = lay_out(prompts, trees, prefix=prefix, reuse=reuse, device=device, interventions=interventions, keep=True)
        hidden = states(row)
        places += [(row, prompt) for prompt in range(len(prompts))]
        last += [hidden[start + length - 1] for start, length in zip(row.starts, row.lengths, strict=True)]
    room = max(len(r.input.ids) - reuse for r in requests) + max(text.verb.max_tokens for text in texts)
    past = Past.copied([places[text.request] for text in texts], room)
    del places
    hidden = torch.stack([last[text.request] for text in texts])
    writing = list(texts)
    while True:
        tokens = _next_tokens(head, hidden, writing)
        for text, token in zip(writing, tokens, strict=True):
            if text.generation is None:
                text.add(token, tokenizer, ends)
        going = [index for index, text in enumerate(writing) if text.generation is None]
        if not going:
            return outputs_of(texts, len(requests))
        if len(going) < WORTH_KEEPING * len(writing):
            past, writing, tokens = past.only(going), [writing[i] for i in going], [tokens[i] for i in going]
        hidden = states(lay_out_step(tokens, past, prefix=prefix, reuse=reuse, device=device, interventions=interventions))
        past.lengths = tuple(length + 1 for length in past.lengths)


def next_token(logits: Tensor, text: Text) -> int:
    """The likeliest token, or the one drawn by inverting the distribution at the text's chance. logits: (vocabulary,)."""
    if text.verb.temperature == 0:
        return int(logits.argmax())
    cumulative = (logits / text.verb.temperature).softmax(-1).double().cumsum(-1)
    mark = torch.tensor([text.uniform], dtype=torch.float64, device=logits.device) * cumulative[-1]
    return min(int(torch.searchsorted(cumulative, mark, right=True)), len(logits) - 1)


def _next_tokens(head: Head, hidden: Tensor, texts: Sequence[Text]) -> list[int]:
    if all(text.verb.temperature == 0 for text in texts):
        none = torch.zeros((len(hidden), 0), dtype=torch.long, device=hidden.device)
        likeliest: list[int] = head.logprobs(hidden, none, 1)[2][:, 0].tolist()
        return likeliest
    tokens: list[int] = []
    for begin in range(0, len(texts), DRAWN_AT_ONCE):
        some = slice(begin, begin + DRAWN_AT_ONCE)
        tokens += [next_token(row, text) for row, text in zip(head.logits(hidden[some]), texts[some], strict=True)]
    return tokens


def _groups(requests: Sequence[Request], reuse: int, batch_tokens: int) -> Iterator[list[Request]]:
    """Requests in their order, at most `batch_tokens` computed tokens at a time."""
    group: list[Request] = []
    size = 0
    for request in requests:
        own = len(request.input.ids) - reuse
        if group and size + own > batch_tokens:
            yield group
            group, size = [], 0
        group.append(request)
        size += own
    if group:
        yield group
