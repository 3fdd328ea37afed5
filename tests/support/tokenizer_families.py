"""Small tokenizers of the families that models use, trained in the process."""

from __future__ import annotations

from functools import cache
from typing import Any

import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = (
    "Say whether it is good or bad. Text: a film Label: good bad user system assistant think\n"
    "Review: the film was good and I liked it a lot. Sentiment: positive\n\n"
    "  The answer is not as far as one may think: 1 2 3 40 500 (a) <b> | [c] / é\n",
) * 10
ALPHABET = sorted({*"".join(CORPUS)} | {*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789<>|[]/_.:-\n▁ é"})
SPECIAL = ["<unk>", "<s>", "</s>"]
FAMILIES = (
    "bytes",
    "bytes-with-prefix-space",
    "metaspace-first",
    "metaspace-always",
    "metaspace-never",
    "prepended",
    "unigram-first",
    "wordpiece",
)
"""Byte-level BPE with and without a space before each text; BPE with Metaspace, or with a normalizer that marks the start of
each text; Unigram with Metaspace; WordPiece."""


def make(family: str, control: tuple[str, ...] = (), *, special: bool = True, **flags: bool) -> Any:
    """Creates a tokenizer.

    Args:
        family: One of `FAMILIES`.
        control: Names of control tokens to add.
        special: Whether they are flagged special.
        **flags: Further properties of the control tokens: lstrip, rstrip, normalized.
    """
    backend = Tokenizer.from_str(_trained(family))
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    tokens = [AddedToken(name, special=special, **{"normalized": False, **flags}) for name in control]
    fast.add_tokens(tokens, special_tokens=special)
    return fast


@cache
def _trained(family: str) -> str:
    """The tokenizer as JSON. The training of Unigram is not deterministic, so it runs once."""
    shared: dict[str, Any] = {"vocab_size": 400, "special_tokens": SPECIAL, "show_progress": False}
    if family == "unigram-first":
        backend, trainer = Tokenizer(models.Unigram()), trainers.UnigramTrainer(unk_token="<unk>", **shared)
    elif family == "wordpiece":
        backend, trainer = Tokenizer(models.WordPiece(unk_token="<unk>")), trainers.WordPieceTrainer(**shared)
    else:
        alphabet = pre_tokenizers.ByteLevel.alphabet() if family.startswith("bytes") else ALPHABET
        backend = Tokenizer(models.BPE(unk_token="<unk>"))
        trainer = trainers.BpeTrainer(initial_alphabet=alphabet, **shared)
    if family.startswith("bytes"):
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=family == "bytes-with-prefix-space")
        backend.decoder = decoders.ByteLevel()
    elif family == "wordpiece":
        backend.normalizer = normalizers.BertNormalizer(lowercase=False)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece()
    elif family == "prepended":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.decoder = decoders.Metaspace()
    else:
        scheme = family.rpartition("-")[2]
        backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)
        backend.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme)
    backend.train_from_iterator(CORPUS, trainer)
    serialized: str = backend.to_str()
    return serialized


def sentence_piece(*, byte_fallback: bool = False) -> Any:
    """Returns a tokenizer with each word with and without a space, which drops the space of a token that is decoded alone."""
    words, characters = ("good", "bad", "a", "film", "Label:", "not", "A", "B"), "abcdefghijklmnopqrstuvwxyzABL:.,\n"
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)] if byte_fallback else []
    names = ["<s>", "</s>", "<unk>", *bytes_, "▁", *words, *(f"▁{word}" for word in words), *characters]
    pieces = [(name, -1.0 if len(name) > 1 else -10.0) for name in dict.fromkeys(names)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=byte_fallback))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=True)
    fallback = [decoders.ByteFallback()] if byte_fallback else []
    steps: list[Any] = [decoders.Replace("▁", " "), *fallback, decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
