"""Converts learned manipulations between promptkit's folders and PEFT checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

from promptkit.core.arguments import check_arguments
from promptkit.core.caller import by_caller
from promptkit.core.errors import CheckpointError
from promptkit.core.manipulation import Learnable
from promptkit.core.model import Model
from promptkit.core.paths import expanded
from promptkit.manipulate.learned import peft
from promptkit.manipulate.learned.base_model import base_of, check_base
from promptkit.manipulate.learned.storage import load_manipulation, save


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """The result of a conversion."""

    learned: Learnable
    """The manipulation that was converted."""
    to: Literal["peft", "promptkit"]
    """The format that was written."""
    path: Path
    """The folder that was written."""

    def to_json(self) -> dict[str, object]:
        """Returns the output of `promptkit convert --json`."""
        return {
            "to": self.to,
            "learned": dict(self.learned.settings()),
            "base": dict(self.learned.base),
            "path": str(self.path),
        }

    def __str__(self) -> str:
        name = str(self.learned.base.get("name") or "")
        numbers = sum(prod(array.shape) for array in self.learned.parameters.values())
        usage = {
            "peft": f"peft.PeftModel.from_pretrained(model, {str(self.path)!r})",
            "promptkit": by_caller(
                command=f"promptkit eval TASK --model {name or 'NAME'} --prompt {self.path}",
                python=f"pk.load_manipulation({str(self.path)!r})",
            ),
        }
        model = name or "a model without a name"
        return f"{self.learned.name} · {numbers} numbers learned on {model}\nuse it: {usage[self.to]}"


@check_arguments("convert")
def convert(folder: str | Path, out: str | Path, *, model: Model | None = None) -> Conversion:
    """Converts a PEFT checkpoint to a learned manipulation, or a learned manipulation to a PEFT checkpoint.

    Args:
        folder: The folder to convert, in either format.
        out: The folder to write; it must not exist, or be empty.
        model: The model it was trained on, if the folder does not identify it or names it differently.

    Returns:
        The converted manipulation, and the folder that was written.

    Raises:
        CheckpointError: If the output exists, the model is another one, or PEFT has no format for the manipulation.
    """
    path = expanded(out)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        reason, hint = f"The output path {path} already exists and was not changed", "Name a folder that does not exist yet"
        raise CheckpointError(reason, code="path-exists", hint=hint, path=str(path))
    learned = load_manipulation(folder)
    if model is not None:
        check_base(learned, model)
        learned = learned.canonical(model.card).with_parameters(learned.parameters, base_of(model), learned.fitted_on)
    if peft.is_checkpoint(folder):
        return Conversion(learned=learned, to="promptkit", path=save(learned, path))
    return Conversion(learned=learned, to="peft", path=peft.write(learned, path))
