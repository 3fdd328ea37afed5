"""GGUF files are converted once, atomically, and by one process at a time."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from promptkit.core.errors import MissingPackage, ModelError
from promptkit.models.files import gguf
from promptkit.models.files.source import resolve
from tests.support.errors import refused
from tests.support.tiny import make_tokenizer

CONVERT = """
import sys, time, os
from pathlib import Path
from promptkit.models.files import gguf

def convert(file, folder):
    (folder / "first").write_text("1")
    with open(Path(os.environ["PROMPTKIT_CACHE"]) / "log", "a") as log:
        log.write(f"{os.getpid()}\\n")
    time.sleep(float(sys.argv[2]))
    (folder / "second").write_bytes(file.read_bytes())

gguf._convert = convert
print(gguf.gguf_folder(Path(sys.argv[1])))
"""


def start_conversion(file: Path, cache: Path, seconds: float) -> subprocess.Popen[str]:
    environment = os.environ | {"PROMPTKIT_CACHE": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", CONVERT, str(file), str(seconds)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(range(256)))
    return path


def test_two_processes_convert_a_file_once(file: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    processes = [start_conversion(file, cache, 0.5) for _ in range(2)]
    folders = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert len(folders) == 1
    folder = Path(folders.pop())
    assert (folder / "second").read_bytes() == file.read_bytes()
    assert len((cache / "log").read_text().splitlines()) == 1


def test_conversion_recovers_from_a_killed_process(file: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    killed = start_conversion(file, cache, 60)
    deadline = time.monotonic() + 60
    while not list(cache.glob("*.part-*/first")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not [path for path in cache.glob("gguf-*") if path.is_dir() and ".part-" not in path.name]
    folder = Path(start_conversion(file, cache, 0).communicate(timeout=60)[0].strip())
    assert (folder / "second").is_file()
    assert not list(cache.glob("*.part-*"))


def test_different_files_have_different_folders(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gguf, "_convert", lambda source, folder: (folder / "x").write_bytes(source.read_bytes()))
    first = gguf.gguf_folder(file)
    assert gguf.gguf_folder(file) == first
    file.write_bytes(b"GGUF other")
    assert gguf.gguf_folder(file) != first


def test_an_invalid_file_is_refused_and_leaves_no_folder(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path / "cache"))
    with refused(ModelError, "invalid-gguf", file=str(file)):
        gguf.gguf_folder(file)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


@pytest.mark.parametrize("with_bos", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_bos_is_set_as_the_file_states(with_bos: bool, before: bool) -> None:
    tokenizer = make_tokenizer()
    plain = tokenizer("so so", add_special_tokens=False).input_ids
    gguf.begin_texts(tokenizer, with_bos=before)
    gguf.begin_texts(tokenizer, with_bos=with_bos)
    assert tokenizer("so so").input_ids == [*[tokenizer.bos_token_id] * with_bos, *plain]
    assert tokenizer("so so", add_special_tokens=False).input_ids == plain


@pytest.mark.parametrize("package", ["gguf", "accelerate"])
def test_a_missing_package_is_reported(package: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path / "cache"))
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *arguments: None if name == package else find(name, *arguments)
    )
    with refused(MissingPackage, "missing-package", package=package, extra="demo"):
        gguf.gguf_folder(file)


@pytest.mark.vllm
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm")
def test_a_new_conversion_equals_the_cached_one(tmp_path: Path) -> None:
    """Covers versions of transformers that lose BOS in the conversion; the cached folder may come from another version."""
    code = "import promptkit as pk; model = pk.load('demo'); print(model.identity()['content'], model.card.tokenizer.bos)"
    environment = os.environ | {"PROMPTKIT_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{resolve('demo').fingerprint()} (2,)"
    assert not list(tmp_path.rglob("*.gguf"))
    assert [path.suffix for path in (tmp_path / "cache").iterdir() if path.is_file()] == [".lock"]


@pytest.mark.skipif(not importlib.util.find_spec("gguf"), reason="needs the demo extra")
def test_a_file_without_some_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers would fill them with random numbers, and the conversion would store these."""
    from gguf import GGUFWriter

    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path / "cache"))
    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    for name, value in {"block_count": 1, "context_length": 64, "embedding_length": 32, "feed_forward_length": 48}.items():
        getattr(writer, f"add_{name}")(value)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(40)
    shapes = {"attn_q": (32, 32), "attn_k": (32, 32), "attn_v": (32, 32), "attn_output": (32, 32), "ffn_down": (32, 48)}
    for name, shape in {**shapes, "ffn_gate": (48, 32), "attn_norm": (32,), "ffn_norm": (32,)}.items():  # and no ffn_up
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros(shape, np.float32))
    for name, shape in {"token_embd": (40, 32), "output": (40, 32), "output_norm": (32,)}.items():
        writer.add_tensor(f"{name}.weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with refused(ModelError, "wrong-weights", missing=("model.layers.0.mlp.up_proj.weight",)):
        gguf.gguf_folder(tmp_path / "model.gguf")
    assert not list((tmp_path / "cache").glob("gguf-*/*"))
