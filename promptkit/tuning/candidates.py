"""Candidates: prompts whose answers are paid for, the alignments of each prompt's answers, and baselines."""

from __future__ import annotations

from dataclasses import dataclass

from promptkit.align.chain import Chain
from promptkit.predictor.predictor import Predictor
from promptkit.training.config import TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptCandidate:
    """A prompt, or another manipulation, with the alignments that are tried on its answers.

    Its requests are the only part of tuning that costs anything: all alignments share the answers.
    """

    name: str
    """What distinguishes it from the other prompts, such as `balanced, k=8`."""
    predictor: Predictor
    """The model, the manipulation and the first aligner; not calibrated."""
    chains: tuple[Chain, ...]
    """The alignments, which share the first aligner. The first one has no calibration, unless the first aligner alone predicts
    nothing."""
    training: TrainingConfig | None = None
    """How its learned manipulations are trained in each fold before it answers; None if it has none."""
    proposed: int | None = None
    """Which of the instructions that the model proposes takes the place of its own one; None if none does."""

    def name_of(self, chain: Chain) -> str:
        """Returns the name of the candidate with an alignment, such as `balanced, k=8 · linear`."""
        return self.name if chain.calibration is None else f"{self.name} · {chain.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One alignment of one prompt, or a baseline."""

    name: str
    """Its name in tables and files."""
    prompt: int | None
    """The position of its prompt in the space; None for a baseline."""
    place: int
    """The position of its alignment among those of the prompt, or of the baseline among the baselines."""
    tokens: float = 0.0
    """The mean number of tokens of a row's prompt, by which ties are broken; 0 for a baseline."""
