"""Saves and loads a fitted predictor as a folder.

    predictor.json          the model, the columns, the prompt and the aligners, and a hash of every file
    demonstrations.jsonl    the rows that demonstrations are taken from
    arrays.safetensors      the arrays of fitted aligners, and the probabilities of held-out rows
    manipulations/          learned manipulations, each in its own folder
    README.md               the model card, for readers

Loading executes nothing in the folder, and refuses changed files and other models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.align.chain import Chain
from promptkit.core.caller import by_caller
from promptkit.core.errors import CheckpointError, PromptkitError
from promptkit.core.hashing import sha256_hex
from promptkit.core.manipulation import Manipulation, Modifier
from promptkit.core.model import Model
from promptkit.core.paths import expanded
from promptkit.core.version import __version__
from promptkit.manipulate.learned.base_model import COMPARED, base_of, content_of
from promptkit.models.registry import ENGINES, load, loaded_settings, split, validated
from promptkit.predictor import saved_files
from promptkit.predictor.columns import Columns
from promptkit.predictor.estimate import Estimate
from promptkit.predictor.model_card import model_card
from promptkit.predictor.out_of_fold import OutOfFold
from promptkit.predictor.saved_format import ARRAYS, CARD, FORMAT, PREDICTOR, ROWS, SavedModel, SavedPredictor, SavedPrompt
from promptkit.predictor.saved_stages import (
    Files,
    as_settings,
    read_chain,
    read_first,
    read_modifiers,
    write_calibration,
    write_first,
    write_modifiers,
)

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers
    from promptkit.core.state import StoredArray

GOLD, PROBABILITIES = "out_of_fold.gold", "out_of_fold.probabilities"
"""The names of the arrays of held-out rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The parts of a predictor that a folder contains."""

    model: Model
    first: Manipulation
    """The manipulation that encodes rows."""
    modifiers: tuple[Modifier, ...]
    """The manipulations that follow."""
    chain: Chain
    columns: Columns
    estimate: Estimate | None
    out_of_fold: OutOfFold | None


def write(contents: Contents, folder: str | Path, *, command: str = "", rows: bool = True) -> Path:
    """Saves a fitted predictor.

    Args:
        contents: The predictor, which must be fitted.
        folder: A new or empty folder.
        command: The command that made the predictor, for the model card.
        rows: Whether to write the rows that demonstrations are taken from.

    Returns:
        The folder.

    Raises:
        CheckpointError: The folder is not empty or cannot be written.
        InputError: Something in the predictor cannot be saved.
    """
    path = expanded(folder)
    saved_files.check_new(path)
    files: Files = {}
    arrays: dict[str, StoredArray] = {}
    saved = SavedPredictor(
        format=FORMAT,
        promptkit=__version__,
        model=_saved_model(contents.model),
        models={name: as_settings(content_of(name, load(name).identity())) for name in contents.first.models},
        columns=contents.columns,
        labels=contents.chain.reader.labels,
        multi_label=contents.chain.reader.task_kind == "multi-label",
        first=write_first(contents.first, files),
        modifiers=write_modifiers(contents.modifiers, files),
        aligners=tuple(map(as_settings, contents.chain.settings())),
        calibration=write_calibration(contents.chain, arrays),
        estimate=contents.estimate,
        folds=_write_out_of_fold(contents.out_of_fold, arrays),
        command=command,
        withheld=() if rows or ROWS not in files else (ROWS,),
        files={},
    )
    if arrays:
        files[ARRAYS] = _serialized(arrays)
    files[CARD] = model_card(saved).encode()
    saved = saved.model_copy(update={"files": {name: sha256_hex(files[name]) for name in sorted(files)}})
    kept = {name: content for name, content in files.items() if name not in saved.withheld}
    saved_files.write(path, {**kept, PREDICTOR: saved.to_bytes()})
    return path


def _saved_model(model: Model) -> SavedModel:
    return SavedModel(
        name=model.name,
        settings=as_settings(loaded_settings(model)),
        base=base_of(model),
        identity=as_settings(model.identity()),
    )


def _write_out_of_fold(rows: OutOfFold | None, arrays: dict[str, StoredArray]) -> int | None:
    if rows is None:
        return None
    arrays[GOLD], arrays[PROBABILITIES] = rows.gold, rows.probabilities
    return rows.folds


def _serialized(arrays: Mapping[str, StoredArray]) -> bytes:
    import numpy as np
    from safetensors.numpy import save

    content: bytes = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return content


def read(
    folder: str | Path,
    *,
    model: Model | str | None = None,
    settings: Mapping[str, object] | None = None,
    demonstrations: str | Path | None = None,
) -> Contents:
    """Loads a saved predictor. Weights load at the first request.

    Args:
        folder: The folder.
        model: The model or its name, instead of the one that the predictor names. It must have the same weights and tokenizer.
        settings: Settings of the engine of the saved model, in place of the saved ones.
        demonstrations: The file `demonstrations.jsonl` of a predictor that was published without it.

    Raises:
        CheckpointError: A file is missing or was changed, the model is a different one, or demonstrations were left out.
        ModelError: The model cannot be found.
    """
    path = expanded(folder)
    saved, files = saved_files.read(path, _given(demonstrations))
    arrays = _deserialized(path, files)
    first, modifiers = read_first(saved.first, files), read_modifiers(saved.modifiers, path)
    chain = read_chain(saved.aligners, saved.calibration, arrays)
    given = dict(settings or {})
    loaded = load(model, **given) if isinstance(model, str) else model or _load_model(saved.model, given)
    _check_model(saved.model, loaded)
    _check_other_models(saved)
    return Contents(
        model=loaded,
        first=first,
        modifiers=tuple(modifiers),
        chain=chain,
        columns=saved.columns,
        estimate=saved.estimate,
        out_of_fold=_read_out_of_fold(saved, arrays),
    )


def read_chain_of(folder: str | Path) -> tuple[SavedPredictor, Chain]:
    """Returns the description of a saved predictor and its aligners, without its model.

    Raises:
        CheckpointError: A file is missing or was changed.
    """
    path = expanded(folder)
    saved, files = saved_files.read(path)
    return saved, read_chain(saved.aligners, saved.calibration, _deserialized(path, files))


def template_of(folder: str | Path) -> str | None:
    """Returns the text of the template of a saved predictor; None for images."""
    saved, _ = saved_files.read(expanded(folder))
    return saved.first.template if isinstance(saved.first, SavedPrompt) else None


def _given(demonstrations: str | Path | None) -> dict[str, bytes]:
    if demonstrations is None:
        return {}
    try:
        return {ROWS: expanded(demonstrations).read_bytes()}
    except OSError as error:
        raise CheckpointError(
            f"The demonstrations {demonstrations} cannot be read: {error.strerror}",
            code="unreadable-file",
            file=str(demonstrations),
            reason=error.strerror,
        ) from None


def _deserialized(path: Path, files: Mapping[str, bytes]) -> dict[str, StoredArray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_arrays

    if ARRAYS not in files:
        return {}
    try:
        arrays: dict[str, StoredArray] = load_arrays(files[ARRAYS])
    except SafetensorError as error:
        raise CheckpointError(
            f"The arrays of the predictor in {path} cannot be read: {error}",
            code="unreadable-parameters",
            folder=str(path),
            file=ARRAYS,
            reason=str(error),
        ) from None
    return arrays


def _read_out_of_fold(saved: SavedPredictor, arrays: Mapping[str, StoredArray]) -> OutOfFold | None:
    import numpy as np

    if saved.folds is None:
        return None
    gold: Integers = np.array(arrays[GOLD], np.int64)
    probabilities: Floats = np.array(arrays[PROBABILITIES], np.float64)
    return OutOfFold(labels=saved.labels, gold=gold, probabilities=probabilities, folds=saved.folds)


def _load_model(saved: SavedModel, settings: Mapping[str, object]) -> Model:
    engine, _ = split(saved.name)
    given = ENGINES[engine].renamed(settings)
    validated(ENGINES[engine].settings(), engine, given)  # an invalid setting is an error of the user, not of the folder
    try:
        return load(saved.name, **{**saved.settings, **given})
    except PromptkitError as error:
        raise CheckpointError(
            f"The model of the predictor cannot be loaded: {error}",
            code="cannot-load-model",
            hint="If the model is elsewhere, name it: "
            + by_caller(command="--model NAME", python="pk.Predictor.load(FOLDER, model=...)"),
            model=saved.name,
        ) from error


def _check_model(saved: SavedModel, model: Model) -> None:
    """Raises CheckpointError for a model with other weights, another tokenizer or other sizes."""
    found = {**model.card.sizes, **base_of(model)}
    different = next((key for key in COMPARED if key in saved.base and found.get(key) != saved.base[key]), None)
    if different is not None:
        raise CheckpointError(
            f"The predictor was fitted with {saved.name}, and {model.name} is a different model: {COMPARED[different]} "
            f"differ{'' if different == 'content' else 's'}",
            code="other-model",
            got=f"{found.get(different)}, not {saved.base[different]}",
            hint="Load the model that it was fitted with, or fit it again with this one",
            base=saved.name,
            model=model.name,
            differs=different,
        )


def _check_other_models(saved: SavedPredictor) -> None:
    """Raises CheckpointError if another model that the predictor queries, such as a sentence encoder, has changed."""
    for name, content in saved.models.items():
        if as_settings(content_of(name, load(name).identity())) != content:
            raise CheckpointError(
                f"The predictor queries the model {name}, which has other weights now",
                code="other-model",
                hint="Load it at the revision that the predictor was fitted with, or fit the predictor again",
                base=name,
                model=name,
                differs="content",
            )
