"""The settings of the vllm engine, which are known without importing PyTorch or vLLM."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from promptkit.models import registry


def _parse_json(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


class VllmSettings(registry.Settings):
    """Settings of the vllm engine."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` is float32 on a CPU and bfloat16 on a GPU; or float32, bfloat16, float16."""
    quantization: str | None = None
    """Quantization of the weights by vLLM's name for it: awq, gptq, fp8, bitsandbytes."""
    max_model_len: PositiveInt | None = None
    """Maximum number of tokens of a prompt and its continuation. Default: the model's context length."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of a GPU's memory that vLLM uses; more than 0, at most 1."""
    cpu_cache_gib: PositiveInt = 2
    """On a CPU: size of the key-value cache in GiB."""
    block_size: PositiveInt | None = None
    """Tokens of a block of the prefix cache. Default: vLLM's default on a GPU and 32 on a CPU."""
    tensor_parallel_size: PositiveInt = 1
    """Number of GPUs that share each layer."""
    pipeline_parallel_size: PositiveInt = 1
    """Number of groups of GPUs that the layers are divided among."""
    enforce_eager: bool | None = None
    """Whether to disable compilation and CUDA graphs. Default: no on a GPU and yes on a CPU."""
    revision: str | None = None
    """Branch, tag or commit of a model on the hub."""
    tokenizer: str | None = None
    """Hub id or folder of the tokenizer. Default: the model's tokenizer."""
    batch_tokens: PositiveInt = 65536
    """Maximum number of prompt tokens that vLLM is given at once, and that are lost when a run is killed."""
    engine_args: Annotated[dict[str, object], BeforeValidator(_parse_json)] = Field(default_factory=dict)
    """More arguments of vLLM's engine, as a JSON object: {"swap_space": 4}."""
