"""Encodes the answers of an encoder-decoder, which are separate texts and not continuations of the prompt."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.core.formats import EncoderDecoderFormat
from promptkit.core.model import Tokenizer
from promptkit.inputs.text.encoding import check_targets


def encode_answers(texts: Sequence[str], tokenizer: Tokenizer, form: EncoderDecoderFormat) -> tuple[tuple[int, ...], ...]:
    """Returns the tokens that are scored for each answer: its text as a target of the tokenizer, up to the end token.

    The tokens before the text, such as BART's `<s>`, are not scored: the decoder is given them.

    Raises:
        TemplateError: An answer has no tokens.
    """
    encoded = [tokenizer.encode(text).ids for text in texts]
    check_targets(texts, encoded)
    return tuple((*ids, *form.target_end) for ids in encoded)
