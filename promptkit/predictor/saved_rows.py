"""The rows that a prompt takes demonstrations from, as lines of `demonstrations.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from promptkit.core.errors import CheckpointError
from promptkit.core.examples import LabeledExample, Part
from promptkit.core.fingerprints import Fingerprint
from promptkit.predictor.saved_format import ROWS


class _SavedRow(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: Part
    id: str
    inputs: dict[str, str]
    choices: tuple[str, ...]
    label: str
    accepted: tuple[str, ...]
    labels: tuple[str, ...] = ()
    value: float | None = None
    rationale: dict[str, str]
    fingerprint: str | None


def write_rows(rows: Mapping[Part, Sequence[LabeledExample]]) -> bytes:
    """Returns rows as lines of JSON."""
    lines = [_line(part, row) for part, of_part in rows.items() for row in of_part]
    return "".join(f"{line}\n" for line in lines).encode()


def _line(part: Part, row: LabeledExample) -> str:
    fingerprint = None if row.fingerprint is None else str(row.fingerprint)
    saved = {
        "part": part,
        "id": row.id,
        "inputs": dict(row.texts),
        "choices": list(row.choices),
        "label": row.label,
        "accepted": list(row.accepted),
        **({"labels": list(row.labels)} if row.labels else {}),
        **({} if row.value is None else {"value": row.value}),
        "rationale": dict(row.rationale),
        "fingerprint": fingerprint,
    }
    return json.dumps(saved, ensure_ascii=False)


def read_rows(content: bytes, counts: Mapping[Part, int]) -> dict[Part, tuple[LabeledExample, ...]]:
    """Returns the rows of each part.

    Args:
        content: The content of the file.
        counts: The number of rows of each part.

    Raises:
        CheckpointError: A line is not a row, or the numbers of rows differ.
    """
    rows: dict[Part, list[LabeledExample]] = {part: [] for part in counts}
    try:
        for line in content.decode().split("\n")[:-1]:
            saved = _SavedRow.model_validate_json(line)
            rows[saved.part].append(_row(saved))
    except (ValidationError, UnicodeDecodeError, KeyError) as error:
        raise _invalid(str(error).partition("\n")[0]) from None
    if {part: len(of_part) for part, of_part in rows.items()} != dict(counts):
        raise _invalid("the number of rows differs")
    return {part: tuple(of_part) for part, of_part in rows.items()}


def _row(saved: _SavedRow) -> LabeledExample:
    return LabeledExample(
        id=saved.id,
        inputs=saved.inputs,
        choices=saved.choices,
        label=saved.label,
        accepted=saved.accepted,
        labels=saved.labels,
        value=saved.value,
        rationale=saved.rationale,
        fingerprint=None if saved.fingerprint is None else Fingerprint.parse(saved.fingerprint),
    )


def _invalid(reason: str) -> CheckpointError:
    return CheckpointError(
        f"The rows in {ROWS} are not those of the predictor", code="invalid-rows", got=reason, file=ROWS, reason=reason
    )
