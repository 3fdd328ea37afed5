"""A PEFT checkpoint as the folder of a learned manipulation, and the other way round."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Literal

from promptkit.core.errors import CheckpointError
from promptkit.core.manipulation import Learnable
from promptkit.core.model import Model
from promptkit.core.paths import expanded
from promptkit.manipulate.learned import peft
from promptkit.manipulate.learned.prefix import Prefix
from promptkit.manipulate.learned.soft_prompt import SoftPrompt
from promptkit.manipulate.learned.storage import load_manipulation, save
from promptkit.predictor.compatibility import base_of, check_base


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What was converted."""

    learned: Learnable
    to: Literal["peft", "promptkit"]
    path: Path
    """The folder that was written."""

    def to_json(self) -> dict[str, object]:
        """What `promptkit convert --json` prints."""
        return {
            "to": self.to,
            "learned": dict(self.learned.settings()),
            "base": dict(self.learned.base),
            "path": str(self.path),
        }

    def __str__(self) -> str:
        """In two lines."""
        name = str(self.learned.base.get("name") or "")
        numbers = sum(prod(array.shape) for array in self.learned.parameters.values())
        use = {
            "peft": f"peft.PeftModel.from_pretrained(model, {str(self.path)!r})",
            "promptkit": f"promptkit eval TASK --model {name or 'NAME'} --prompt {self.path}",
        }
        return f"{self.learned.name} · {numbers} numbers learned on {name or 'a model without a name'}\nuse it: {use[self.to]}"


def convert(folder: str | Path, out: str | Path, *, model: Model | None = None) -> Converted:
    """Write a PEFT checkpoint as a learned manipulation, or a learned manipulation as a PEFT checkpoint, whichever `folder` is.

    `model` is the one that it was learned on, if the folder does not say so, or knows it by another name. Raises
    PromptkitError where it cannot be that one, and for what PEFT cannot express.
    """
    path = expanded(out)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        reason, hint = f"The output path {path} already exists and was not changed", "Name a folder that does not exist yet"
        raise CheckpointError(reason, code="path-exists", hint=hint, path=str(path))
    learned = load_manipulation(folder)
    if model is not None:
        learned = _on(model, learned)
    if peft.is_checkpoint(folder):
        return Converted(learned=learned, to="promptkit", path=save(learned, path))
    return Converted(learned=learned, to="peft", path=peft.write(learned, path))


def _on(model: Model, learned: Learnable) -> Learnable:
    """The same, learned on this very model."""
    check_base(learned, model)
    if isinstance(learned, SoftPrompt) and not learned.slot and not model.card.tokenizer.bos:
        learned = replace(learned, place="start")
    if isinstance(learned, Prefix) and learned.layers == tuple(range(1, model.card.layers + 1)):
        learned = replace(learned, layers=())
    return learned.with_parameters(learned.parameters, base_of(model))
