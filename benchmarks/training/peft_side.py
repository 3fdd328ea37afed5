"""Trains with PEFT and Trainer of transformers, with the loss of the model."""

from __future__ import annotations

import argparse
import json
import resource
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

NO_LABEL = -100
"""The label that transformers ignores in the loss."""
CONFIGS = {"PROMPT_TUNING": PromptTuningConfig, "PREFIX_TUNING": PrefixTuningConfig}


class Clock(TrainerCallback):
    """Records the end time of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


class RowsTrainer(Trainer):
    """A trainer that reads rows in their order and records the loss of each step."""

    losses: list[float]

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset or self.train_dataset)

    def compute_loss(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss: torch.Tensor = super().compute_loss(*args, **kwargs)
        self.losses.append(float(loss.detach()))
        return loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--learning-rate", required=True, type=float)
    parser.add_argument("--folder", required=True, type=Path, help="folder with the output of promptkit_side.py")
    options = parser.parse_args()
    batches = json.loads((options.folder / "batches.json").read_text())
    base = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
    initial = load_file(options.folder / "initial" / "adapter_model.safetensors")["prompt_embeddings"]
    method = json.loads((options.folder / "initial" / "adapter_config.json").read_text())["peft_type"]
    model = get_peft_model(base, CONFIGS[method](task_type="CAUSAL_LM", num_virtual_tokens=len(initial)))
    model.prompt_encoder["default"].embedding.weight.data.copy_(initial)
    arguments = TrainingArguments(
        output_dir=str(options.folder / "trainer"),
        per_device_train_batch_size=len(batches[0]),
        max_steps=len(batches),
        learning_rate=options.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=0.0,
        save_strategy="no",
        report_to=[],
        remove_unused_columns=False,
        use_cpu=True,
        disable_tqdm=True,
    )
    clock, rows = Clock(), [row for batch in batches for row in batch]
    trainer = RowsTrainer(model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[clock])
    trainer.losses = []
    trainer.train()
    seconds = [end - begin for begin, end in pairwise(clock.ends)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    (options.folder / "peft.json").write_text(json.dumps({"losses": trainer.losses, "seconds": seconds, "peak_gib": peak}))


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Pads on the right; with padding on the left, PEFT inserts its vectors or prefix before the padding."""
    sequences = [row["ids"] + row["answer"] for row in rows]
    longest = max(map(len, sequences))
    padding = [longest - len(ids) for ids in sequences]
    labels = [[NO_LABEL] * len(row["ids"]) + row["answer"] for row in rows]
    return {
        "input_ids": torch.tensor([ids + [0] * count for ids, count in zip(sequences, padding, strict=True)]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * count for ids, count in zip(sequences, padding, strict=True)]),
        "labels": torch.tensor([row + [NO_LABEL] * count for row, count in zip(labels, padding, strict=True)]),
    }


if __name__ == "__main__":
    main()
