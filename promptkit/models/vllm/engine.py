"""The vllm engine: vLLM in this process, for throughput on GPUs; the same code runs on a CPU.

Labels are scored by one-token requests that name the tokens they want (`logprob_token_ids`), one at each node of the
label trie, so that every request reads the prompt from vLLM's prefix cache; `prompt_logprobs`, which would read the whole
prompt again for each label, is never used.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from promptkit.core.errors import InputError, MissingPackage, ModelError, PromptkitError, missing_extra, unknown
from promptkit.core.inputs import TextInput, Vectors
from promptkit.core.model import Card
from promptkit.core.requests import Generate, Output, Request
from promptkit.models import registry as base
from promptkit.models.batching import make_plan
from promptkit.models.files.pretrained import card, end_tokens, read_config, read_tokenizer
from promptkit.models.files.source import resolve
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.generation import outputs_of, seed_of, texts_of
from promptkit.models.one_token import Answer, Question, answer_of, questions_of, refuse_hidden_states, refuse_layers
from promptkit.models.vllm.capture import captured
from promptkit.models.vllm.interrupt import interruptible

MOST_IDS = 128
"""vLLM's bound on the tokens that one request may name."""
CPU_BLOCK = 32
"""Tokens of a block of the prefix cache on a CPU. vLLM's own default of 128 has up to 127 shared tokens read again by
every request."""
INSTALL = "pip install -U 'vllm>=0.32'"


def _object(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


class VllmModel:
    """A causal language model in vLLM; the engine starts at the first request."""

    verbs = frozenset({"Score", "Read", "Generate"})
    hidden_states = False

    class Settings(base.Settings):
        """Settings of the vllm engine."""

        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
        """`auto` is float32 on a CPU and bfloat16 on a GPU; or float32, bfloat16, float16."""
        quantization: str | None = None
        """How the weights are quantized, as vLLM spells it: awq, gptq, fp8, bitsandbytes."""
        max_model_len: PositiveInt | None = None
        """The most tokens of a prompt and its continuation; the model's own length unless given."""
        gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
        """The share of a GPU's memory that vLLM takes; more than 0, at most 1."""
        cpu_cache_gib: PositiveInt = 2
        """On a CPU: GiB for keys and values."""
        block_size: PositiveInt | None = None
        """Tokens of a block of the prefix cache: vLLM's own on a GPU and 32 on a CPU unless given."""
        tensor_parallel_size: PositiveInt = 1
        """GPUs that share every layer."""
        pipeline_parallel_size: PositiveInt = 1
        """Groups of GPUs that each hold some of the layers."""
        enforce_eager: bool | None = None
        """Whether to do without compilation and CUDA graphs: no on a GPU and yes on a CPU unless given."""
        revision: str | None = None
        """Branch, tag or commit of a model on the hub."""
        tokenizer: str | None = None
        """Hub id or folder of another tokenizer than the model's own."""
        batch_tokens: PositiveInt = 65536
        """Prompt tokens that are handed to vLLM at once; what is lost when a run is killed."""
        engine_args: Annotated[dict[str, Any], BeforeValidator(_object)] = Field(default_factory=dict)
        """More arguments of vLLM's engine, as a JSON object: {"swap_space": 4}."""

    def __init__(self, name: str, settings: Settings) -> None:
        """Resolve the name and read the configuration; nothing of vLLM is imported."""
        self.name = f"vllm:{name}"
        self._settings = settings
        self._version = _installed()
        self._source = resolve(name, settings.revision)
        self._tokenizer_source = resolve(settings.tokenizer) if settings.tokenizer else self._source
        self._config: Any = read_config(self._source, name)
        self._engine: Any = None
        self._embeds = False

    @cached_property
    def card(self) -> Card:
        """What manipulations may know of the model; reads the tokenizer the first time."""
        return card(self._config, self._tokenizer, at_most=self._settings.max_model_len)

    @cached_property
    def _tokenizer(self) -> TransformersTokenizer:
        return read_tokenizer(self._tokenizer_source, self.name)

    @cached_property
    def _ends(self) -> frozenset[int]:
        return end_tokens(self._source, self._tokenizer)

    def identity(self) -> Mapping[str, object]:
        """Content, settings and versions that determine a result."""
        import torch

        settings = self._settings
        return {
            "engine": "vllm",
            "name": self.name,
            "content": self._source.fingerprint(),
            "tokenizer": self._tokenizer_source.fingerprint(),
            "device": self._device,
            "dtype": self._dtype,
            "batch_tokens": settings.batch_tokens,
            **{
                key: getattr(settings, key)
                for key in ("quantization", "max_model_len", "tensor_parallel_size", "pipeline_parallel_size", "engine_args")
            },
            "block_size": self._block_size,
            "vllm": self._version,
            "torch": torch.__version__,
        }

    def notes(self) -> Sequence[str]:
        """Nothing that a reader of the results should know."""
        return ()

    def load(self) -> None:
        """Start the engine."""
        self._started(embeds=False)

    def embed(self, ids: Sequence[int]) -> Vectors:
        """What its embedding module gives these tokens; read from its files."""
        rows: Vectors = self._embedding.vectors(ids)
        return rows

    def batches(self, requests: Sequence[Request]) -> Sequence[tuple[int, ...]]:
        """See `Model.batches`."""
        size = self._settings.batch_tokens
        plan = make_plan(requests, batch_tokens=size, batch_pairs=size**2, share=False)
        return [batch.requests for batch in plan.batches]

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        """Answer a batch of the plan at a time; see `Model.answer`. Raises Unsupported before the engine starts."""
        refuse_hidden_states(requests, self.name)
        refuse_layers(requests, self.name)
        finished = frozenset(done)
        engine = self._started(embeds=any(request.input.vectors for request in requests))
        for batch in self.batches(requests):
            if finished.issuperset(batch):
                continue
            group = [requests[i] for i in batch]
            writes = isinstance(group[0].verb, Generate)
            yield batch, tuple(self._write(engine, group) if writes else self._read(engine, group))

    def close(self) -> None:
        """End the engine and its processes."""
        engine, self._engine = self._engine, None
        if engine is not None:
            atexit.unregister(self.close)
            with captured():
                engine.llm_engine.engine_core.shutdown()

    # ---- scoring and reading ----

    def _read(self, engine: Any, requests: Sequence[Request]) -> list[Output]:
        """Score and read, by one-token questions; those that name tokens and those that want the likeliest go apart,
        because vLLM answers a batch of both as if all had named tokens."""
        asked = questions_of(requests, most_ids=MOST_IDS)
        answers: dict[Question, Answer] = {}
        for group in ([one for one in asked if one.token_ids], [one for one in asked if one.top_m]):
            answers |= zip(group, self._logprobs(engine, group), strict=True)
        return [answer_of(request, answers, most_ids=MOST_IDS) for request in requests]

    def _logprobs(self, engine: Any, asked: Sequence[Question]) -> list[Answer]:
        """Token -> log-probability over the whole vocabulary, for each request."""
        from vllm import SamplingParams

        wanted = [
            SamplingParams(
                max_tokens=1,
                temperature=0,
                detokenize=False,
                logprobs=one.top_m or None,
                logprob_token_ids=list(one.token_ids) or None,
            )
            for one in asked
        ]
        answered = self._generate(engine, [one.input for one in asked], wanted)
        return [{token: told.logprob for token, told in each.outputs[0].logprobs[0].items()} for each in answered]

    # ---- writing ----

    def _write(self, engine: Any, requests: Sequence[Request]) -> list[Output]:
        """Texts; vLLM's own n samples would have seeds that neighbouring seeds share, so each is a request of its own."""
        from vllm import SamplingParams

        texts = texts_of(requests)
        wanted = [
            SamplingParams(
                max_tokens=text.verb.max_tokens,
                temperature=text.verb.temperature,
                seed=seed_of(text.verb.seed, text.sample) if text.verb.temperature else None,
                stop=list(text.verb.stop),
                stop_token_ids=sorted(self._ends),
                skip_special_tokens=False,
            )
            for text in texts
        ]
        answered = self._generate(engine, [requests[text.request].input for text in texts], wanted)
        for text, each in zip(texts, answered, strict=True):
            for token in each.outputs[0].token_ids:  # where a text ends is promptkit's rule, the same for every engine
                if text.generation is None:
                    text.add(token, self._tokenizer, self._ends)
            text.finish()
        return [*outputs_of(texts, len(requests))]

    # ---- the engine ----

    def _generate(self, engine: Any, prompts: Sequence[TextInput], wanted: Sequence[Any]) -> Any:
        if not prompts:
            return []
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            with interruptible():
                return engine.generate([self._prompt(prompt) for prompt in prompts], list(wanted), use_tqdm=False)
        except ValueError as error:  # its own checks of a request
            raise InputError(
                f"vLLM refused a prompt: {str(error).splitlines()[0]}",
                code="prompt-refused",
                hint="Use fewer shots",
                model=self.name,
            ) from None
        except EngineDeadError as error:
            raise ModelError(
                f"vLLM's engine stopped: {str(error).splitlines()[0]}",
                code="engine-stopped",
                hint="The same command continues; the engine may need more memory",
                model=self.name,
            ) from None

    def _prompt(self, prompt: TextInput) -> dict[str, Any]:
        if prompt.vectors is None:
            return {"prompt_token_ids": list(prompt.ids)}
        return {"prompt_embeds": self._embedding.rows(prompt)}

    @cached_property
    def _embedding(self) -> Any:
        import torch

        from promptkit.models.files.embedding import Embedding

        return Embedding(self._source, self._config, getattr(torch, self._dtype))

    def _started(self, *, embeds: bool) -> Any:
        """The engine, started anew if learned vectors come for the first time."""
        if self._engine is not None and embeds and not self._embeds:
            self.close()
        if self._engine is None:
            self._embeds = embeds
            self._engine = self._start(embeds)
            atexit.register(self.close)
        return self._engine

    def _start(self, embeds: bool) -> Any:
        settings = self._settings
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(settings.cpu_cache_gib))
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        with captured() as log, interruptible():
            try:
                import vllm
                from vllm.engine.arg_utils import EngineArgs

                known = [field.name for field in fields(EngineArgs)]
                foreign = next((name for name in settings.engine_args if name not in known), None)
                if foreign is not None:
                    raise unknown("argument of vLLM's engine", foreign, known)
                if "logprob_token_ids" not in getattr(vllm.SamplingParams, "__struct_fields__", ()):
                    raise MissingPackage(
                        "This version of vLLM is too old: it cannot score the tokens that a request names",
                        code="outdated-package",
                        got=self._version,
                        hint=INSTALL,
                        package="vllm",
                        version=self._version,
                    )
                return vllm.LLM(**{**self._arguments(embeds), **settings.engine_args})
            except PromptkitError:
                raise
            except Exception as error:  # of vLLM's many kinds, most of them raised in another process
                reason = log.reason() or str(error).strip().splitlines()[0]
        raise ModelError(
            f"vLLM could not start with the model {self.name}: {reason}",
            code="engine-start-failed",
            hint="Try --set max_model_len=4096, another dtype or gpu_memory_utilization, or the hf engine",
            model=self.name,
        )

    def _arguments(self, embeds: bool) -> dict[str, Any]:
        settings = self._settings
        cpu = self._device == "cpu"
        return {
            "model": self._source.location,
            "revision": self._source.commit,
            "tokenizer": self._tokenizer_source.location,
            "tokenizer_revision": self._tokenizer_source.commit,
            "dtype": self._dtype,
            "quantization": settings.quantization,
            "max_model_len": settings.max_model_len,
            "gpu_memory_utilization": settings.gpu_memory_utilization,
            "tensor_parallel_size": settings.tensor_parallel_size,
            "pipeline_parallel_size": settings.pipeline_parallel_size,
            "enforce_eager": cpu if settings.enforce_eager is None else settings.enforce_eager,
            "enable_prefix_caching": True,
            "enable_prompt_embeds": embeds,
            "max_logprobs": -1,  # as many as a request wants
            "disable_log_stats": False,  # how much the prefix cache saved
            **({"block_size": self._block_size} if self._block_size else {}),
        }

    @property
    def _block_size(self) -> int | None:
        return self._settings.block_size or (CPU_BLOCK if self._device == "cpu" else None)

    @cached_property
    def _device(self) -> str:
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def _dtype(self) -> str:
        if self._settings.dtype == "auto":
            return "float32" if self._device == "cpu" else "bfloat16"
        return self._settings.dtype

    def prefix_cache_hit_rate(self) -> float:
        """The share of all prompt tokens so far that was read from vLLM's prefix cache."""
        told = {metric.name: getattr(metric, "value", 0) for metric in self._started(embeds=False).get_metrics()}
        return told.get("vllm:prefix_cache_hits", 0) / max(1, told.get("vllm:prefix_cache_queries", 0))


def _installed() -> str:
    for package in ("vllm", "vllm-cpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    raise missing_extra("vllm", "vllm", "The vllm engine")
