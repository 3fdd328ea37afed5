"""A predictor that is bound to one task: turns rows into requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptkit.core.examples import Example
from promptkit.core.manipulation import Encode
from promptkit.core.model import Model
from promptkit.core.output_reader import OutputReader
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPredictor:
    """A predictor for one task: turns rows into requests."""

    model: Model
    reader: OutputReader
    """The first aligner of the chain, which reads the model's output."""
    encode: Encode
    """Renders the prompt of each row, with a continuation for each word to score."""

    def requests(self, examples: Sequence[Example]) -> list[Request]:
        """Returns the request of each row."""
        return [self.request(example, rendered) for example, rendered in zip(examples, self.encode(examples), strict=True)]

    def request(self, example: Example, rendered: Rendered) -> Request:
        """Returns the request for the answer to one row.

        Args:
            example: The row.
            rendered: The row's prompt.
        """
        return rendered.request(self.reader.request(example, rendered))
