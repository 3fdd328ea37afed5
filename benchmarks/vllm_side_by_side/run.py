"""Compares promptkit on vLLM, lm-eval on vLLM and promptkit on transformers with the same prompts, model and machine.

Each side runs in a separate process, and the time starts when its engine has started. lm-eval scores as in its tasks:
`VLLM.loglikelihood` with one Instance per label, which computes the prompt again for each label by `prompt_logprobs`.

    .venv-vllm/bin/pip install lm-eval==0.4.13
    .venv-vllm/bin/python benchmarks/vllm_side_by_side/run.py --data DIR
    python benchmarks/vllm_side_by_side/run.py --readme    # only writes the table of results.json into README.md
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from readme import update_readme

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
TASK, SHOTS, SEED = "sst2", 16, 0
LENGTH = 4096
SIDES = ("promptkit-vllm", "lm-eval-vllm", "promptkit-hf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with sst2/")
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--side", choices=SIDES, help="only run this side and write its results to --result")
    parser.add_argument("--result", type=Path)
    parser.add_argument("--readme", action="store_true", help="only write the table of results.json into README.md")
    options = parser.parse_args()
    if options.side:
        options.result.write_text(json.dumps(measure(options.side, options.data, options.items)), "utf-8")
        return
    if not options.readme:
        outcomes = {side: run_side(side, options.data, options.items) for side in SIDES}
        RESULTS.write_text(json.dumps(compare(outcomes, options.items), indent=1) + "\n", "utf-8")
    lines = table(json.loads(RESULTS.read_text("utf-8")))
    print("\n".join(lines))
    update_readme(HERE / "README.md", {"results": lines})


def run_side(side: str, data: Path, items: int) -> Any:
    """Runs one side in a separate process and returns its results."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        command = [sys.executable, __file__, "--data", data, "--items", items, "--side", side, "--result", result]
        subprocess.run([str(word) for word in command], check=True)
        return json.loads(result.read_text("utf-8"))


def measure(side: str, data: Path, items: int) -> dict[str, Any]:
    """Returns the seconds of one side and the log-probability of each label of each item."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    requests, texts, folder = workload(data, items)
    if side == "lm-eval-vllm":
        return lm_eval(folder, texts)
    import promptkit as pk

    model: Any = pk.load("vllm:demo", dtype="float32", max_model_len=LENGTH) if side == "promptkit-vllm" else pk.load("demo")
    model.load()
    start = time.perf_counter()
    outputs: dict[int, Any] = {}
    for indices, batch in model.answer(requests):
        outputs |= dict(zip(indices, batch, strict=True))
    seconds = time.perf_counter() - start
    logprobs = [[sum(row) for row in outputs[index].logprobs] for index in range(len(requests))]
    hits = model.prefix_cache_hit_rate() if side == "promptkit-vllm" else None
    return {"seconds": seconds, "logprobs": logprobs, "prefix_cache_hit_rate": hits}


def workload(data: Path, items: int) -> tuple[list[Any], list[tuple[str, tuple[str, ...]]], str]:
    """Returns the requests, the same prompts and labels as texts, and the folder of the model."""
    import promptkit as pk
    from promptkit.align.chain import reader_for
    from promptkit.core.examples import Example
    from promptkit.models.files.source import resolve
    from promptkit.tasks.sampling import by_hash

    task = pk.task(TASK, data=data)
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.Balanced(k=SHOTS, seed=SEED))
    bound = pk.Predictor(pk.load("demo"), prompt, reader_for(task)).bind(task)
    rows = [Example(id=row.id, inputs=row.inputs) for row in by_hash(task.rows("test"), items)]
    rendered = bound.encode(rows)
    texts = [("".join(piece.text for piece in prompt.pieces if not piece.control), prompt.targets) for prompt in rendered]
    return [bound.request(*pair) for pair in zip(rows, rendered, strict=True)], texts, resolve("demo").location


def lm_eval(folder: str, texts: list[tuple[str, tuple[str, ...]]]) -> dict[str, Any]:
    """Scores with lm-eval's vLLM backend, which needs the version of the package `vllm`, named vllm-cpu on a CPU."""
    import importlib.metadata

    from vllm.platforms import current_platform

    assert current_platform.device_type  # vLLM detects it by that version too, so before the replacement
    importlib.metadata.version = lambda name: version("vllm-cpu" if name == "vllm" and not installed("vllm") else name)
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
    instances = [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=index) for index, pair in enumerate(pairs)]
    start = time.perf_counter()
    scores = iter(model.loglikelihood(instances))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "logprobs": [[next(scores)[0] for _ in targets] for _, targets in texts]}


def installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def compare(outcomes: dict[str, Any], items: int) -> dict[str, Any]:
    """Returns the published results."""
    ours, theirs, hf = (outcomes[side] for side in SIDES)

    def largest(one: Any, other: Any) -> float:
        pairs = zip(one["logprobs"], other["logprobs"], strict=True)
        return max(abs(a - b) for row, same in pairs for a, b in zip(row, same, strict=True))

    return {
        "task": f"{TASK}, {SHOTS} shared demonstrations, {items} items, Gemma 3 270M, float32",
        "items_per_second": {side: round(items / outcomes[side]["seconds"], 3) for side in SIDES},
        "ratio_to_lm_eval_on_vllm": round(theirs["seconds"] / ours["seconds"], 1),
        "ratio_to_promptkit_on_hf": round(hf["seconds"] / ours["seconds"], 2),
        "largest_logprob_difference_from_lm_eval": largest(ours, theirs),
        "largest_logprob_difference_from_hf": largest(ours, hf),
        "prefix_cache_hit_rate": round(ours["prefix_cache_hit_rate"], 3),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {package: version(package) for package in ("lm_eval", "torch", "transformers")},
    }


def table(results: dict[str, Any]) -> list[str]:
    speed = results["items_per_second"]
    return [
        "| | items per second | ratio |",
        "| --- | ---: | ---: |",
        f"| promptkit, `vllm:` | {speed['promptkit-vllm']:.2f} | |",
        f"| lm-eval {results['versions']['lm_eval']}, vLLM backend | {speed['lm-eval-vllm']:.3f} | "
        f"{results['ratio_to_lm_eval_on_vllm']}x |",
        f"| promptkit, `hf` | {speed['promptkit-hf']:.2f} | {results['ratio_to_promptkit_on_hf']:.1f}x |",
        "",
        "Largest difference of a label's log-probability: "
        f"{results['largest_logprob_difference_from_lm_eval']:.1e} from lm-eval, "
        f"{results['largest_logprob_difference_from_hf']:.1e} from `hf`. "
        f"{results['prefix_cache_hit_rate']:.0%} of all prompt tokens "
        "were read from vLLM's prefix cache.",
    ]


if __name__ == "__main__":
    main()
