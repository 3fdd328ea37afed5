"""The torch modules of `reparameterization`; only that module imports them, so that importing promptkit stays light."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PromptNetwork(nn.Module):
    """A network that computes the vectors of a soft prompt from a learned embedding of each."""

    def __init__(self, length: int, d_model: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(length, d_model)


class MLPEncoder(PromptNetwork):
    """P-tuning's multilayer perceptron, with the parameter names of PEFT's `PromptEncoder`."""

    def __init__(self, length: int, d_model: int, width: int) -> None:
        super().__init__(length, d_model)
        self.mlp_head = nn.Sequential(
            nn.Linear(d_model, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, d_model)
        )

    def forward(self) -> Tensor:
        """Returns the vectors, shape (length, d_model)."""
        vectors: Tensor = self.mlp_head(self.embedding.weight)
        return vectors


class LSTMEncoder(PromptNetwork):
    """P-tuning's LSTM, with the parameter names of PEFT's `PromptEncoder`."""

    def __init__(self, length: int, d_model: int, width: int) -> None:
        super().__init__(length, d_model)
        self.lstm_head = nn.LSTM(d_model, width, num_layers=2, bidirectional=True, batch_first=True)
        self.mlp_head = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, d_model))

    def forward(self) -> Tensor:
        """Returns the vectors, shape (length, d_model)."""
        states, _ = self.lstm_head(self.embedding.weight[None])
        vectors: Tensor = self.mlp_head(states[0])
        return vectors


class ResidualNetwork(PromptNetwork):
    """The bottleneck of residual prompt tuning, with the vectors themselves as its embedding."""

    def __init__(self, length: int, d_model: int, width: int) -> None:
        super().__init__(length, d_model)
        self.down = nn.Linear(d_model, width)
        self.up = nn.Linear(width, d_model)
        self.norm = nn.LayerNorm(d_model)
        nn.init.zeros_(self.norm.weight)

    def forward(self) -> Tensor:
        """Returns the vectors, shape (length, d_model)."""
        vectors = self.embedding.weight
        update: Tensor = self.norm(self.up(torch.relu(self.down(vectors))))
        return vectors + update
