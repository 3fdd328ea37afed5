"""Typed access to a masked language model of transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from promptkit.models.hf.frozen_model import FrozenModel
from promptkit.models.hf.layer_states import LastState
from promptkit.models.hf.tensors import relative_gap

TOLERANCE = 1e-3
"""The largest difference between the logits of a head that is applied to one position and to all, relative to the largest."""


class _Output(Protocol):
    """The output of a masked language model."""

    logits: Tensor
    hidden_states: Sequence[Tensor]
    """The states of every layer, embeddings first, if they were requested."""


class MaskedLM(FrozenModel):
    """A frozen masked language model of transformers, with its head."""

    def logits(
        self, ids: Tensor, mask: Tensor, positions: Tensor, vectors: Tensor | None, *, all_layers: bool = False
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Runs padded rows through the model.

        Args:
            ids: Token ids, shape (rows, width); a negative id refers to a learned vector.
            mask: 1 for a token, 0 for padding, shape (rows, width).
            positions: The position in each row at which logits are returned, shape (rows,).
            vectors: Learned vectors, shape (vectors, d_model).
            all_layers: Whether to return hidden states.

        Returns:
            Logits, shape (rows, vocabulary); and with `all_layers` the states of every layer, embeddings first, each of shape
            (rows, width, d_model).
        """
        if self.head_takes_one_position:
            with self._only_states_at(positions):
                output = self._run(ids, mask, vectors, all_layers=all_layers)
            return output.logits[:, 0], output.hidden_states if all_layers else ()
        output = self._run(ids, mask, vectors, all_layers=all_layers)
        return _at(output.logits, positions), output.hidden_states if all_layers else ()

    def _run(self, ids: Tensor, mask: Tensor, vectors: Tensor | None, *, all_layers: bool = False) -> _Output:
        options = {"attention_mask": mask} if "attention_mask" in self._parameters else {}
        output: _Output = self._model(**self.inputs(ids, vectors), **options, output_hidden_states=all_layers)
        return output

    @contextmanager
    def _only_states_at(self, positions: Tensor) -> Iterator[None]:
        """Context manager in which the head is applied to one position of each row, which saves most of its work."""

        def select(module: object, inputs: object, output: LastState) -> LastState:
            output.last_hidden_state = _at(output.last_hidden_state, positions)[:, None]
            return output

        hook = self._model.base_model.register_forward_hook(select)
        try:
            yield
        finally:
            hook.remove()

    @cached_property
    def head_takes_one_position(self) -> bool:
        """Whether the head gives the same logits for one position as for all, for a short text."""
        ids = torch.arange(1, 7, device=self.device)[None] % self.vocabulary_size
        positions = torch.tensor([3], device=self.device)
        with torch.no_grad():
            expected = _at(self._run(ids, torch.ones_like(ids), None).logits, positions)
            try:
                with self._only_states_at(positions):
                    actual = self._run(ids, torch.ones_like(ids), None).logits
            except Exception:  # the code of a model may fail in any way with the states of one position
                return False
        return actual.shape[1] == 1 and relative_gap(actual[:, 0], expected) <= TOLERANCE


def _at(states: Tensor, positions: Tensor) -> Tensor:
    """Returns the state at one position of each row: (rows, width, size) -> (rows, size)."""
    return states[torch.arange(len(states), device=states.device), positions]
