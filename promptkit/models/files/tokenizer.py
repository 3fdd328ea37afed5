"""A tokenizer of transformers as a `Tokenizer` of promptkit, which never parses control tokens in a text.

The name of a control token inside a text is encoded as plain text. The tokenizer supports this for tokens that are flagged
special. For others (`<start_of_image>` of Gemma), the first character of the name is encoded separately from the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from promptkit.core.errors import InputError, ModelError
from promptkit.core.model import Encoding

_MARKER = re.compile(r"<\|?[^\s<>]+\|?>|\[/?[^\s\[\]]+\]")
"""The form of markers of turns, images and tools; the model's files decide whether a marker is a control token."""

_TEXT = "a"
"""The text by which the tokens around a text are found."""


class TransformersTokenizer:
    """Wraps a fast tokenizer of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        """Wraps a `PreTrainedTokenizerFast` and turns off its padding and truncation.

        Raises:
            ModelError: If the tokenizer is a slow one, which has no character offsets.
        """
        if not tokenizer.is_fast:
            raise ModelError(
                "The model's tokenizer is a slow one, which does not return character offsets",
                code="slow-tokenizer",
                got=type(tokenizer).__name__,
                hint="Convert it to a fast tokenizer (a tokenizer.json file) with transformers",
                tokenizer=type(tokenizer).__name__,
            )
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._backend.encode_special_tokens = True
        self._backend.no_padding()  # tokenizer.json may set padding and truncation, as those of sentence encoders do
        self._backend.no_truncation()
        self._added = dict(tokenizer.added_tokens_decoder)  # each access computes it again, slowly
        self.has_chat: bool = bool(tokenizer.chat_template)

    @cached_property
    def control(self) -> Mapping[str, int]:
        """Control tokens, name -> id: special tokens, and markers of the chat template or of images, turns and tools."""
        special = set(self._tokenizer.all_special_tokens)
        chat = str(self._tokenizer.chat_template or "")
        return {
            token.content: token_id
            for token_id, token in self._added.items()
            if token.special or token.content in special or _is_control_marker(token.content, chat)
        }

    @property
    def bos(self) -> tuple[int, ...]:
        """The ids that the tokenizer adds before a text."""
        return self.frame[0]

    @cached_property
    def frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids that the tokenizer adds before a text, and those that it adds after it."""
        return _around(self._plain, self._backend.encode(_TEXT, add_special_tokens=True).ids)

    @cached_property
    def target_frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids that the tokenizer adds before and after a text that the decoder of an encoder-decoder writes."""
        return _around(self._plain, self._tokenizer(text_target=_TEXT).input_ids)

    @property
    def _plain(self) -> list[int]:
        ids: list[int] = self._backend.encode(_TEXT, add_special_tokens=False).ids
        return ids

    @property
    def mask(self) -> int | None:
        """The mask token; None if there is none."""
        mask = self._tokenizer.mask_token_id
        return None if mask is None else int(mask)

    @property
    def mask_takes_space(self) -> bool:
        """Whether the mask token takes the place of the white space before it too."""
        return self.mask is not None and bool(self._added[self.mask].lstrip)

    @property
    def padding(self) -> int:
        """The padding token, or 0 if there is none."""
        return int(self._tokenizer.pad_token_id or 0)

    @property
    def ends(self) -> tuple[int, ...]:
        """The end-of-text token; empty if there is none."""
        end = self._tokenizer.eos_token_id
        return () if end is None else (int(end),)

    @cached_property
    def largest(self) -> tuple[int, str]:
        """The largest id that a prompt can contain, and its token.

        A control token that is neither in the chat template nor added to texts does not count: no text is encoded as it.
        """
        used = {*self.ends, *(token for ids in self.frame for token in ids)}
        unused = set(self.control.values()) - used
        chat = str(self._tokenizer.chat_template or "")
        unused -= {token_id for name, token_id in self.control.items() if name in chat}
        last = self._backend.get_vocab_size(with_added_tokens=False) - 1
        largest = max(used | (set(self._added) - unused) | ({last} - unused - {-1}), default=0)
        return largest, self.name(largest)

    def encode(self, text: str) -> Encoding:
        """Encodes a text without adding or parsing special tokens.

        Raises:
            InputError: If the text contains an unpaired surrogate.
        """
        try:
            encoding = self._backend.encode(text, add_special_tokens=False)
        except TypeError:
            raise InputError(
                "A text contains an unpaired surrogate, which cannot be tokenized",
                code="unpaired-surrogate",
                got=ascii(text[:60]),
                hint="Remove that character from the text",
                text=ascii(text[:60]),
            ) from None
        if self._unflagged.isdisjoint(encoding.ids):
            return Encoding(ids=tuple(encoding.ids), starts=_starts(encoding.offsets))
        return self._escape(text, encoding)

    def name(self, token_id: int) -> str:
        """Returns the spelling of a token in the vocabulary."""
        return str(self._tokenizer.convert_ids_to_tokens(token_id))

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids, with control tokens and without cleaning up spaces."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def chat(self, turns: Sequence[tuple[str, str]]) -> str | None:
        """Renders (role, content) turns with the chat template; returns None if it refuses them, such as a system role."""
        if not self.has_chat:
            return None
        import jinja2

        messages = [{"role": role, "content": content} for role, content in turns]
        try:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except jinja2.TemplateError:
            return None

    @cached_property
    def _unflagged(self) -> frozenset[int]:
        """Control tokens that the backend always parses in a text, because they are not flagged special."""
        return frozenset(token_id for token_id in self.control.values() if not self._added[token_id].special)

    def _escape(self, text: str, encoding: Any) -> Encoding:
        """Encodes a text again, split after the first character of each control token in it."""
        ids: list[int] = []
        starts: list[int] = []
        cuts = [begin + 1 for token, (begin, _) in zip(encoding.ids, encoding.offsets, strict=True) if token in self._unflagged]
        for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            part = self._backend.encode(text[begin:end], add_special_tokens=False)
            ids += part.ids
            starts += [begin + start for start in _starts(part.offsets)]
        return Encoding(ids=tuple(ids), starts=tuple(starts))


def _around(plain: Sequence[int], framed: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the ids before and after those of the text itself."""
    for start in range(len(framed) - len(plain) + 1):
        if [*framed[start : start + len(plain)]] == [*plain]:
            return tuple(framed[:start]), tuple(framed[start + len(plain) :])
    return (), ()


def _is_control_marker(name: str, chat_template: str) -> bool:
    image_or_turn = re.search(r"image|audio|video|turn|channel|tool|fim|think|^<\|", name) is not None
    return _MARKER.fullmatch(name) is not None and (name in chat_template or image_or_turn)


def _starts(offsets: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Returns where the text of each token begins, its leading space included, which some tokenizers leave out of offsets.

    The byte tokens of one character all begin at that character.
    """
    starts: list[int] = []
    end = 0
    for begin, stop in offsets:
        starts.append(max(min(begin, end), starts[-1] if starts else 0))
        end = max(end, stop)
    return tuple(starts)
