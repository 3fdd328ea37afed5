"""Multiple choice: scores the answer candidates of each row (Brown et al. 2020, 2005.14165)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from promptkit.align.candidates import CandidateScorer
from promptkit.align.token_scores import SequenceScore, check_sequence_score, sequence_score_tensor, sequence_scores
from promptkit.core.examples import Example
from promptkit.core.requests import ScoreOutput

if TYPE_CHECKING:
    from torch import Tensor


class Choices(CandidateScorer):
    """Predicts the most likely of the row's answer candidates.

    Each candidate is scored as a whole token sequence after the prompt. Use it for tasks in which every row has answers of its
    own; use `Verbalizer` where all rows share the same labels.

    Args:
        score: `"sum"` scores a candidate by its log-probability; `"mean"` by the average log-probability per token, which does
            not favor short candidates.

    Raises:
        InputError: `score` has another value.
    """

    name: ClassVar[str] = "choices"
    labels: tuple[str, ...] = ()

    def __init__(self, *, score: SequenceScore = "sum") -> None:
        check_sequence_score(self.name, score)
        self.score: SequenceScore = score

    def candidates(self, example: Example) -> tuple[str, ...]:
        """Returns the answer candidates of the row."""
        return example.choices

    def words(self, example: Example) -> tuple[str, ...]:
        """Returns the texts to score, which are the candidates themselves."""
        return example.choices

    def label_words(self) -> Mapping[str, str]:
        """Returns an empty mapping: demonstrations show the answer text itself."""
        return {}

    def align(self, output: ScoreOutput) -> tuple[float, ...]:
        """Returns one score for each candidate, in natural-log units."""
        return tuple(sequence_scores(output, self.score))

    def align_tensors(self, logprobs: Sequence[Tensor]) -> Tensor:
        """Returns the scores of `align` as a differentiable tensor of shape (candidates,)."""
        return sequence_score_tensor(logprobs, self.score)

    def settings(self) -> Mapping[str, object]:
        """Returns the name and how candidates are scored."""
        return {"name": self.name, "score": self.score}
