"""The prompts of a run's rows, as they are shown to readers: `prompts.jsonl`.

Most prompts share their instruction and their demonstrations, so that each different text is written once:

    {"part": "demonstration 1", "text": "Review: ...", "tokens": 23}     a text; texts are numbered from 0 in their order
    {"id": "a0e0badb3c91", "prompt": [0, 1, 5]}                          the prompt of a row

The file is not part of the run: nothing is computed from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from promptkit.core.files import write_pieces
from promptkit.core.inputs import Piece
from promptkit.core.rendered import Rendered
from promptkit.runs.files import expect, parse_record, to_line, writing
from promptkit.runs.recorded import PROMPTS


class PromptPart(NamedTuple):
    """A part of a prompt."""

    part: str
    """Its name, such as `demonstration 1`."""
    text: str
    tokens: int | None
    """The number of its tokens; None if tokens do not belong to single parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """The prompts of the rows of a run."""

    parts: Sequence[PromptPart] = ()
    """The different parts."""
    rows: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Id of a row -> the numbers of its parts."""


def parts_of(rendered: Rendered) -> list[PromptPart]:
    """Returns the parts of a prompt in order, with their numbers of tokens; empty for an input of another modality."""
    groups = [(part, "".join(map(_text, pieces))) for part, pieces in groupby(rendered.pieces, lambda piece: piece.part)]
    if not groups:
        return []
    spans = [(part, [*each]) for part, each in groupby(rendered.text.spans, lambda span: span.part)]
    if [part for part, _ in spans] == [part for part, _ in groups]:
        counts: list[int | None] = [sum(span.stop - span.start for span in each) for _, each in spans]
    else:
        counts = [None] * len(groups)
    return [PromptPart(part, text, tokens) for (part, text), tokens in zip(groups, counts, strict=True)]


def _text(piece: Piece) -> str:
    """The text of a piece, or a description of its learned vectors."""
    return f"[{piece.text}: {piece.learned} vectors]" if piece.learned else piece.text


def record_prompts(folder: Path, prompts: Iterable[tuple[str, Rendered]]) -> None:
    """Writes the prompts of a run, unless its rows have none.

    Args:
        folder: The folder of the run or shard.
        prompts: The id of each row, and its prompt.

    Raises:
        RunError: The file cannot be written.
    """
    rows = [(row, parts) for row, rendered in prompts if (parts := parts_of(rendered))]
    if rows:
        with writing(folder, "run folder"):
            write_pieces(folder / PROMPTS, _lines(rows))


def _lines(rows: Iterable[tuple[str, Sequence[PromptPart]]]) -> Iterator[bytes]:
    known: dict[PromptPart, int] = {}
    for row, parts in rows:
        for part in parts:
            if part not in known:
                known[part] = len(known)
                yield (to_line(part._asdict()) + "\n").encode()
        yield (to_line({"id": row, "prompt": [known[part] for part in parts]}) + "\n").encode()


def read_prompts(folder: Path) -> Prompts:
    """Returns the prompts of a run; those of a run that has not recorded them are empty.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / PROMPTS
    if not path.is_file():
        return Prompts()
    parts: list[PromptPart] = []
    rows: dict[str, list[int]] = {}
    with expect(path, "the prompts of a run"), path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.startswith(b'{"part"'):
                parts.append(PromptPart(**json.loads(line)))
            else:
                record = parse_record(path, number, line)
                rows[str(record["id"])] = [int(str(index)) for index in _indices(record["prompt"])]
    return Prompts(parts=parts, rows=rows)


def _indices(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError
    return value
