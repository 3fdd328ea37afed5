"""Files with an instruction and the rows that it was chosen by, so that evaluating it on them is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from promptkit.core.errors import InputError
from promptkit.core.files import write_atomically
from promptkit.core.fingerprints import Fingerprint


@dataclass(frozen=True, slots=True)
class ChosenInstruction:
    """An instruction that was chosen by labeled rows."""

    text: str
    """The instruction; "" for none."""
    fitted_on: frozenset[Fingerprint] = frozenset()
    """The rows."""

    def save(self, path: Path) -> None:
        """Writes the instruction and the fingerprints of the rows to a JSON file."""
        content = {"instruction": self.text, "fitted_on": sorted(map(str, self.fitted_on))}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> ChosenInstruction:
        """Reads the file.

        Raises:
            InputError: There is no such file, or it is not one that `save` wrote.
        """
        hint = "Give a file that promptkit search wrote, or the text of the instruction itself"
        try:
            content = _Content.model_validate_json(path.read_bytes())
            return cls(content.instruction, frozenset(map(Fingerprint.parse, content.fitted_on)))
        except OSError:
            raise InputError(
                f"There is no file {path} with an instruction", code="no-such-file", hint=hint, file=str(path)
            ) from None
        except (ValidationError, ValueError):
            raise InputError(
                f"The file {path} contains no instruction with the rows that it was chosen by",
                code="not-an-instruction",
                hint=hint,
                file=str(path),
            ) from None


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    instruction: str
    fitted_on: list[str]
