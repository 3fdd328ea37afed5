"""The forward pass of a masked language model: the tokens of a label are scored at masks in the place of the answer.

The score of a label is its pseudo-log-likelihood given the text around it (Salazar et al. 2020, arXiv 1910.14659): the sum over
its tokens of log p(token | all other tokens), where only that token is masked and the label's other tokens are visible. As in
the paper, the sum is not divided by the number of tokens. Each token takes one row: the text with the label in which that token
is masked. A label of one token is scored at a single mask, as in pattern-exploiting training (Schick and Schuetze 2021, arXiv
2001.07676), and all such labels by the same row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from promptkit.core.errors import Unsupported
from promptkit.core.interventions import Interventions
from promptkit.core.requests import Output, Read, ReadOutput, Request, Score
from promptkit.models.generation import Writing
from promptkit.models.hf.kv_cache import KeyValues
from promptkit.models.hf.layer_states import layer_of
from promptkit.models.hf.masked_lm import MaskedLM
from promptkit.models.hf.non_causal import NonCausalForward
from promptkit.models.hf.pooling import read_output
from promptkit.models.hf.rows import LOGITS_AT_ONCE, groups, padded


class _Row(NamedTuple):
    """A text with one mask."""

    ids: tuple[int, ...]
    position: int
    """The index of the mask."""


class MaskedForward(NonCausalForward):
    """Answers requests whose prompts contain one mask, in place of the label."""

    def __init__(self, masked_lm: MaskedLM, *, mask: int, padding: int, batch_tokens: int) -> None:
        """Wraps a model; `mask` and `padding` are tokens."""
        super().__init__(masked_lm, padding=padding, batch_tokens=batch_tokens)
        self._masked_lm, self._mask = masked_lm, mask

    def as_prompt(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Returns ids with a mask at the end, and with another token in place of masks and padding."""
        other = next(token for token in range(self.frozen.vocabulary_size) if token not in (self._mask, self._padding))
        return (*(other if token in (self._mask, self._padding) else token for token in ids), self._mask)

    def generate(self, requests: Sequence[Request], reuse: int, prefix: KeyValues, *, writing: Writing) -> list[Output]:
        """Raises Unsupported: a masked language model generates no text."""
        raise Unsupported(
            "A masked language model generates no text",
            code="cannot-generate",
            hint="Use a causal model or an encoder-decoder",
            model_type=self.frozen.model_type,
        )

    def _score(self, requests: Sequence[Request], interventions: Interventions[Tensor]) -> list[list[Tensor]]:
        """Returns the log-probability of each token of each label, with only that token masked."""
        tokens: dict[_Row, dict[int, int]] = {}  # row -> token -> its column
        places: list[list[list[tuple[_Row, int]]]] = []
        for request in requests:
            assert isinstance(request.verb, Score)
            places.append([self._masked(request.text.ids, label) for label in request.verb.continuations])
            for row, token in (place for label in places[-1] for place in label):
                columns = tokens.setdefault(row, {})
                columns.setdefault(token, len(columns))
        logprobs: dict[_Row, Tensor] = {}
        for rows, logits, _ in self._logits([*tokens], interventions):
            normalizers = logits.logsumexp(-1)
            for row, values, normalizer in zip(rows, logits, normalizers, strict=True):
                logprobs[row] = values[[*tokens[row]]] - normalizer
        return [
            [torch.stack([logprobs[row][tokens[row][token]] for row, token in label]) for label in labels] for labels in places
        ]

    def _masked(self, prompt: tuple[int, ...], label: tuple[int, ...]) -> list[tuple[_Row, int]]:
        """Returns the text with a label in place of the mask, once for each of its tokens, which is masked; and the token."""
        at = self._position(prompt)
        before, after = prompt[:at], prompt[at + 1 :]
        return [
            (_Row((*before, *label[:number], self._mask, *label[number + 1 :], *after), at + number), token)
            for number, token in enumerate(label)
        ]

    def _read(self, requests: Sequence[Request], interventions: Interventions[Tensor]) -> list[ReadOutput]:
        reads = {index: request.verb for index, request in enumerate(requests) if isinstance(request.verb, Read)}
        rows = [_Row(requests[index].text.ids, self._read_position(requests[index], verb)) for index, verb in reads.items()]
        all_layers = any(verb.hidden_layer is not None for verb in reads.values())
        outputs: dict[_Row, tuple[Tensor, list[Tensor]]] = {}
        for group, logits, layers in self._logits([*dict.fromkeys(rows)], interventions, all_layers=all_layers):
            for number, row in enumerate(group):
                outputs[row] = logits[number].log_softmax(-1), [states[number] for states in layers]
        width = self.frozen.state_width
        return [_read_output(reads[index], row, *outputs[row], width) for index, row in enumerate(rows)]

    def _logits(
        self, rows: Sequence[_Row], interventions: Interventions[Tensor], *, all_layers: bool = False
    ) -> Iterator[tuple[list[_Row], Tensor, Sequence[Tensor]]]:
        """Yields the rows of one forward pass, their logits at the mask in float32, and the states of all layers."""
        at_once = max(1, LOGITS_AT_ONCE // self.frozen.vocabulary_size)
        tokens = self._batch_tokens if self._masked_lm.head_takes_one_position else min(self._batch_tokens, at_once)
        for indices in groups([len(row.ids) for row in rows], tokens=tokens, rows=at_once, equal=self._equal_lengths):
            group = [rows[index] for index in indices]
            ids, mask = padded([row.ids for row in group], self._padding)
            positions = torch.tensor([row.position for row in group], device=self.device)
            logits, layers = self._masked_lm.logits(
                ids.to(self.device), mask.to(self.device), positions, interventions.vectors, all_layers=all_layers
            )
            yield group, logits.float(), layers

    def _read_position(self, request: Request, verb: Read) -> int:
        """Returns the position of the mask; 0 if nothing is read there, as for the mean hidden state of a text."""
        needs_mask = verb.token_ids or verb.top_m or (verb.hidden_layer is not None and verb.mean_from is None)
        return self._position(request.text.ids) if needs_mask else 0

    def _position(self, prompt: tuple[int, ...]) -> int:
        if prompt.count(self._mask) != 1:
            raise Unsupported(
                "The prompt of a masked language model must have exactly one mask, where the model predicts the answer",
                code="not-one-mask",
                got=f"a prompt of {len(prompt)} tokens with {prompt.count(self._mask)} masks",
                hint="Let a template make the prompt: its target block is where the mask is",
                masks=prompt.count(self._mask),
            )
        return prompt.index(self._mask)


def _read_output(verb: Read, row: _Row, logprobs: Tensor, layers: Sequence[Tensor], width: int) -> ReadOutput:
    """Returns the output of a request: the state at the mask, or a mean over the text."""
    stop = row.position + 1 if verb.mean_from is None else len(row.ids)
    states = None if verb.hidden_layer is None else layer_of(layers, verb.hidden_layer)[:stop]
    return read_output(verb, logprobs, states, width)
