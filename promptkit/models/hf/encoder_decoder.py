"""The forward pass of an encoder-decoder: the encoder reads a prompt once, and the decoder scores or writes its answers.

The log-probabilities of an answer are those that the loss of transformers adds up for the answer as `labels`: the decoder is
given its start token and the tokens that begin every target, such as BART's `<s>`, and predicts all others, the end token too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from promptkit.core.errors import Unsupported
from promptkit.core.interventions import Interventions
from promptkit.core.requests import Output, Read, ReadOutput, Request, Score
from promptkit.models.finite import not_finite
from promptkit.models.generation import Text, Writing, outputs_of, texts_of
from promptkit.models.hf.decoding import next_token
from promptkit.models.hf.encoder_decoder_lm import Encoded, EncoderDecoderLM
from promptkit.models.hf.kv_cache import KeyValues
from promptkit.models.hf.layer_states import layer_of
from promptkit.models.hf.non_causal import NonCausalForward
from promptkit.models.hf.pooling import read_output
from promptkit.models.hf.rows import LOGITS_AT_ONCE, groups, padded
from promptkit.models.hf.tensors import interventions_of, relative_gap
from promptkit.models.hf.verify import LOW_PRECISION_WORST, TOLERANCE

if TYPE_CHECKING:
    from transformers import Cache


class _Answer(NamedTuple):
    """The tokens that the decoder reads for one request."""

    request: int
    ids: tuple[int, ...]


class EncoderDecoderForward(NonCausalForward):
    """Answers requests whose prompts an encoder reads."""

    def __init__(self, encoder_decoder: EncoderDecoderLM, *, padding: int, batch_tokens: int) -> None:
        """Wraps a model; `padding` is its padding token."""
        super().__init__(encoder_decoder, padding=padding, batch_tokens=batch_tokens)
        self._lm = encoder_decoder

    def check_split(self, name: str) -> None:
        """Checks on a short text that the encoder and the decoder can run one after the other.

        Args:
            name: The model as the user named it.

        Raises:
            ModelError: If the model returns numbers that are not finite.
            Unsupported: If encoder and decoder by themselves give other results than the model as a whole.
        """
        ids, answer = self._probe
        with torch.no_grad():
            expected = self._lm.logits(ids, answer).float()
            actual = self._lm.decode(self._lm.encode(ids, torch.ones_like(ids), None), answer).logits.float()
        if expected.isnan().any():
            raise not_finite("a logit", model=name)
        if relative_gap(actual, expected) > self._tolerance:
            raise Unsupported(
                f"The model {name} gives other results if its encoder and its decoder run one after the other",
                code="inseparable-encoder",
                hint="Use another model",
                model=name,
            )

    def generate(self, requests: Sequence[Request], reuse: int, prefix: KeyValues, *, writing: Writing) -> list[Output]:
        """Returns the outputs of `Generate` requests. The texts of a group are generated together, one token of each a step."""
        interventions, texts = interventions_of(requests, self.device), texts_of(requests, writing.constrain)
        for text in texts:
            text.tail = ()  # the decoder's text does not continue the prompt
        with torch.no_grad():
            for indices, encoded in self._encode(requests, interventions):
                pending = [(place, text) for place, index in enumerate(indices) for text in texts if text.request == index]
                width = encoded.mask.shape[1] + max(text.verb.max_tokens for _, text in pending) if pending else 1
                at_once = max(1, self._batch_tokens // width)
                for begin in range(0, len(pending), at_once):
                    some = pending[begin : begin + at_once]
                    rows = torch.tensor([place for place, _ in some], device=self.device)
                    self._generate(encoded.select(rows), [text for _, text in some], writing)
        return [*outputs_of(texts, len(requests))]

    def _generate(self, encoded: Encoded, texts: Sequence[Text], writing: Writing) -> None:
        """Generates one text for each row; rows whose text has ended are computed with padding until all have ended."""
        written = torch.tensor([self._lm.start] * len(texts), device=self.device)
        cache: Cache | None = None
        while any(text.generation is None for text in texts):
            ids = written if cache is None else written[:, -1:]
            decoded = self._lm.decode(encoded, ids, cache=cache, use_cache=self._can_use_cache)
            cache = decoded.cache
            logits, tokens = decoded.logits[:, -1].float(), [self._padding] * len(texts)
            for index, text in enumerate(texts):
                if text.generation is None:
                    tokens[index] = next_token(logits[index], text)
                    text.add(tokens[index], writing)
            written = torch.cat([written, torch.tensor(tokens, device=self.device)[:, None]], dim=1)

    @property
    def _probe(self) -> tuple[Tensor, Tensor]:
        """A short prompt and answer, each of shape (1, width)."""
        prompt, answer = ((3, 4, 5, 6), (*self._lm.start, 5))
        return torch.tensor([prompt], device=self.device), torch.tensor([answer], device=self.device)

    @cached_property
    def _can_use_cache(self) -> bool:
        """Whether a step that computes one token with a cache gives the same result as all tokens at once, for a short text."""
        prompt, answer = self._probe
        encoded = self._lm.encode(prompt, torch.ones_like(prompt), None)
        expected = self._lm.decode(encoded, answer).logits[:, -1]
        try:
            first = self._lm.decode(encoded, answer[:, :-1], use_cache=True)
            actual = self._lm.decode(encoded, answer[:, -1:], cache=first.cache, use_cache=True).logits[:, -1]
        except Exception:  # the code of a model may fail in any way with a cache that it did not make
            return False
        return first.cache is not None and relative_gap(actual, expected) <= self._tolerance

    @property
    def _tolerance(self) -> float:
        """The largest difference of two computations of the same logits, relative to the largest logit."""
        return TOLERANCE if self.dtype == torch.float32 else LOW_PRECISION_WORST

    def _score(self, requests: Sequence[Request], interventions: Interventions[Tensor]) -> list[list[Tensor]]:
        """Returns the log-probabilities of each answer's tokens."""
        start = self._lm.start
        logprobs: dict[_Answer, dict[tuple[int, ...], Tensor]] = {}
        answers: list[dict[_Answer, list[tuple[int, ...]]]] = []
        for number, request in enumerate(requests):
            assert isinstance(request.verb, Score)
            answers.append({})
            for answer in request.verb.continuations:
                answers[-1].setdefault(_Answer(number, start + answer[:-1]), []).append(answer)
        for indices, encoded in self._encode(requests, interventions):
            rows = [(place, row) for place, index in enumerate(indices) for row in answers[index]]
            for group, logits, _ in self._decode(encoded, rows):
                for row, values in zip(group, logits, strict=True):
                    scores = values[len(start) - 1 : len(row.ids)].log_softmax(-1)
                    logprobs[row] = {answer: _at(scores, answer) for answer in answers[row.request][row]}
        return [
            [logprobs[_Answer(number, start + answer[:-1])][answer] for answer in request.verb.continuations]
            for number, request in enumerate(requests)
            if isinstance(request.verb, Score)
        ]

    def _read(self, requests: Sequence[Request], interventions: Interventions[Tensor]) -> list[ReadOutput]:
        """Reads predictions and states of the decoder after its start tokens, and means over the encoder's states."""
        reads = {number: request.verb for number, request in enumerate(requests) if isinstance(request.verb, Read)}
        all_layers = any(verb.hidden_layer is not None for verb in reads.values())
        outputs: dict[int, ReadOutput] = {}
        for indices, encoded in self._encode(requests, interventions, all_layers=all_layers):
            rows = [(place, _Answer(index, self._lm.start)) for place, index in enumerate(indices)]
            place_of = {index: place for place, index in enumerate(indices)}
            for group, logits, layers in self._decode(encoded, rows, all_layers=all_layers):
                for number, row in enumerate(group):
                    verb, scores = reads[row.request], logits[number, -1].log_softmax(-1)
                    states = None
                    if verb.hidden_layer is not None and verb.mean_from is None:
                        states = layer_of(layers, verb.hidden_layer)[number]
                    elif verb.hidden_layer is not None:
                        length = len(requests[row.request].text.ids)
                        states = layer_of(encoded.layers, verb.hidden_layer)[place_of[row.request], :length]
                    outputs[row.request] = read_output(verb, scores, states, self.frozen.state_width)
        return [outputs[number] for number in reads]

    def _encode(
        self, requests: Sequence[Request], interventions: Interventions[Tensor], *, all_layers: bool = False
    ) -> Iterator[tuple[list[int], Encoded]]:
        """Yields the indices of requests whose prompts are encoded together, and the states of the encoder."""
        lengths = [len(request.text.ids) for request in requests]
        for indices in groups(lengths, tokens=self._batch_tokens, rows=len(lengths), equal=self._equal_lengths):
            ids, mask = padded([requests[index].text.ids for index in indices], self._padding)
            yield (
                indices,
                self._lm.encode(ids.to(self.device), mask.to(self.device), interventions.vectors, all_layers=all_layers),
            )

    def _decode(
        self, encoded: Encoded, answers: Sequence[tuple[int, _Answer]], *, all_layers: bool = False
    ) -> Iterator[tuple[list[_Answer], Tensor, Sequence[Tensor]]]:
        """Yields the answers of one pass of the decoder, their logits in float32, and the states of all layers.

        Args:
            encoded: The prompts.
            answers: The row of the prompt in `encoded` that each answer belongs to, and the answer.
            all_layers: Whether to return hidden states.
        """
        lengths = [len(answer.ids) for _, answer in answers]
        longest = max(lengths)
        rows_at_once = LOGITS_AT_ONCE // (longest * self.frozen.vocabulary_size)
        rows_at_once = max(1, min(rows_at_once, self._batch_tokens // (encoded.mask.shape[1] + longest)))
        tokens = rows_at_once * longest
        for indices in groups(lengths, tokens=tokens, rows=rows_at_once, equal=self._equal_lengths):
            group = [answers[index][1] for index in indices]
            places = torch.tensor([answers[index][0] for index in indices], device=self.device)
            ids, _ = padded([answer.ids for answer in group], self._padding)
            decoded = self._lm.decode(encoded.select(places), ids.to(self.device), all_layers=all_layers)
            yield group, decoded.logits.float(), decoded.layers


def _at(scores: Tensor, answer: tuple[int, ...]) -> Tensor:
    """Returns the score of each token of an answer: (tokens, vocabulary) -> (tokens,)."""
    return scores.gather(1, torch.tensor(answer, device=scores.device)[:, None])[:, 0]
