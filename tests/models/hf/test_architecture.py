"""The kind of a model, from the auto classes and the configurations of transformers."""

from __future__ import annotations

import pytest
import transformers as hf

from promptkit.core.errors import Unsupported
from promptkit.models.hf.architecture import Kind, architecture_of, check_causal
from tests.support.errors import refused


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (hf.LlamaConfig(), "causal"),
        (hf.GPTNeoXConfig(), "causal"),  # states is_decoder=False, and is causal
        (hf.MambaConfig(), "causal"),
        (hf.Gemma3Config(), "causal"),  # of several modalities, with a class that takes text alone
        (hf.BertConfig(), "masked"),
        (hf.BertConfig(is_decoder=True), "causal"),
        (hf.RobertaConfig(), "masked"),
        (hf.DistilBertConfig(), "masked"),
        (hf.XLMConfig(), "masked"),
        (hf.XLMConfig(causal=True), "causal"),
        (hf.T5Config(), "encoder-decoder"),
        (hf.BartConfig(), "encoder-decoder"),
        (hf.BartConfig(is_encoder_decoder=False, is_decoder=True), "causal"),  # as BartForCausalLM saves it
        (hf.T5Config(is_encoder_decoder=False), "unsupported"),
        (hf.WhisperConfig(), "unsupported"),
        (hf.ViTConfig(), "unsupported"),
        (hf.LlavaConfig(), "unsupported"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_kind(config: hf.PretrainedConfig, kind: Kind) -> None:
    architecture = architecture_of(config)
    assert architecture.kind == kind
    assert architecture.reason


def test_reason_names_what_the_type_is_for() -> None:
    assert "image classification" in architecture_of(hf.ViTConfig()).reason


@pytest.mark.parametrize(
    ("config", "kind"), [(hf.BertConfig(), "masked"), (hf.BartConfig(), "encoder-decoder"), (hf.ViTConfig(), "unsupported")]
)
def test_other_kinds_are_refused_as_causal(config: hf.PretrainedConfig, kind: Kind) -> None:
    check_causal(hf.LlamaConfig(), "tiny")
    with refused(Unsupported, "not-causal", model="tiny", kind=kind):
        check_causal(config, "tiny")
