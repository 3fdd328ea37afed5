"""Stores what the aligners of a fitted predictor were fitted to in the folder of a shard, so that shards can be merged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from promptkit.align.chain import Chain, chain_from_settings
from promptkit.predictor.saved_format import SavedCalibration
from promptkit.predictor.saved_stages import read_chain, write_calibration

if TYPE_CHECKING:
    from promptkit.core.state import StoredArray
    from promptkit.predictor.saved_format import Settings

FITTED_CHAINS = "fitted.safetensors"
"""The file in the folder of a shard of a fitted predictor."""
_STATES = "states"


def fitted_to_bytes(chains: Sequence[Chain]) -> bytes | None:
    """Returns the fitted calibrations of the branches of a run; None if none was fitted before the run.

    Raises:
        InputError: A calibration contains something that cannot be saved (`not-saveable`).
    """
    from safetensors.numpy import save

    if all(chain.fitted is None for chain in chains):
        return None
    arrays: dict[str, StoredArray] = {}
    states = []
    for number, chain in enumerate(chains):
        of_chain: dict[str, StoredArray] = {}
        saved = write_calibration(chain, of_chain)
        states.append(None if saved is None else saved.model_dump(mode="json"))
        arrays |= {f"{number}/{name}": array for name, array in of_chain.items()}
    content = json.dumps(states, ensure_ascii=True).encode()
    return bytes(save({**arrays, _STATES: np.frombuffer(content, np.uint8)}))


def chains_of_shard(settings: Sequence[Sequence[Mapping[str, object]]], content: bytes | None) -> list[Chain]:
    """Returns the branches of a run, with what was fitted before it.

    Args:
        settings: For each branch, the settings of its aligners.
        content: The contents of the file of fitted calibrations, if there is one.

    Raises:
        CheckpointError: A fitted calibration is not the one in the settings.
    """
    from safetensors.numpy import load

    if content is None:
        return [chain_from_settings(chain) for chain in settings]
    arrays = load(content)
    states = json.loads(arrays.pop(_STATES).tobytes())
    chains = []
    for number, (aligners, state) in enumerate(zip(settings, states, strict=True)):
        prefix = f"{number}/"
        of_chain = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        saved = None if state is None else SavedCalibration.model_validate(state)
        chains.append(read_chain([cast("Settings", dict(each)) for each in aligners], saved, of_chain))
    return chains
