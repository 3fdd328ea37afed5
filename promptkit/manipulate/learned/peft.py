"""Reads and writes PEFT checkpoints, without PEFT: soft prompts of prompt tuning and P-tuning, and prefixes of prefix tuning.

    adapter_config.json         the method, the number of vectors or positions, and the model's name
    adapter_model.safetensors   prompt_embeddings: floats of shape (vectors, d_model), or for a prefix
                                (positions, layers * 2 * kv heads * head width): in each layer the keys, then the values

PEFT places soft prompts before everything, including BOS, and a prefix in every layer, at the positions before the prompt's.
When it saves, it evaluates P-tuning's encoder or the projection of a prefix, and stores only the result. An adapter_model.bin
is a pickle and is never opened. The identity of the base model, which PEFT has no field for, is stored in the metadata of the
safetensors file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from promptkit.core.arrays import Array, as_array, deserialize, serialize
from promptkit.core.caller import setting
from promptkit.core.errors import CheckpointError, json_reason
from promptkit.core.files import write_folder
from promptkit.core.manipulation import Learnable
from promptkit.core.paths import expanded
from promptkit.manipulate.learned.base import LearnedManipulation, check_trained
from promptkit.manipulate.learned.prefix import KEYS, VALUES, Prefix
from promptkit.manipulate.learned.soft_prompt import VECTORS, SoftPrompt

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
EMBEDDINGS = "prompt_embeddings"
BASE = "promptkit.base"
"""The metadata key of the base model's identity."""
TASKS = {"causal": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM"}
"""PEFT's name of the task of each kind of language model that it has one for."""
SIZES = ("num_virtual_tokens", "num_layers", "num_attention_heads", "token_dim")
"""The sizes of a prefix in PEFT's configuration: positions, layers, kv heads, and kv heads times head width."""


def is_checkpoint(folder: str | Path) -> bool:
    """Returns whether the folder contains a PEFT checkpoint."""
    return (expanded(folder) / CONFIG).is_file()


def read(folder: str | Path) -> LearnedManipulation:
    """Reads a PEFT checkpoint as a learned manipulation.

    Raises:
        CheckpointError: If its method or task is not supported, or a file is missing or damaged.
    """
    path = expanded(folder)
    config = _read_config(path)
    method = _supported_method(path, config)
    arrays, base = _read_arrays(path)
    if arrays.keys() != {EMBEDDINGS}:
        reason = f"{WEIGHTS} must contain only {EMBEDDINGS}, and contains {', '.join(sorted(arrays)) or 'nothing'}"
        raise _damaged(path, "wrong-parameter-names", reason, file=WEIGHTS, names=tuple(sorted(arrays)))
    untrained, parameters, sizes = READERS[method](path, config, arrays[EMBEDDINGS])
    form = {"format": "encoder-decoder"} if config.get("task_type") == TASKS["encoder-decoder"] else {}
    known: dict[str, str | int] = {"name": str(config.get("base_model_name_or_path") or ""), **sizes, **form}
    return untrained.with_parameters(parameters, base or known)


def _supported_method(path: Path, config: Mapping[str, object]) -> str:
    method = config.get("peft_type")
    if not isinstance(method, str) or method not in READERS:
        raise CheckpointError(
            f"The method of the PEFT checkpoint in {path} is not supported",
            code="unsupported-method",
            got=method,
            hint=f"Supported methods: {', '.join(READERS)}",
            folder=str(path),
            method=method,
        )
    task, saved_modules = config.get("task_type"), config.get("modules_to_save")
    tasks = TASKS.values() if method != "PREFIX_TUNING" else (TASKS["causal"],)
    if task not in tasks or saved_modules:
        got = f"task_type={task}" + (f", modules_to_save={saved_modules}" if saved_modules else "")
        raise CheckpointError(
            f"The PEFT checkpoint in {path} changes more than the prompt of a language model",
            code="unsupported-checkpoint",
            got=got,
            hint=f"Use a checkpoint of {method} with task_type {' or '.join(tasks)} and without modules_to_save",
            folder=str(path),
            task_type=task,
            modules_to_save=str(saved_modules) if saved_modules else None,
        )
    return method


def write(learned: Learnable, folder: str | Path) -> Path:
    """Writes a checkpoint that `peft.PeftModel.from_pretrained` reads.

    Raises:
        CheckpointError: If PEFT has no format for the manipulation or its settings, or nothing is trained.
    """
    if learned.name not in WRITERS:
        raise CheckpointError(
            f"PEFT has no checkpoint format for {learned.name}",
            code="no-peft-format",
            hint=f"There is one for: {', '.join(WRITERS)}",
            manipulation=learned.name,
        )
    check_trained(learned)
    specific, embeddings = WRITERS[learned.name](learned)
    common = {"task_type": _task_type(learned), "base_model_name_or_path": _loadable(learned.base), "inference_mode": True}
    config = json.dumps({**specific, **common, "num_transformer_submodules": 1}, indent=2) + "\n"
    metadata = {"format": "pt", BASE: json.dumps(dict(learned.base))}
    path = expanded(folder)
    write_folder(path, {WEIGHTS: serialize({EMBEDDINGS: embeddings}, metadata), CONFIG: config.encode()})
    return path


def _task_type(learned: Learnable) -> str:
    kind = str(learned.base.get("format", "causal"))
    if kind not in TASKS:
        raise CheckpointError(
            f"PEFT has no task type for a {learned.name} of a {kind} language model",
            code="no-peft-task",
            hint="Use it with promptkit",
            manipulation=learned.name,
            format=kind,
        )
    return TASKS[kind]


# ---- methods ------------------------------------------------------------------------------------------

Parts = tuple[LearnedManipulation, Mapping[str, Array], Mapping[str, int]]
"""The untrained manipulation, its parameters, and the known sizes of the model it was trained on."""


def _read_soft_prompt(path: Path, config: Mapping[str, object], embeddings: Array) -> Parts:
    length, width = config.get("num_virtual_tokens"), config.get("token_dim")
    if config.get("task_type") == TASKS["encoder-decoder"] and isinstance(length, int):
        copies = config.get("num_transformer_submodules") or 2  # PEFT reads only the first vectors, those of the encoder
        shape: tuple[object, ...] = (length * copies if isinstance(copies, int) else None, width)
    else:
        shape = (length, width)
    if embeddings.shape != shape:
        reason = f"its vectors have the shape {embeddings.shape}, but {CONFIG} specifies {shape}"
        raise _damaged(path, "wrong-parameter-shape", reason, shape=embeddings.shape, expected=shape)
    assert isinstance(length, int)
    vectors = as_array(embeddings.numpy()[:length])
    return SoftPrompt(length, place="start"), {VECTORS: vectors}, {"d_model": vectors.shape[1]}


def _write_soft_prompt(learned: Learnable) -> tuple[dict[str, object], Array]:
    assert isinstance(learned, SoftPrompt)
    if learned.slot or learned.place != "start":
        where = f"in the slot {learned.slot}" if learned.slot else "after BOS"
        raise CheckpointError(
            f"PEFT places its vectors before BOS, but this soft prompt is placed {where}",
            code="no-peft-place",
            hint=f"Train one with soft:place=start; for a model without BOS, add {setting('model', 'NAME')}",
            place=learned.place,
            slot=learned.slot,
        )
    vectors = learned.parameters[VECTORS]
    sizes = {"num_virtual_tokens": vectors.shape[0], "token_dim": vectors.shape[1]}
    return {"peft_type": "PROMPT_TUNING", "prompt_tuning_init": "RANDOM", **sizes}, vectors


def _read_prefix(path: Path, config: Mapping[str, object], embeddings: Array) -> Parts:
    sizes = {name: config.get(name) for name in SIZES}
    positive = [size for size in sizes.values() if isinstance(size, int) and size > 0]
    if len(positive) < len(sizes) or positive[3] % positive[2]:
        reason = f"{CONFIG} has invalid sizes for a prefix: {_spelling(sizes)}"
        raise _damaged(path, "invalid-sizes", reason, file=CONFIG, **sizes)
    length, layers, heads, width = positive
    if embeddings.shape != (length, layers * 2 * width):
        reason = f"its keys and values have the shape {embeddings.shape}, but {CONFIG} specifies {_spelling(sizes)}"
        raise _damaged(path, "wrong-parameter-shape", reason, shape=embeddings.shape, **sizes)
    # (positions, layers, keys or values, kv heads, head width) -> (keys or values, layers, kv heads, positions, head width)
    pairs = embeddings.numpy().reshape(length, layers, 2, heads, width // heads).transpose(2, 1, 3, 0, 4)
    parameters = {KEYS: as_array(pairs[0]), VALUES: as_array(pairs[1])}
    return Prefix(length), parameters, {"layers": layers, "kv_heads": heads}


def _write_prefix(learned: Learnable) -> tuple[dict[str, object], Array]:
    assert isinstance(learned, Prefix)
    if learned.layers:
        got = f"layers={'|'.join(map(str, learned.layers))}"
        raise CheckpointError(
            "PEFT places a prefix in every layer, but this one is only in some",
            code="no-peft-layers",
            got=got,
            hint=f"Train one without layers; if these are all layers of its model, add {setting('model', 'NAME')}",
            layers=learned.layers,
        )
    keys, values = (learned.parameters[name].numpy() for name in (KEYS, VALUES))
    layers, heads, length, width = keys.shape
    rows = as_array(np.stack([keys, values]).transpose(3, 1, 0, 2, 4).reshape(length, -1))
    sizes = dict(zip(SIZES, (length, layers, heads, heads * width), strict=True))
    return {"peft_type": "PREFIX_TUNING", "prefix_projection": False, **sizes}, rows


def _spelling(sizes: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


READERS: Mapping[str, Callable[[Path, Mapping[str, object], Array], Parts]] = {
    "PROMPT_TUNING": _read_soft_prompt,
    "P_TUNING": _read_soft_prompt,
    "PREFIX_TUNING": _read_prefix,
}
"""The supported methods by PEFT's names."""
WRITERS: Mapping[str, Callable[[Learnable], tuple[dict[str, object], Array]]] = {
    SoftPrompt.name: _write_soft_prompt,
    Prefix.name: _write_prefix,
}
"""Return the entries of PEFT's configuration and its embeddings, for each manipulation that PEFT has a format for."""


def _loadable(base: Mapping[str, str | int]) -> str | None:
    """Returns the model's name, if transformers can load a model by it."""
    name = str(base.get("name", ""))
    return None if name in ("", "demo", "fake") or name.endswith(".gguf") else name


# ---- files -------------------------------------------------------------------------------------------


def _read_config(path: Path) -> Mapping[str, object]:
    try:
        config: object = json.loads((path / CONFIG).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "not-json", f"{CONFIG} is not JSON: {json_reason(error)}", file=CONFIG) from None
    if not isinstance(config, dict):
        raise _damaged(path, "not-an-object", f"{CONFIG} is not a JSON object", file=CONFIG)
    return config


def _read_arrays(path: Path) -> tuple[dict[str, Array], dict[str, str | int]]:
    """Returns the arrays, and the base model's identity if `write` recorded it."""
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
            base = json.loads((stream.metadata() or {}).get(BASE, "{}"))
    except ValueError as error:
        reason = f"{WEIGHTS} cannot be read: {error}"
        raise _damaged(path, "unreadable-parameters", reason, file=WEIGHTS, reason=str(error)) from None
    return arrays, base if isinstance(base, dict) else {}


def _damaged(path: Path, code: str, description: str, **fields: object) -> CheckpointError:
    message, hint = f"The PEFT checkpoint in {path} is damaged: {description}", "Save it again, or copy it again"
    return CheckpointError(message, code=code, hint=hint, folder=str(path), **fields)
