"""Runs lm-eval on the prompts that promptkit wrote, with the Python of the lm-eval environment.

It uses the methods that lm-eval's tasks use: `HFLM.loglikelihood` with one Instance per label, and `HFLM.generate_until` for
texts. Its defaults are kept (requests sorted by length, one forward pass for labels of one token, the default attention of
transformers). The time covers encoding and scoring or generation, with the weights in memory. It does not import promptkit.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the model's folder")
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--prompts", type=Path, required=True, help="the file of prompts to read")
    parser.add_argument("--items", type=int, required=True, help="number of prompts to read")
    parser.add_argument("--result", type=Path, required=True, help="the file of results to write")
    options = parser.parse_args()
    prompts = [json.loads(line) for line in options.prompts.read_text("utf-8").splitlines()][: options.items]
    model = HFLM(pretrained=options.model, dtype="float32", device="cpu", batch_size=options.batch_size, add_bos_token=True)
    check_token_ids(model, prompts)
    run = write if prompts[0]["write"] else score
    start = time.perf_counter()
    outputs = run(model, prompts)
    seconds = time.perf_counter() - start
    result = {
        "scoring_seconds": seconds,
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in ("lm_eval", "torch", "transformers")}},
        "logprobs": [],
        "texts": [],
        **outputs,
    }
    options.result.write_text(json.dumps(result), "utf-8")


def score(model: HFLM, prompts: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the log-probability of every target of every prompt."""
    pairs = [(prompt["context"], target) for prompt in prompts for target in prompt["targets"]]
    instances = [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=index) for index, pair in enumerate(pairs)]
    scores = iter(model.loglikelihood(instances))
    return {"logprobs": [[next(scores)[0] for _ in prompt["targets"]] for prompt in prompts]}


def write(model: HFLM, prompts: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns a greedy text for every prompt."""
    instances = [
        Instance(
            request_type="generate_until",
            doc={},
            arguments=(prompt["context"], {**prompt["write"], "do_sample": False, "temperature": 0.0}),
            idx=index,
        )
        for index, prompt in enumerate(prompts)
    ]
    return {"texts": model.generate_until(instances)}


def check_token_ids(model: HFLM, prompts: list[dict[str, Any]]) -> None:
    """Exits unless lm-eval encodes every prompt and target to the ids that promptkit scored, including BOS."""
    for prompt in prompts:
        if model.tok_encode(prompt["context"]) != prompt["context_ids"]:
            raise SystemExit(f"The tools encode the prompt of item {prompt['id']} differently, so they cannot be compared.")
        for target, target_ids in zip(prompt["targets"], prompt["target_ids"], strict=True):
            theirs = model._encode_pair(prompt["context"], target)
            if theirs != (prompt["context_ids"], target_ids):
                raise SystemExit(
                    f"The tools encode item {prompt['id']} with {target!r} differently, so they cannot be compared."
                )


if __name__ == "__main__":
    main()
