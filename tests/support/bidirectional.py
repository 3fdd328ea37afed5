"""Tiny random encoder-decoders and masked language models with the tokenizers of their families, made without downloads."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.support.tiny import CORPUS

VOCABULARY = 420
WORDS = ("the", "film", "was", "good", "bad", "great", "review", "it", "and", "one", "yes", "sentiment", "positive", "so")
"""The words that are tokens of the WordPiece and the Unigram tokenizer, besides single characters."""
CHARACTERS = string.ascii_letters + string.digits + string.punctuation
TEXTS = [*CORPUS, *(f"{word} movie, it was {word}. one row is yes or no" for word in ("great", "terrible", "so so"))]


def byte_level() -> Any:
    """A byte-level BPE tokenizer as of BART and RoBERTa: `<s> text </s>`, and a mask that takes up the space before it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
        cls_token="<s>",
        sep_token="</s>",
    )


def word_piece() -> Any:
    """A WordPiece tokenizer as of BERT: `[CLS] text [SEP]`, lower case, without spaces in tokens."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted({*CHARACTERS.lower()})
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters if letter.isalnum()), *WORDS, "##ible", "##ing"]
    tokenizer = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(special)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def unigram() -> Any:
    """A Unigram tokenizer as of T5: `text </s>`, in which a word begins with the space before it."""
    special = ["<pad>", "</s>", "<unk>"]
    scores = {**dict.fromkeys(special, 0.0), "▁": -4.0, **{f"▁{word}": -5.0 for word in WORDS}, "ible": -6.0, "ing": -6.0}
    scores |= dict.fromkeys(CHARACTERS, -8.0)
    tokenizer = Tokenizer(models.Unigram([*scores.items()], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(special)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


_BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
_T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "decoder_start_token_id": 0,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
_BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
}
_ROBERTA = {**_BERT, "max_position_embeddings": 258, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}

CONFIGS: dict[str, tuple[Callable[..., Any], dict[str, Any], Callable[[], Any]]] = {
    "t5": (transformers.T5Config, _T5, unigram),
    "t5-gated": (transformers.T5Config, {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, unigram),
    "bart": (transformers.BartConfig, _BART, byte_level),
    "bart-forced": (transformers.BartConfig, {**_BART, "forced_bos_token_id": 0, "scale_embedding": True}, byte_level),
    "mbart": (transformers.MBartConfig, _BART, byte_level),
    "bert": (transformers.BertConfig, _BERT, word_piece),
    "roberta": (transformers.RobertaConfig, _ROBERTA, byte_level),
    "distilbert": (
        transformers.DistilBertConfig,
        {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 256},
        word_piece,
    ),
    "electra": (transformers.ElectraConfig, {**_BERT, "embedding_size": 32}, word_piece),
    "fnet": (transformers.FNetConfig, {**_BERT, "use_tpu_fourier_optimizations": False}, word_piece),
}
"""The configuration and the tokenizer of each tiny model."""
ENCODER_DECODERS = ("t5", "t5-gated", "bart", "bart-forced", "mbart")
MASKED = ("bert", "roberta", "distilbert", "electra")


def make(kind: str) -> tuple[Any, Any]:
    """Returns a frozen random model, with weights large enough that attention matters, and its tokenizer."""
    torch.manual_seed(0)
    make_config, settings, make_tokenizer = CONFIGS[kind]
    tokenizer = make_tokenizer()
    config = make_config(**settings, vocab_size=len(tokenizer))
    auto = transformers.AutoModelForSeq2SeqLM if kind in ENCODER_DECODERS else transformers.AutoModelForMaskedLM
    model = auto.from_config(config)
    if "forced_bos_token_id" in settings:
        model.generation_config.forced_bos_token_id = settings["forced_bos_token_id"]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.2)
            elif "bias" in name:
                parameter.normal_(0, 0.1)
    return model.eval().requires_grad_(False), tokenizer


def save(folder: Path, kind: str) -> Path:
    """Saves a tiny model with its tokenizer in a folder."""
    model, tokenizer = make(kind)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
