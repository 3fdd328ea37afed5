"""The options for manipulations that follow the prompt: fixed ones by their names, and learned ones by their folders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from promptkit.config.values import Metavar, RelativePath, Several
from promptkit.core.caller import by_caller, setting
from promptkit.core.errors import InputError
from promptkit.tasks.field_descriptions import NamesFrom
from promptkit.tasks.strict_model import StrictModel

if TYPE_CHECKING:
    from promptkit.core.manipulation import Learnable, Modifier


def build_fixed(spellings: Sequence[str]) -> list[Modifier]:
    """Builds fixed manipulations from `name:key=value`."""
    from promptkit.core.registry import build
    from promptkit.manipulate.modifiers import FIXED

    return [build("fixed manipulation", FIXED, spelling) for spelling in spellings]


def is_fixed(spelling: str) -> bool:
    """Returns whether `name:key=value` names a fixed manipulation."""
    from promptkit.manipulate.modifiers import FIXED

    return _name(spelling) in FIXED


def _name(spelling: str) -> str:
    from promptkit.core.registry import parse

    return parse(spelling)[0]


class ManipulationOptions(StrictModel):
    """Manipulations that follow the first one, in this order: fixed ones, then learned ones."""

    manipulation: Annotated[Several, Metavar("NAME"), NamesFrom("promptkit.manipulate.modifiers:FIXED")] = None
    """Fixed manipulation that changes the inputs: {names}; may be given several times."""
    prompt: Annotated[Several, Metavar("FOLDER"), RelativePath()] = None
    """Folder with a learned manipulation, from promptkit train or PEFT; may be given several times."""

    def build_fixed(self) -> list[Modifier]:
        """Builds the fixed manipulations.

        Raises:
            InputError: A name or a setting is invalid, or the manipulation has to be trained first.
        """
        from promptkit.manipulate.modifiers import LEARNABLE

        learnable = next((name for name in map(_name, self.manipulation or ()) if name in LEARNABLE), None)
        if learnable is not None:
            raise InputError(
                f"The manipulation {learnable} has to be trained first",
                code="needs-training",
                got=setting("manipulation", learnable),
                hint=by_caller(
                    command=f"Train it with promptkit train TASK --manipulation {learnable}, then use --prompt FOLDER",
                    python=f'Train it with pk.TrainConfig(task=..., manipulation="{learnable}").run(), then use prompt=FOLDER',
                ),
                manipulation=learnable,
            )
        return build_fixed(self.manipulation or ())

    def load_learned(self) -> list[Learnable]:
        """Loads the learned manipulations.

        Raises:
            CheckpointError: A folder does not contain a learned manipulation.
        """
        from promptkit.manipulate.learned.storage import load_manipulation

        return [load_manipulation(folder) for folder in self.prompt or ()]
