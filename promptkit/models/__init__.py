"""The frozen model: engines, batching and the score cache."""
