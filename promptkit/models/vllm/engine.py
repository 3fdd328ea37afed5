"""The vllm engine: vLLM in this process, for high throughput on GPUs; the same code runs on a CPU.

Labels are scored by requests for one token that name the tokens to score (`logprob_token_ids`), one request for each node of
the trie of labels, so that every request reads the prompt from vLLM's prefix cache. `prompt_logprobs` is not used, because it
computes the entire prompt again for each label.
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from promptkit.core.arrays import Array
from promptkit.core.errors import InputError, ModelError
from promptkit.core.model import TextCard
from promptkit.core.requests import Generate, GenerateOutput, Output, Prepared, Request
from promptkit.models import registry
from promptkit.models.base import BatchedEngine
from promptkit.models.files.pretrained import card, check_stored_weights, end_tokens, read_config, read_tokenizer
from promptkit.models.files.source import LANGUAGE_MODELS, resolve
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.generation import Text, Writing, outputs_of, sampling_seed, texts_of
from promptkit.models.hf.architecture import check_causal
from promptkit.models.one_token import TokenLogprobs, TokenQuery, output_of, queries_of
from promptkit.models.vllm.capture import captured
from promptkit.models.vllm.interrupt import interruptible
from promptkit.models.vllm.settings import VllmSettings
from promptkit.models.vllm.startup import installed_version, start_engine, structured_outputs

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams

    from promptkit.models.files.embedding import Embedding

MAX_IDS = 128
"""vLLM's maximum number of tokens that one request can name."""
CPU_BLOCK = 32
"""Tokens of a block of the prefix cache on a CPU. With vLLM's default of 128, every request would compute up to 127 tokens
that it shares with others."""
IDENTITY_SETTINGS = {"quantization", "max_model_len", "tensor_parallel_size", "pipeline_parallel_size", "engine_args"}
"""Settings that are part of the model's identity without conversion."""
ONLINE_QUANTIZATIONS = ("fp8", "bitsandbytes")
"""Quantizations that vLLM applies while it loads weights that are not quantized."""
LOAD_FORMATS = ("auto", "hf", "safetensors", "pt", "fastsafetensors", "runai_streamer")
"""vLLM's ways to load weights from the files that transformers reads."""
CACHE_HITS, CACHE_QUERIES = "vllm:prefix_cache_hits", "vllm:prefix_cache_queries"


class VllmModel(BatchedEngine):
    """A causal language model in vLLM; vLLM's engine starts at the first request."""

    capabilities = registry.ENGINES["vllm"].capabilities

    Settings = VllmSettings

    def __init__(self, name: str, settings: VllmSettings) -> None:
        """Resolves the name and reads the configuration, without importing vLLM.

        Raises:
            MissingPackage: vLLM is not installed.
        """
        super().__init__(f"vllm:{name}", batch_tokens=settings.batch_tokens)
        self._settings = settings
        self._version = installed_version()
        self._source = resolve(name, settings.revision, replace(LANGUAGE_MODELS, engine="vllm"))
        self._tokenizer_source = resolve(settings.tokenizer) if settings.tokenizer else self._source
        self._config = read_config(self._source, name)
        check_causal(self._config, name)
        self._engine: LLM | None = None
        self._accepts_vectors = False
        self._weights_checked = False

    @cached_property
    def card(self) -> TextCard:
        """The model's card; the tokenizer is read at the first access."""
        return card(self._config, self._tokenizer, self.name, at_most=self._settings.max_model_len)

    @cached_property
    def _tokenizer(self) -> TransformersTokenizer:
        return read_tokenizer(self._tokenizer_source, self.name)

    @cached_property
    def _writing(self) -> Writing:
        return Writing(tokenizer=self._tokenizer, ends=self._ends)

    @cached_property
    def _ends(self) -> frozenset[int]:
        return end_tokens(self._source, self._config, self._tokenizer)

    def identity(self) -> Mapping[str, object]:
        """Returns the content hash, settings and versions that determine a result."""
        import torch

        return {
            "engine": "vllm",
            "name": self.name,
            "content": self._source.fingerprint(),
            "tokenizer": self._tokenizer_source.fingerprint(),
            "device": self._device,
            "dtype": self._dtype,
            "batch_tokens": self._settings.batch_tokens,
            **self._settings.model_dump(include=IDENTITY_SETTINGS),
            "block_size": self._block_size,
            "vllm": self._version,
            "torch": torch.__version__,
        }

    def load(self) -> None:
        """Starts vLLM's engine."""
        self._started(vectors=False)

    def embed(self, ids: Sequence[int]) -> Array:
        """Returns the embeddings of the tokens, read from the model's files."""
        return self._embedding.vectors(ids)

    def close(self) -> None:
        """Ends vLLM's engine and its processes."""
        engine, self._engine = self._engine, None
        if engine is not None:
            atexit.unregister(self.close)
            with captured():
                engine.llm_engine.engine_core.shutdown()

    def prefix_cache_hit_rate(self) -> float:
        """Returns the share of all prompt tokens so far that was read from vLLM's prefix cache."""
        metrics = self._started(vectors=False).get_metrics()
        counts = {metric.name: metric.value for metric in metrics if metric.name in (CACHE_HITS, CACHE_QUERIES)}
        return float(counts.get(CACHE_HITS, 0) / max(1, counts.get(CACHE_QUERIES, 0)))

    def _prepare(self, requests: Sequence[Request]) -> None:
        self._started(vectors=any(request.interventions.vectors for request in requests))

    def _compute(self, requests: Sequence[Request]) -> tuple[Output, ...]:
        if isinstance(requests[0].verb, Generate):
            return tuple(self._write(requests))
        return tuple(self._score_and_read(requests))

    # ---- scoring and reading ----

    def _score_and_read(self, requests: Sequence[Request]) -> list[Output]:
        """Returns outputs of `Score` and `Read`.

        Queries that name tokens and queries for the most likely tokens are separate batches, because vLLM answers a batch of
        both as if all of them named tokens.
        """
        queries = queries_of(requests, max_ids=MAX_IDS)
        results: dict[TokenQuery, TokenLogprobs] = {}
        for group in ([query for query in queries if query.token_ids], [query for query in queries if query.top_m]):
            results |= zip(group, self._logprobs(group), strict=True)
        return [output_of(request, results, max_ids=MAX_IDS) for request in requests]

    def _logprobs(self, queries: Sequence[TokenQuery]) -> list[TokenLogprobs]:
        from vllm import SamplingParams

        parameters = [
            SamplingParams(
                max_tokens=1,
                temperature=0,
                detokenize=False,
                logprobs=query.top_m or None,
                logprob_token_ids=list(query.token_ids) or None,
            )
            for query in queries
        ]
        results = self._generate([query.prepared for query in queries], parameters)
        return [{token: logprob.logprob for token, logprob in result.outputs[0].logprobs[0].items()} for result in results]

    # ---- generation ----

    def _write(self, requests: Sequence[Request]) -> list[GenerateOutput]:
        """Returns outputs of `Generate`.

        Each sample is a separate request, because the seeds of vLLM's n samples overlap with those of neighboring seeds.
        """
        texts = texts_of(requests)
        reasons = self._write_texts(texts, requests, stop=True)
        # vLLM stopped these at a stop string that does not count, such as a newline at the start
        unfinished = [text for text, reason in zip(texts, reasons, strict=True) if text.generation is None and reason == "stop"]
        self._write_texts(unfinished, requests, stop=False)
        for text in texts:
            text.finish()
        return outputs_of(texts, len(requests))

    def _write_texts(self, texts: Sequence[Text], requests: Sequence[Request], *, stop: bool) -> list[str | None]:
        """Writes texts from their start, and returns why vLLM ended each; `stop` is whether vLLM ends them at stop strings."""
        parameters = [self._sampling_parameters(text, stop=stop) for text in texts]
        results = self._generate([requests[text.request].prepared for text in texts], parameters)
        for text, result in zip(texts, results, strict=True):
            text.ids.clear()
            for token in result.outputs[0].token_ids:  # promptkit decides where a text ends, the same for every engine
                if text.generation is None:
                    text.add(token, self._writing)
        return [result.outputs[0].finish_reason for result in results]

    def _sampling_parameters(self, text: Text, *, stop: bool) -> SamplingParams:
        from vllm import SamplingParams

        return SamplingParams(
            max_tokens=text.verb.max_tokens,
            temperature=text.verb.temperature,
            seed=sampling_seed(text.verb.seed, text.sample) if text.verb.temperature else None,
            stop=list(text.verb.stop) if stop else [],
            stop_token_ids=sorted(self._ends),
            skip_special_tokens=False,
            structured_outputs=structured_outputs(text.verb.json_schema),
        )

    # ---- the engine ----

    def _generate(self, prompts: Sequence[Prepared], parameters: Sequence[SamplingParams]) -> list[RequestOutput]:
        if not prompts:
            return []
        from vllm.v1.engine.exceptions import EngineDeadError

        engine = self._started(vectors=False)
        try:
            with interruptible():
                inputs = [self._prompt(prompt) for prompt in prompts]
                outputs: list[RequestOutput] = engine.generate(inputs, list(parameters), use_tqdm=False)
                return outputs
        except ValueError as error:  # vLLM's checks of a request
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

    def _prompt(self, prepared: Prepared) -> dict[str, object]:
        if prepared.interventions.vectors is None:
            return {"prompt_token_ids": list(prepared.text.ids)}
        return {"prompt_embeds": self._embedding.rows(prepared)}

    @cached_property
    def _embedding(self) -> Embedding:
        import torch

        from promptkit.models.files.embedding import Embedding

        return Embedding(self._source, self._config.get_text_config(), getattr(torch, self._dtype))

    def _started(self, *, vectors: bool) -> LLM:
        """Returns vLLM's engine, restarted when the first learned vectors arrive."""
        if self._engine is not None and vectors and not self._accepts_vectors:
            self.close()
        if self._engine is None:
            self._check_weights()
            self._accepts_vectors = vectors
            settings = self._settings
            self._engine = start_engine(
                self.name, self._arguments(vectors), settings.engine_args, cpu_cache_gib=settings.cpu_cache_gib
            )
            atexit.register(self.close)
        return self._engine

    def _check_weights(self) -> None:
        """Checks once that the stored weights match the model. vLLM itself accepts missing weights and uses random values.

        Weights that vLLM converts while it reads them are not checked.
        """
        settings = self._settings
        as_stored = settings.quantization in (None, *ONLINE_QUANTIZATIONS)
        if as_stored and settings.engine_args.get("load_format", "auto") in LOAD_FORMATS and not self._weights_checked:
            from transformers import AutoModelForCausalLM

            check_stored_weights(AutoModelForCausalLM, self._source, self._config, self.name)
        self._weights_checked = True

    def _arguments(self, vectors: bool) -> dict[str, object]:
        settings = self._settings
        on_cpu = self._device == "cpu"
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
            "enforce_eager": on_cpu if settings.enforce_eager is None else settings.enforce_eager,
            "enable_prefix_caching": True,
            "enable_prompt_embeds": vectors,
            "max_logprobs": -1,  # no limit
            "structured_outputs_config": {"backend": "guidance"},
            "disable_log_stats": False,  # needed for the hit rate of the prefix cache
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
