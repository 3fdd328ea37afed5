"""promptkit on vLLM, lm-eval on vLLM and promptkit on transformers: the same prompts, model folder and machine, in one run.

Each side runs in a process of its own, and its clock starts when its engine is up. lm-eval's path is that of its own tasks:
`VLLM.loglikelihood` over one Instance a label, which reads the prompt again for each by `prompt_logprobs`.

    .venv-vllm/bin/pip install lm-eval==0.4.13
    .venv-vllm/bin/python benchmarks/vllm_side_by_side/run.py --data DIR
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TASK, SHOTS, SEED = "sst2", 16, 0
LENGTH = 4096
SIDES = ("promptkit-vllm", "lm-eval-vllm", "promptkit-hf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a mirror of data sets")
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--side", choices=SIDES, help="run that side alone, and write what it found to --result")
    parser.add_argument("--result", type=Path)
    options = parser.parse_args()
    if options.side:
        options.result.write_text(json.dumps(measured(options.side, options.data, options.items)), "utf-8")
        return
    found = {side: apart(side, options.data, options.items) for side in SIDES}
    report = compared(found, options.items)
    (HERE / "results.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print(json.dumps(report, indent=1))


def apart(side: str, data: Path, items: int) -> Any:
    """What a side found, in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        command = [
            sys.executable,
            __file__,
            "--data",
            str(data),
            "--items",
            str(items),
            "--side",
            side,
            "--result",
            str(result),
        ]
        subprocess.run(command, check=True)
        return json.loads(result.read_text("utf-8"))


def measured(side: str, data: Path, items: int) -> dict[str, Any]:
    """Seconds, and the log-probability of each label of each item."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    requests, texts, folder = work(data, items)
    if side == "lm-eval-vllm":
        return lm_eval(folder, texts)
    import promptkit as pk

    model: Any = pk.load("vllm:demo", dtype="float32", max_model_len=LENGTH) if side == "promptkit-vllm" else pk.load("demo")
    model.load()
    began = time.perf_counter()
    outputs: dict[int, Any] = {}
    for indices, batch in model.answer(requests):
        outputs |= dict(zip(indices, batch, strict=True))
    seconds = time.perf_counter() - began
    logprobs = [[sum(row) for row in outputs[index].logprobs] for index in range(len(requests))]
    hits = model.prefix_cache_hit_rate() if side == "promptkit-vllm" else None
    return {"seconds": seconds, "logprobs": logprobs, "prefix_cache_hit_rate": hits}


def work(data: Path, items: int) -> tuple[list[Any], list[tuple[str, tuple[str, ...]]], str]:
    """The requests, the same prompts and labels as texts, and the model's folder."""
    import promptkit as pk
    from promptkit.align.chain import reading
    from promptkit.core.examples import Example
    from promptkit.models.files.source import resolve
    from promptkit.tasks.sampling import by_hash

    task = pk.task(TASK, data=data)
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.balanced(k=SHOTS, seed=SEED))
    bound = pk.Predictor(pk.load("demo"), prompt, reading(task)).bind(task)
    rows = [Example(id=row.id, inputs=row.inputs) for row in by_hash(task.rows("test"), items)]
    rendered = bound.apply(rows)
    texts = [("".join(piece.text for piece in each.pieces if not piece.control), each.targets) for each in rendered]
    return [bound.request(*pair) for pair in zip(rows, rendered, strict=True)], texts, resolve("demo").location


def lm_eval(folder: str, texts: list[tuple[str, tuple[str, ...]]]) -> dict[str, Any]:
    """lm-eval's own vLLM backend; it asks for the version of the package `vllm`, which on a CPU is named vllm-cpu."""
    import importlib.metadata

    from vllm.platforms import current_platform

    assert current_platform.device_type  # which vLLM finds out by that version too, and must do before
    importlib.metadata.version = lambda name: version("vllm-cpu" if name == "vllm" and not has("vllm") else name)
    from lm_eval.api.instance import Instance
    from lm_eval.models.vllm_causallms import VLLM

    importlib.metadata.version = version

    model = VLLM(
        pretrained=folder,
        dtype="float32",
        batch_size="auto",
        max_model_len=LENGTH,
        add_bos_token=True,
        enforce_eager=True,
        enable_prefix_caching=True,
    )
    pairs = [(context, target) for context, targets in texts for target in targets]
    asked = [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=index) for index, pair in enumerate(pairs)]
    began = time.perf_counter()
    scores = iter(model.loglikelihood(asked))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "logprobs": [[next(scores)[0] for _ in targets] for _, targets in texts]}


def has(package: str) -> bool:
    """Whether a package of that name is installed."""
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def compared(found: dict[str, Any], items: int) -> dict[str, Any]:
    """What is published."""
    ours, theirs, hf = (found[side] for side in SIDES)

    def largest(one: Any, other: Any) -> float:
        pairs = zip(one["logprobs"], other["logprobs"], strict=True)
        return max(abs(a - b) for row, same in pairs for a, b in zip(row, same, strict=True))

    return {
        "task": f"{TASK}, {SHOTS} shared demonstrations, {items} items, Gemma 3 270M, float32",
        "items_per_second": {side: round(items / found[side]["seconds"], 3) for side in SIDES},
        "ratio_to_lm_eval_on_vllm": round(theirs["seconds"] / ours["seconds"], 1),
        "ratio_to_promptkit_on_hf": round(hf["seconds"] / ours["seconds"], 2),
        "largest_logprob_difference_to_lm_eval": largest(ours, theirs),
        "largest_logprob_difference_to_hf": largest(ours, hf),
        "prefix_cache_hit_rate": round(ours["prefix_cache_hit_rate"], 3),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {each: version(each) for each in ("lm_eval", "torch", "transformers")},
    }


if __name__ == "__main__":
    main()
