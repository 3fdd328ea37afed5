"""Checks at load what a model supports, by comparing forward passes on short texts, instead of by its name."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isfinite, isnan

import torch

from promptkit.core.errors import ModelError, Unsupported
from promptkit.core.inputs import TextInput
from promptkit.core.interventions import NO_INTERVENTIONS, HiddenEdit, Interventions
from promptkit.core.model import TextCard
from promptkit.core.requests import Read, ReadOutput, Request, Score, ScoreOutput
from promptkit.models.finite import not_finite
from promptkit.models.hf.attention import ATTENTION, attend
from promptkit.models.hf.causal_lm import CausalLM
from promptkit.models.hf.checked import CheckResults
from promptkit.models.hf.forward import CausalForward, Forward
from promptkit.models.hf.frozen_model import FrozenModel
from promptkit.models.hf.lm_head import LMHead
from promptkit.models.hf.packed import PackedForward
from promptkit.models.hf.padded import PaddedForward
from promptkit.models.hf.tensors import array_of, prefix_of, tensor_of

TOLERANCE = 1e-3
"""The largest difference between two computations of the same log-probabilities in float32."""
PADDING_TOLERANCE = 3e-5
"""The largest difference of a log-probability in float32 that padding may make."""
LOW_PRECISION_WORST, LOW_PRECISION_MEAN = 1.0, 0.3
"""The largest and the mean difference for 16-bit weights. Rounding changes the log-probability of an unlikely token by up
to 0.4, and of all tokens by 0.13 on average (Gemma 3 270M in bfloat16, where the padded forward, which also rounds in the
output head, is farther from float32)."""
KNOWN_LAYERS = frozenset({"full_attention", "sliding_attention"})
"""The kinds of layers whose attention can be replaced."""
SHARED_PROBE_TOKENS = 6
"""How many tokens the two probes have in common."""


def packed_forward(
    causal_lm: CausalLM, *, batch_tokens: int, checks: CheckResults | None = None
) -> tuple[PackedForward | None, str]:
    """Returns the model's packed forward and an empty text, or None and the reason why the model does not support it.

    Sets the model's attention to packed attention, unless it is not supported.

    Args:
        causal_lm: The model.
        batch_tokens: Maximum number of tokens that are computed at once.
        checks: The known results of checks of this model; None to check it now.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    head = causal_lm.lm_head()
    reason = _unsupported_structure(causal_lm)
    if head is None or reason:
        return None, reason or "its output head is not a linear layer"
    original_attention = causal_lm.attention

    def find_reason() -> str:
        probes = _probes(causal_lm.vocabulary_size)
        expected = _logprobs(PaddedForward(causal_lm, batch_tokens=batch_tokens), probes, reuse=0)
        if any(map(isnan, expected)):
            raise not_finite("a log-probability", model_type=causal_lm.model_type)
        return _why_not_packed(causal_lm, head, probes, expected, batch_tokens=batch_tokens)

    ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attend)
    reason = find_reason() if checks is None else checks.text("packed", find_reason)
    causal_lm.set_attention(original_attention if reason else ATTENTION)
    return (None, reason) if reason else (PackedForward(causal_lm, head, batch_tokens=batch_tokens), "")


def _why_not_packed(
    causal_lm: CausalLM, head: LMHead, probes: list[Request], expected: list[float], *, batch_tokens: int
) -> str:
    """Returns why the packed forward is not used: how it differs from the padded one; empty if it can be used.

    Args:
        causal_lm: The model, whose attention is replaced.
        head: Its output head.
        probes: The requests of the check.
        expected: The log-probabilities of the padded forward.
        batch_tokens: Maximum number of tokens that are computed at once.
    """
    try:
        causal_lm.set_attention(ATTENTION)
        packed = PackedForward(causal_lm, head, batch_tokens=batch_tokens)
        actual = _logprobs(packed, probes, reuse=SHARED_PROBE_TOKENS)
        return _wrong_windows(causal_lm, packed.windows) or _difference(expected, actual, packed.dtype)
    except Exception as error:  # the code of a model may fail in any way with an attention that it does not expect
        return f"its code does not take another attention ({type(error).__name__})"


def check_sizes(frozen: FrozenModel, card: TextCard, name: str) -> None:
    """Compares the sizes on the model card, which come from the configuration, with the loaded modules.

    Raises:
        ModelError: If they differ.
    """
    found = {"embedding_width": frozen.embedding_width, "vocabulary": frozen.num_embeddings}
    stated = {"embedding_width": card.embedding_width, "vocabulary": card.vocabulary}
    if found["embedding_width"] != stated["embedding_width"] or found["vocabulary"] < stated["vocabulary"]:
        raise ModelError(
            f"The embedding of the model {name} does not have the size that its configuration states",
            code="wrong-embedding-size",
            got=f"{found['vocabulary']} rows of width {found['embedding_width']} instead of "
            f"{stated['vocabulary']} of width {stated['embedding_width']}",
            hint="Check that config.json is that of these weights",
            model=name,
            **found,
        )


def check_probe(causal_lm: CausalLM, name: str) -> None:
    """Checks on a short text that a loaded model returns finite numbers, and that no token changes earlier predictions.

    Args:
        causal_lm: The model, with its own attention.
        name: The model as the user named it.

    Raises:
        ModelError: If the model returns numbers that are not finite.
        Unsupported: If the model is not causal.
    """
    ids = torch.tensor([request.text.ids[:8] for request in _probes(causal_lm.vocabulary_size)[:1] * 2])
    ids[1, -2:] = (ids[1, -2:] + 1) % causal_lm.vocabulary_size
    mask = torch.ones_like(ids).to(causal_lm.device)
    with torch.no_grad():
        logits, _ = causal_lm.logits(ids.to(causal_lm.device), mask, NO_INTERVENTIONS, first=0)
    scores = logits.float().log_softmax(-1)
    if scores.isnan().any():
        raise not_finite("a logit", model=name)
    one, other = (row[:-2].gather(1, ids[0, 1:-1, None].to(row.device)).flatten().tolist() for row in scores)
    if _difference(one, other, causal_lm.dtype):
        raise Unsupported(
            f"The model {name} is not a causal language model: a token changes the predictions of the tokens before it",
            code="not-causal",
            got=f"a model of type {causal_lm.model_type}",
            hint="Use a causal language model",
            model=name,
            kind="unsupported",
        )


def supports_vectors(forward: Forward) -> bool:
    """Returns whether the model gives the same results for the embeddings of tokens, as learned vectors, as for the tokens."""
    request, _ = _probes(forward.frozen.vocabulary_size)
    count = len(request.text.ids)
    tokens = TextInput(ids=forward.as_prompt(request.text.ids))
    learned = Interventions(vectors=forward.embed(tokens.ids[:count]))
    vectors = TextInput(ids=forward.as_prompt(tuple(-1 - i for i in range(count))))
    read = (replace(request, input=tokens), replace(request, input=vectors, interventions=learned))
    try:
        expected, actual = (_logprobs(forward, [each]) for each in read)
    except (AttributeError, IndexError, NotImplementedError, TypeError, ValueError):  # a model that reads only token ids
        return False
    return not _difference(expected, actual, forward.dtype)


def padding_matters(forward: Forward) -> bool:
    """Returns whether scores change if prompts and continuations are computed next to longer ones, with padding."""
    probes = [
        replace(probe, input=TextInput(ids=forward.as_prompt(probe.text.ids)))
        for probe in _probes(forward.frozen.vocabulary_size)
    ]
    single = [
        replace(probe, verb=Score(continuations=(continuation,)))
        for probe in probes
        if isinstance(probe.verb, Score)
        for continuation in probe.verb.continuations
    ]
    alone = [logprob for request in single for logprob in _logprobs(forward, [request])]
    together = _logprobs(forward, probes)
    if forward.dtype == torch.float32:
        return max(abs(a - b) for a, b in zip(alone, together, strict=True)) > PADDING_TOLERANCE
    return bool(_difference(alone, together, forward.dtype))


def why_no_prefixes(forward: CausalForward) -> str:
    """Returns why prefixes are not supported; empty if the keys and values of tokens give the same results as the tokens."""
    tokens, _ = _probes(forward.causal_lm.vocabulary_size)
    ids = tokens.text.ids
    try:
        prefix = prefix_of(forward.keys_values(ids[:4]))
        prefixed = replace(tokens, input=TextInput(ids=ids[4:]), interventions=Interventions(prefixes=(prefix,)))
        expected, actual = _logprobs(forward, [tokens]), _logprobs(forward, [prefixed])
    except Unsupported as error:
        return str(error).partition(". ")[0]
    except (TypeError, AttributeError, IndexError, ValueError):  # such as a recurrent model
        return "some of its layers do not take keys and values"
    different = _difference(expected, actual, forward.dtype)
    return "keys and values give other results than token ids" if different else ""


def why_no_edits(forward: CausalForward) -> str:
    """Returns why hidden states cannot be edited; empty if a vector that is added to a middle layer appears in its state."""
    tokens, _ = _probes(forward.causal_lm.vocabulary_size)
    layers = forward.causal_lm.num_layers
    layer = max(1, layers // 2)
    if layer == layers:
        return ""
    request = replace(tokens, verb=Read(hidden_layer=layer, top_m=1))
    try:
        before = _hidden_state(forward, request)
        added = 0.5 * before.abs().mean() * torch.ones_like(before)
        edit = HiddenEdit(layer=layer, operation="add", last=1, arrays=(array_of(added),))
        after = _hidden_state(forward, replace(request, interventions=Interventions(edits=(edit,))))
    except Unsupported as error:
        return str(error).partition(". ")[0]
    if torch.allclose(after, before + added, rtol=0.02, atol=0.02 * float(added.abs().max())):
        return ""
    return "a vector that is added to the output of a layer does not appear in its hidden state"


def _hidden_state(forward: Forward, request: Request) -> torch.Tensor:
    (output,) = forward.answer([request], 0, {})
    assert isinstance(output, ReadOutput)
    assert output.hidden is not None
    return tensor_of(output.hidden)


def _difference(expected: list[float], actual: list[float], dtype: torch.dtype) -> str:
    """Returns how log-probabilities differ, as the reason for a refusal; empty if they are close enough for the data type."""
    gaps = [abs(a - b) if isfinite(a) and isfinite(b) else 0 if a == b else inf for a, b in zip(expected, actual, strict=True)]
    worst, mean = max(gaps), sum(gaps) / len(gaps)
    if worst == inf:
        return "its packed forward returns numbers that are not finite"
    low_precision = dtype != torch.float32
    if worst <= TOLERANCE or (low_precision and worst <= LOW_PRECISION_WORST and mean <= LOW_PRECISION_MEAN):
        return ""
    return f"its packed forward differs from its padded forward by {worst:.2g} in log-probability"


def _unsupported_structure(causal_lm: CausalLM) -> str:
    """Returns the first reason in the configuration why the model cannot be packed; empty if there is none."""
    unknown_layers = set(causal_lm.layer_types or ()) - KNOWN_LAYERS
    if unknown_layers:
        return f"it has layers of the kind {', '.join(sorted(unknown_layers))}"
    if causal_lm.depends_on_length:
        return "its rotary embedding depends on the length of the sequence"
    return ""


def _wrong_windows(causal_lm: CausalLM, windows: dict[int, int | None]) -> str:
    """Returns how the sliding windows of the layers differ from the configuration; empty if they do not.

    The probes are shorter than a window, so that a wrong window does not show in log-probabilities.
    """
    layers = range(causal_lm.num_layers)
    if set(windows) != set(layers):
        return "not every layer has attention that can be replaced"
    layer_types = causal_lm.layer_types
    if layer_types is None:
        return ""
    sliding = [windows[layer] is not None for layer in layers]
    expected = [layer_type == "sliding_attention" for layer_type in layer_types]
    return "" if sliding == expected else "its layers do not pass on their sliding window"


def _probes(vocabulary: int) -> list[Request]:
    """Returns two prompts that share `SHARED_PROBE_TOKENS` tokens, each with continuations that branch."""
    token = [(7 * index * index + 3 * index + 5) % vocabulary for index in range(24)]
    verb = Score(continuations=((token[12], token[13], token[14]), (token[12], token[15]), (token[16],)))
    prompts = (tuple(token[:11]), (*token[:SHARED_PROBE_TOKENS], token[18], token[19]))
    return [Request(input=TextInput(ids=ids), verb=verb) for ids in prompts]


def _logprobs(forward: Forward, requests: list[Request], *, reuse: int = 0) -> list[float]:
    """Returns the log-probabilities of all tokens of all continuations."""
    outputs = forward.answer(requests, reuse, forward.prefill(requests[0].text.ids[:reuse]))
    return [x for output in outputs if isinstance(output, ScoreOutput) for row in output.logprobs for x in row]
