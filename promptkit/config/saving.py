"""The options that save a fitted predictor, and that evaluate a saved one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from promptkit.config.answer import AnswerOptions
from promptkit.config.calibrations import CalibrationOptions
from promptkit.config.manipulations import ManipulationOptions
from promptkit.config.model import ModelOptions
from promptkit.config.reasoning import ReasoningPromptOptions
from promptkit.config.seeds import SeedsOptions
from promptkit.config.values import Metavar, RelativePath
from promptkit.core.caller import setting
from promptkit.core.errors import InputError
from promptkit.core.paths import expanded
from promptkit.tasks.strict_model import StrictModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from promptkit.align.chain import Chain
    from promptkit.predictor.predictor import Predictor
    from promptkit.predictor.saved_format import SavedPredictor


class SavingOptions(StrictModel):
    """Where the predictor is saved."""

    save: Annotated[Path | None, Metavar("FOLDER")] = None
    """Fit the predictor on all labeled rows, and save it into this new folder, for promptkit predict."""

    def check_save(self, calibrations: Sequence[str] = ()) -> None:
        """Checks that a predictor can be saved, before anything is computed.

        Args:
            calibrations: The calibrations that the command names.

        Raises:
            InputError: There are several, so that it is not clear which predictor is saved (`ambiguous-predictor`).
            CheckpointError: The folder is not new or empty.
        """
        from promptkit.predictor.saved_files import check_new

        if self.save is None:
            return
        if len(calibrations) > 1:
            raise InputError(
                "Only one predictor can be saved, and the command describes several",
                code="ambiguous-predictor",
                got=", ".join(calibrations),
                hint=f"Give one calibration with {setting('save')}",
                aligners=tuple(calibrations),
            )
        check_new(expanded(self.save))

    def check_no_save(self, shard: object) -> None:
        """Raises InputError if a shard, which has no results, is to be saved."""
        if self.save is not None:
            raise InputError(
                "A shard has no results to save with a predictor",
                code="conflicting-options",
                got=f"{setting('save', str(self.save))} {setting('shard', str(shard))}",
                hint=f"Merge the shards, then run the same without {setting('shard')} and with {setting('save')}, "
                f"which computes no "
                "row again",
                options=("save", "shard"),
            )


class PredictorOptions(StrictModel):
    """The saved predictor that is evaluated."""

    predictor: Annotated[str | None, RelativePath(), Metavar("FOLDER")] = None
    """Evaluate this saved predictor, a folder or hf://USER/NAME, instead of one that other options describe."""

    conflicting: ClassVar[frozenset[str]] = frozenset(
        option
        for group in (
            *(ReasoningPromptOptions, ManipulationOptions, AnswerOptions, CalibrationOptions),
            *(SavingOptions, SeedsOptions),
        )
        for option in group.model_fields
        if option != "template"  # with which a data file is read
    )
    """The options that describe a predictor, and so cannot be combined with a saved one."""

    def saved_template(self) -> str | None:
        """Returns the text of the saved predictor's template; None for images."""
        from promptkit.predictor.predictor import Predictor

        assert self.predictor is not None
        return Predictor.template(self.predictor)

    def check_no_other_options(self, given: Iterable[str]) -> None:
        """Raises InputError if other options of the command describe a predictor, too.

        Args:
            given: The options that differ from their defaults.
        """
        others = tuple(option for option in given if option in self.conflicting)
        if self.predictor is not None and others:
            raise InputError(
                "A saved predictor contains its prompt and its aligners, which other options cannot change",
                code="conflicting-options",
                got=", ".join(map(setting, others)),
                hint=f"Leave them out, or leave out {setting('predictor')}",
                options=("predictor", *others),
            )

    def load_predictor(self, model: ModelOptions, given: Iterable[str]) -> Predictor:
        """Loads the saved predictor.

        Args:
            model: The options of the model, which take precedence over the saved model and its settings if they are given.
            given: The options that differ from their defaults.

        Raises:
            CheckpointError: The predictor cannot be loaded.
        """
        from promptkit.predictor.predictor import Predictor
        from promptkit.tuning.baseline_predictor import is_baseline

        assert self.predictor is not None
        if is_baseline(self.predictor):
            raise InputError(
                f"{self.predictor} contains a baseline, which every evaluation shows beside its figures",
                code="is-baseline",
                hint=f"Leave out {setting('predictor')}",
                folder=self.predictor,
            )
        if "model" in given:
            return Predictor.load(self.predictor, model=model.load_model())
        return Predictor.load(self.predictor, settings=model.engine_settings())


def read_saved(folder: str) -> tuple[SavedPredictor, Chain]:
    """Returns the description of a saved predictor, a folder or hf://USER/NAME, and its aligners, without its model.

    Raises:
        CheckpointError: The predictor cannot be read.
    """
    from promptkit.predictor.hub import local_folder
    from promptkit.predictor.saved import read_chain_of

    return read_chain_of(local_folder(folder))


def predict_command(folder: Path) -> str:
    """Returns the command that predicts new rows with a saved predictor."""
    return f"promptkit predict {shlex.quote(str(folder))} NEW.csv -o OUT.csv"
