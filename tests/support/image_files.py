"""Small generated images, as files and as IDX files."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import yaml
from PIL import Image


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def idx(values: np.ndarray, kind: int = 8) -> bytes:
    """An array in the IDX format, written from its description."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape) + values.tobytes()


def squares(count: int, *, seed: int = 0, size: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Noisy gray images of shape (count, size, size): label 0 is bright on the left, label 1 on the right."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.integers(0, 100, (count, size, size), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, size // 2 * label : size // 2 * (label + 1)] += 120
    return images, labels


def write_folder(root: Path, images: np.ndarray, labels: np.ndarray, names: tuple[str, ...] = ("left", "right")) -> Path:
    """Writes CLASS/NUMBER.png."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = root / names[label] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    return root


def write_idx(root: Path, split: str, images: np.ndarray, labels: np.ndarray, *, compressed: bool = False) -> None:
    root.mkdir(exist_ok=True, parents=True)
    for name, values in ((f"{split}-images", images), (f"{split}-labels", labels.astype(np.uint8))):
        content = idx(values)
        (root / (f"{name}.gz" if compressed else name)).write_bytes(gzip.compress(content) if compressed else content)


def write_task(path: Path, **source: object) -> Path:
    """Writes a task file of images with one source."""
    full = {"inputs": {"image": "image"}, "label": "label", "hold_out": 0.5} | source
    labels = {"left": "left side", "right": "right side"}
    spec = {"description": "made up", "modality": "image", "labels": labels, "sources": [full]}
    path.write_text(yaml.safe_dump(spec, sort_keys=False), "utf-8")
    return path
