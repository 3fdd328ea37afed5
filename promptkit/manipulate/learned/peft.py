"""A checkpoint of PEFT's prompt tuning or p-tuning as a soft prompt, of its prefix tuning as a prefix, and back; without PEFT.

    adapter_config.json         which method, how many vectors or positions, the model's name
    adapter_model.safetensors   prompt_embeddings: floats, of shape (vectors, d_model), or for a prefix
                                (positions, layers * 2 * kv heads * head width), in each layer the keys, then the values

PEFT puts its vectors before everything, BOS too, and a prefix into every layer, at the positions before the prompt's. It
evaluates p-tuning's encoder and the projection of a prefix once, as it saves, and keeps what they make. An adapter_model.bin
is a pickle, and never opened. What PEFT has no word for, the identity of the model that something was learned on, stands in
the metadata of the safetensors file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from promptkit.core.arrays import Array, as_array, deserialize, serialize
from promptkit.core.errors import CheckpointError, json_reason
from promptkit.core.files import write_folder
from promptkit.core.manipulation import Learnable
from promptkit.core.paths import expanded
from promptkit.manipulate.learned.prefix import KEYS, VALUES, Prefix
from promptkit.manipulate.learned.soft_prompt import VECTORS, SoftPrompt

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
EMBEDDINGS = "prompt_embeddings"
BASE = "promptkit.base"
"""The metadata that says which model."""


def is_checkpoint(folder: str | Path) -> bool:
    """Whether PEFT, or `write`, has made it."""
    return (expanded(folder) / CONFIG).is_file()


def read(folder: str | Path) -> Learnable:
    """What a checkpoint has learned. Raises CheckpointError for a method, a task or a file that is not read here."""
    path = expanded(folder)
    config = _config(path)
    method = config.get("peft_type")
    if not isinstance(method, str) or method not in READ:
        raise CheckpointError(
            f"The method of the PEFT checkpoint in {path} is not supported",
            code="unsupported-method",
            got=method,
            hint=f"Supported methods: {', '.join(READ)}",
            folder=str(path),
            method=method,
        )
    task, more = config.get("task_type"), config.get("modules_to_save")
    if task != "CAUSAL_LM" or more:
        got = f"task_type={task}" + (f", modules_to_save={more}" if more else "")
        raise CheckpointError(
            f"The PEFT checkpoint in {path} changes more than the prompt of a language model",
            code="unsupported-checkpoint",
            got=got,
            hint="Use a checkpoint with task_type CAUSAL_LM and without modules_to_save",
            folder=str(path),
            task_type=task,
            modules_to_save=str(more) if more else None,
        )
    arrays, base = _arrays(path)
    if arrays.keys() != {EMBEDDINGS}:
        reason = f"{WEIGHTS} must contain only {EMBEDDINGS}, and contains {', '.join(sorted(arrays)) or 'nothing'}"
        raise _damaged(path, "wrong-parameter-names", reason, file=WEIGHTS, names=tuple(sorted(arrays)))
    blank, parameters, own = READ[method](path, config, arrays[EMBEDDINGS])
    return blank.with_parameters(parameters, base or {"name": config.get("base_model_name_or_path") or "", **own})


def write(learned: Learnable, folder: str | Path) -> Path:
    """Write a checkpoint that `peft.PeftModel.from_pretrained` reads. Raises CheckpointError where PEFT has none for it."""
    if learned.name not in WRITTEN:
        raise CheckpointError(
            f"PEFT has no checkpoint format for {learned.name}",
            code="no-peft-format",
            hint=f"There is one for: {', '.join(WRITTEN)}",
            manipulation=learned.name,
        )
    if not learned.parameters:
        raise CheckpointError(
            f"This {learned.name} has no trained parameters to save",
            code="not-trained",
            hint="Train it: pk.train",
            manipulation=learned.name,
        )
    own, embeddings = WRITTEN[learned.name](learned)
    common = {"task_type": "CAUSAL_LM", "base_model_name_or_path": _loadable(learned.base), "inference_mode": True}
    config = json.dumps({**own, **common, "num_transformer_submodules": 1}, indent=2) + "\n"
    told = {"format": "pt", BASE: json.dumps(dict(learned.base))}
    path = expanded(folder)
    write_folder(path, {WEIGHTS: serialize({EMBEDDINGS: embeddings}, told), CONFIG: config.encode()})
    return path


# ---- a method each ------------------------------------------------------------------------------------

Parts = tuple[Learnable, Mapping[str, Array], Mapping[str, int]]
"""The manipulation, what it has learned, and what is known of the model that it was learned on."""


def _soft(path: Path, config: Mapping[str, Any], embeddings: Array) -> Parts:
    shape = (config.get("num_virtual_tokens"), config.get("token_dim"))
    if embeddings.shape != shape:
        reason = f"its vectors have the shape {embeddings.shape}, but {CONFIG} specifies {shape}"
        raise _damaged(path, "wrong-parameter-shape", reason, shape=embeddings.shape, expected=shape)
    length, d_model = embeddings.shape
    return SoftPrompt(length, place="start"), {VECTORS: embeddings}, {"d_model": d_model}


def _of_soft(learned: Any) -> tuple[dict[str, object], Array]:
    if learned.slot or learned.place != "start":
        where = f"in the slot {learned.slot}" if learned.slot else "after BOS"
        raise CheckpointError(
            f"PEFT places its vectors before BOS, but this soft prompt is placed {where}",
            code="no-peft-place",
            hint="Train one with soft:place=start; for a model without BOS, add --model NAME",
            place=learned.place,
            slot=learned.slot,
        )
    held = learned.parameters[VECTORS]
    sizes = {"num_virtual_tokens": held.shape[0], "token_dim": held.shape[1]}
    return {"peft_type": "PROMPT_TUNING", "prompt_tuning_init": "RANDOM", **sizes}, held


SIZES = ("num_virtual_tokens", "num_layers", "num_attention_heads", "token_dim")
"""Of a prefix: its positions, layers and kv heads, and all that these hold of a position's keys."""


def _prefix(path: Path, config: Mapping[str, Any], embeddings: Array) -> Parts:
    sizes: dict[str, Any] = {name: config.get(name) for name in SIZES}
    length, layers, heads, width = sizes.values()
    if not all(isinstance(size, int) and size > 0 for size in sizes.values()) or width % heads:
        raise _damaged(path, "invalid-sizes", f"{CONFIG} has invalid sizes for a prefix: {_told(sizes)}", file=CONFIG, **sizes)
    if embeddings.shape != (length, layers * 2 * width):
        reason = f"its keys and values have the shape {embeddings.shape}, but {CONFIG} specifies {_told(sizes)}"
        raise _damaged(path, "wrong-parameter-shape", reason, shape=embeddings.shape, **sizes)
    # (positions, layers, keys or values, kv heads, head width) -> (keys or values, layers, kv heads, positions, head width)
    pairs = embeddings.numpy().reshape(length, layers, 2, heads, width // heads).transpose(2, 1, 3, 0, 4)
    held = {KEYS: as_array(pairs[0]), VALUES: as_array(pairs[1])}
    return Prefix(length), held, {"layers": layers, "kv_heads": heads}


def _of_prefix(learned: Any) -> tuple[dict[str, object], Array]:
    if learned.layers:
        got = f"layers={'|'.join(map(str, learned.layers))}"
        raise CheckpointError(
            "PEFT places a prefix in every layer, but this one is only in some",
            code="no-peft-layers",
            got=got,
            hint="Train one without layers; if these are all layers of its model, add --model NAME",
            layers=learned.layers,
        )
    keys, values = (learned.parameters[name].numpy() for name in (KEYS, VALUES))
    layers, heads, length, width = keys.shape
    rows = as_array(np.stack([keys, values]).transpose(3, 1, 0, 2, 4).reshape(length, -1))
    sizes = dict(zip(SIZES, (length, layers, heads, heads * width), strict=True))
    return {"peft_type": "PREFIX_TUNING", "prefix_projection": False, **sizes}, rows


def _told(sizes: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


READ: Mapping[str, Callable[[Path, Mapping[str, Any], Array], Parts]] = {
    "PROMPT_TUNING": _soft,
    "P_TUNING": _soft,
    "PREFIX_TUNING": _prefix,
}
"""PEFT's methods, by its own names."""
WRITTEN: Mapping[str, Callable[[Any], tuple[dict[str, object], Array]]] = {SoftPrompt.name: _of_soft, Prefix.name: _of_prefix}
"""What PEFT can express: the entries of its configuration, and its embeddings."""


def _loadable(base: Mapping[str, str | int]) -> str | None:
    """The model's name, if transformers can load it by that."""
    name = str(base.get("name", ""))
    return None if name in ("", "demo", "fake") or name.endswith(".gguf") else name


# ---- its two files ------------------------------------------------------------------------------------


def _config(path: Path) -> Any:
    try:
        config = json.loads((path / CONFIG).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "not-json", f"{CONFIG} is not JSON: {json_reason(error)}", file=CONFIG) from None
    if not isinstance(config, dict):
        raise _damaged(path, "not-an-object", f"{CONFIG} is not a JSON object", file=CONFIG)
    return config


def _arrays(path: Path) -> tuple[dict[str, Array], Any]:
    """Its arrays, and the model that `write` has named, if it was that."""
    from safetensors import safe_open

    if not (path / WEIGHTS).is_file():
        if (path / PICKLE).is_file():
            raise CheckpointError(
                f"{path / PICKLE} is a pickle, which could execute code, and is not opened",
                code="pickle",
                hint="Save it again with PEFT: model.save_pretrained(FOLDER) writes safetensors",
                file=str(path / PICKLE),
            )
        raise _damaged(path, "missing-file", f"{WEIGHTS} does not exist", file=WEIGHTS)
    try:
        arrays = deserialize((path / WEIGHTS).read_bytes())
        with safe_open(path / WEIGHTS, "np") as stream:
            told = json.loads((stream.metadata() or {}).get(BASE, "{}"))
    except ValueError as error:
        reason = f"{WEIGHTS} cannot be read: {error}"
        raise _damaged(path, "unreadable-parameters", reason, file=WEIGHTS, reason=str(error)) from None
    return arrays, told if isinstance(told, dict) else {}


def _damaged(path: Path, code: str, what: str, **fields: object) -> CheckpointError:
    message, hint = f"The PEFT checkpoint in {path} is damaged: {what}", "Save it again, or copy it again"
    return CheckpointError(message, code=code, hint=hint, folder=str(path), **fields)
