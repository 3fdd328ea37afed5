"""Small tokenizers of the common families, created in the process."""

from __future__ import annotations

from typing import Any

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

WORDS = ("good", "bad", "a", "film", "Label:", "not", "A", "B")
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABL:., \n"


def metaspace(*, byte_fallback: bool = False) -> Any:
    """Returns a SentencePiece-like tokenizer, which drops the leading space of a token that is decoded alone."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)] if byte_fallback else []
    names = ["<s>", "</s>", "<unk>", *bytes_, "▁", *WORDS, *(f"▁{word}" for word in WORDS), *CHARACTERS.replace(" ", "")]
    pieces = [(name, -1.0 if len(name) > 1 else -10.0) for name in dict.fromkeys(names)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=byte_fallback))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=True)
    fallback = [decoders.ByteFallback()] if byte_fallback else []
    steps: list[Any] = [decoders.Replace("▁", " "), *fallback, decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
