"""Manipulations and aligners as JSON values and files, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar, cast

from pydantic import JsonValue

from promptkit.align.chain import Chain, chain_from_settings
from promptkit.align.fitted import read_fitted
from promptkit.core.errors import CheckpointError, InputError
from promptkit.core.examples import LabeledExample, Part
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.manipulation import Learnable, Manipulation, Modifier
from promptkit.core.registry import build_from, settings_of
from promptkit.core.state import State
from promptkit.inputs.text.template import Template
from promptkit.manipulate.cot import COT
from promptkit.manipulate.demos import SELECTORS
from promptkit.manipulate.image.processor import ImageProcessor
from promptkit.manipulate.learned import storage
from promptkit.manipulate.modifiers import LEARNABLE, MODIFIERS
from promptkit.manipulate.order.fixed import ORDERS
from promptkit.manipulate.prompt import Prompt
from promptkit.predictor.saved_format import (
    MANIPULATIONS,
    ROWS,
    SavedCalibration,
    SavedFixed,
    SavedImages,
    SavedLearned,
    SavedPrompt,
    Settings,
)
from promptkit.predictor.saved_rows import read_rows, write_rows

if TYPE_CHECKING:
    from promptkit.core.state import StoredArray

T = TypeVar("T")

Files = dict[str, bytes]
"""Relative path -> content."""


def as_json(value: object) -> JsonValue:
    """Returns settings as JSON values."""
    return cast("JsonValue", json.loads(json.dumps(value)))


def as_settings(value: Mapping[str, object]) -> Settings:
    """Returns settings as a mapping of JSON values."""
    return {key: as_json(item) for key, item in value.items()}


# ---- manipulations -----------------------------------------------------------------------------------


def write_first(first: Manipulation, files: Files) -> SavedPrompt | SavedImages:
    """Returns the first manipulation as JSON values, and adds its rows to the files.

    Raises:
        InputError: It is of a kind that cannot be saved (`not-saveable`).
    """
    match first:
        case ImageProcessor():
            return SavedImages()
        case Prompt():
            return _write_prompt(first, files)
    raise InputError(
        "Only a Prompt and an ImageProcessor can be saved as the first manipulation",
        code="not-saveable",
        got=type(first).__name__,
        place="manipulate",
        type=type(first).__name__,
    )


def _write_prompt(prompt: Prompt, files: Files) -> SavedPrompt:
    rows = prompt.rows or {}
    if any(rows.values()):
        files[ROWS] = write_rows(rows)
    return SavedPrompt(
        template=prompt.resolved_template.source,
        template_name=prompt.resolved_template.recorded_name,
        demos=as_settings(settings_of(prompt.selector)),
        order=as_settings(settings_of(prompt.order)) if prompt.order else None,
        instruction=prompt.instruction,
        chat=prompt.chat,
        thinking=prompt.thinking,
        chat_template=prompt.chat_template,
        cot=as_settings(settings_of(prompt.cot)) if prompt.cot else None,
        channel=prompt.channel,
        on_too_long=prompt.on_too_long,
        rows={part: len(of_part) for part, of_part in rows.items()},
        fitted_on=tuple(sorted(map(str, prompt.fitted_on))),
    )


def read_first(saved: SavedPrompt | SavedImages, files: Mapping[str, bytes]) -> Manipulation:
    """Returns the first manipulation.

    Raises:
        CheckpointError: Its rows are invalid, or were left out when the predictor was published (`withheld-rows`).
    """
    if isinstance(saved, SavedImages):
        return ImageProcessor()
    return Prompt(
        Template(saved.template, name=saved.template_name),
        demos=_built("selector", SELECTORS, saved.demos),
        order=None if saved.order is None else _built("order", ORDERS, saved.order),
        instruction=saved.instruction,
        chat=saved.chat,
        thinking=saved.thinking,
        chat_template=saved.chat_template,
        cot=None if saved.cot is None else _built("chain of thought", COT, saved.cot),
        channel=saved.channel,
        on_too_long=saved.on_too_long,
        rows=_rows(saved, files),
        fitted_on=frozenset(map(Fingerprint.parse, saved.fitted_on)),
    )


def _rows(saved: SavedPrompt, files: Mapping[str, bytes]) -> Mapping[Part, Sequence[LabeledExample]]:
    if any(saved.rows.values()) and ROWS not in files:
        raise CheckpointError(
            "The predictor was published without its demonstrations, which it needs",
            code="withheld-rows",
            got=f"{sum(saved.rows.values())} rows are missing",
            hint=f"Get the file {ROWS} from whoever published it, and load with demonstrations=FILE",
            rows=sum(saved.rows.values()),
            file=ROWS,
        )
    return read_rows(files.get(ROWS, b""), saved.rows)


def _built(kind: str, table: Mapping[str, type[T]], settings: Settings) -> T:
    keywords: dict[str, object] = {**settings}
    return build_from(kind, table, str(keywords.pop("name")), keywords)


def write_modifiers(modifiers: Sequence[Modifier], files: Files) -> tuple[SavedLearned | SavedFixed, ...]:
    """Returns the modifiers as JSON values, and adds the folders of learned ones to the files."""
    return tuple(_write_modifier(modifier, number, files) for number, modifier in enumerate(modifiers, start=1))


def _write_modifier(modifier: Modifier, number: int, files: Files) -> SavedLearned | SavedFixed:
    if modifier.name not in LEARNABLE:
        return SavedFixed(settings=as_settings(settings_of(modifier)))
    folder = str(PurePosixPath(MANIPULATIONS) / f"{number}-{modifier.name}")
    with TemporaryDirectory() as temporary:
        storage.save(cast("Learnable", modifier), temporary)
        for path in sorted(Path(temporary).iterdir()):
            files[f"{folder}/{path.name}"] = path.read_bytes()
    return SavedLearned(folder=folder)


def read_modifiers(saved: Sequence[SavedLearned | SavedFixed], folder: Path) -> list[Modifier]:
    """Returns the modifiers of a saved predictor in a folder, whose files are checked."""
    return [
        storage.load_manipulation(folder / each.folder)
        if isinstance(each, SavedLearned)
        else _built("manipulation", MODIFIERS, each.settings)
        for each in saved
    ]


# ---- aligners ------------------------------------------------------------------------------------------


def write_calibration(chain: Chain, arrays: dict[str, StoredArray]) -> SavedCalibration | None:
    """Returns the fitted calibration as JSON values, and adds its arrays.

    Raises:
        InputError: It contains something that cannot be saved.
    """
    if chain.fitted is None:
        return None
    state = chain.fitted.state
    arrays.update(state.arrays)
    return SavedCalibration(
        per_context=chain.fitted.per_context, state=state.value, fitted_on=tuple(sorted(map(str, chain.fitted_on)))
    )


def read_chain(aligners: Sequence[Settings], saved: SavedCalibration | None, arrays: Mapping[str, StoredArray]) -> Chain:
    """Returns the aligners, with the fitted calibration.

    Raises:
        CheckpointError: The state of the calibration does not belong to it.
    """
    chain = chain_from_settings(aligners)
    if saved is None or chain.calibration is None:
        return chain
    state = State(value=saved.state, arrays=arrays)
    fitted = read_fitted(state, chain.calibration, per_context=saved.per_context)
    fitted_on = frozenset(map(Fingerprint.parse, saved.fitted_on))
    chain = replace(chain, fitted=fitted, fitted_on=fitted_on)
    if as_json(chain.settings()) != as_json(aligners):
        raise CheckpointError(
            "The fitted calibration does not belong to the predictor",
            code="other-calibration",
            got=chain.name,
            calibration=chain.name,
        )
    return chain


def check_no_words(chain: Chain) -> None:
    """Raises InputError if a calibration contains words that were drawn from rows."""
    needs = chain.fitted.needs if chain.fitted else ()
    if any(need.contains_texts for need in needs):
        raise InputError(
            f"The calibration {chain.name} contains words that were drawn from your rows",
            code="contains-words",
            hint="Publish with rows=True if these words may be public, or use another calibration",
            calibration=chain.name,
        )
