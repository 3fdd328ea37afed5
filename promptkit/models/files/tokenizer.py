"""A tokenizer of transformers as a `Tokenizer` of promptkit, which never parses control tokens in a text.

The name of a control token inside a text is encoded as plain text. The tokenizer supports this for tokens that are flagged
special, so control tokens without this flag (`<start_of_image>` of Gemma) are given it.

A text between two control tokens is encoded between two boundary tokens with the same properties, which are then removed. The
token ids therefore equal those of the complete chat, for tokenizers that mark only the start of a text and for control tokens
that absorb white space.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from promptkit.core.errors import InputError, ModelError
from promptkit.core.model import DEFAULT_CHAT, ChatOptions, Encoding
from promptkit.core.thinking import ThoughtMarkers
from promptkit.models.files.chat_template import ChatTemplates

if TYPE_CHECKING:
    from tokenizers import AddedToken

_MARKER = re.compile(r"<\|?[^\s<>]+\|?>|\[/?[^\s\[\]]+\]")
"""The form of markers of turns, images and tools; the model's files decide whether a marker is a control token."""
_BOUNDARY = "\ufdd2"
"""The character that the names of boundary tokens begin with. Unicode reserves it for internal use by programs."""
_PLAIN = (False, False, False)
"""The properties of a boundary that absorbs no white space."""
_TEXT = "a"
"""The text that is encoded to find the tokens around a text."""


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
        self._backend.no_padding()  # tokenizer.json may set padding and truncation, as for sentence encoders
        self._backend.no_truncation()
        self._added = dict(tokenizer.added_tokens_decoder)  # each access computes it again, slowly
        self._templates = ChatTemplates(tokenizer)
        self._boundaries: dict[tuple[bool, bool, bool], str] = {}
        self._latest: tuple[tuple[str, str | None, str | None], Encoding] | None = None
        """The arguments and the result of the latest call of `encode`: a prompt is encoded, and then with its answers."""
        self._flag_control_tokens()

    @property
    def has_chat(self) -> bool:
        """Whether the tokenizer has a chat template."""
        return bool(self._tokenizer.chat_template)

    def _flag_control_tokens(self) -> None:
        """Flags all control tokens as special, because the backend always parses other added tokens in a text."""
        unflagged = [self._added[token_id] for token_id in self.control.values() if not self._added[token_id].special]
        self._backend.add_special_tokens([_with(token, special=True) for token in unflagged])

    @property
    def serialized(self) -> str:
        """The tokenizer as JSON text."""
        return str(self._backend.to_str())

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

    @cached_property
    def _acting(self) -> frozenset[int]:
        """The ids of control tokens, without the one that stands for unknown characters of a text."""
        return frozenset(self.control.values()) - {self._tokenizer.unk_token_id}

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
    def max_length(self) -> int:
        """The maximum number of tokens of a text in the tokenizer's settings; very large if they state none."""
        return int(self._tokenizer.model_max_length)

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

    def encode(self, text: str, *, after: str | None = None, before: str | None = None) -> Encoding:
        """Encodes a text without adding or parsing special tokens.

        Args:
            text: The text.
            after: The control token before the text, "" for another boundary, or None if the text is the start.
            before: The control token after the text, or None.

        Raises:
            InputError: If the text contains an unpaired surrogate, or the character that marks boundaries.
        """
        arguments, latest = (text, after, before), self._latest
        if latest is None or latest[0] != arguments:
            latest = self._latest = (arguments, self._encode(text, after, before))
        return latest[1]

    def _encode(self, text: str, after: str | None, before: str | None) -> Encoding:
        if _BOUNDARY in text:
            raise InputError(
                f"A text contains the character {_BOUNDARY!a}, which Unicode reserves for internal use by programs",
                code="boundary-character",
                got=ascii(text[:60]),
                hint="Remove that character from the text",
                text=ascii(text[:60]),
            )
        first = "" if after is None else self._boundary(after)
        last = "" if before is None else self._boundary(before)
        try:
            encoding = self._backend.encode(f"{first}{text}{last}", add_special_tokens=False)
        except TypeError:
            raise InputError(
                "A text contains an unpaired surrogate, which cannot be tokenized",
                code="unpaired-surrogate",
                got=ascii(text[:60]),
                hint="Remove that character from the text",
                text=ascii(text[:60]),
            ) from None
        ids, offsets = encoding.ids, encoding.offsets
        kept = slice(1 if first else 0, len(ids) - 1 if last else None)
        found = Encoding(ids=tuple(ids[kept]), starts=_starts(offsets[kept], len(first), len(first) + len(text)))
        cuts = [start + 1 for token, start in zip(found.ids, found.starts, strict=True) if token in self._acting]
        return self._divided(text, cuts[0], after, before) if cuts and cuts[0] < len(text) else found

    def _divided(self, text: str, cut: int, after: str | None, before: str | None) -> Encoding:
        """Encodes a text in two parts, because its vocabulary contains the name of a control token there as a word."""
        left = self.encode(text[:cut], after=after, before="")
        right = self.encode(text[cut:], after="", before=before)
        return Encoding(ids=left.ids + right.ids, starts=left.starts + tuple(cut + start for start in right.starts))

    def name(self, token_id: int) -> str:
        """Returns the spelling of a token in the vocabulary."""
        return str(self._tokenizer.convert_ids_to_tokens(token_id))

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids, with control tokens and without cleaning up spaces."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def texts(self) -> tuple[Sequence[str], Sequence[str]]:
        """Returns the text of every token id after another token, and of every token id alone.

        Some tokenizers drop the leading space of a token that is decoded alone.
        """
        count = max(self._backend.get_vocab(with_added_tokens=True).values()) + 1
        anchor = self._backend.encode("a", add_special_tokens=False).ids[-1]
        before = len(self.decode([anchor]))
        after = self._backend.decode_batch([[anchor, token] for token in range(count)], skip_special_tokens=False)
        alone = self._backend.decode_batch([[token] for token in range(count)], skip_special_tokens=False)
        return [text[before:] for text in after], alone

    def chat(self, turns: Sequence[tuple[str, str]], options: ChatOptions = DEFAULT_CHAT) -> str | None:
        """Renders (role, content) turns with the chat template; returns None if it refuses them, such as a system role.

        Raises:
            Unsupported: As for `Tokenizer.chat`.
        """
        return self._templates.render(turns, options) if self.has_chat else None

    def thought_markers(self, options: ChatOptions = DEFAULT_CHAT) -> Sequence[ThoughtMarkers]:
        """Returns the markers of thoughts that the chat template declares; empty if the model does not think."""
        return self._templates.thought_markers(options) if self.has_chat else ()

    def _boundary(self, control: str) -> str:
        """Returns the name of a token that bounds a text as a control token does, and that is not flagged special."""
        token = self._added.get(self.control.get(control, -1))
        properties = _PLAIN if token is None else (token.lstrip, token.rstrip, token.normalized)
        if properties not in self._boundaries:
            from tokenizers import AddedToken

            name = f"{_BOUNDARY}{len(self._boundaries)}{_BOUNDARY}"
            left, right, normalized = properties
            added = AddedToken(name, lstrip=left, rstrip=right, normalized=normalized, special=False)
            self._backend.add_tokens([added])
            found = self._backend.encode(name, add_special_tokens=False).ids == [self._backend.token_to_id(name)]
            self._boundaries[properties] = name if found else ""  # a normalizer can remove the name
        return self._boundaries[properties]


def _with(token: AddedToken, *, special: bool) -> AddedToken:
    """Returns a copy of an added token with another flag."""
    from tokenizers import AddedToken

    properties = {name: getattr(token, name) for name in ("single_word", "lstrip", "rstrip", "normalized")}
    return AddedToken(token.content, special=special, **properties)


def _around(plain: Sequence[int], framed: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the ids before and after the text's."""
    for start in range(len(framed) - len(plain) + 1):
        if [*framed[start : start + len(plain)]] == [*plain]:
            return tuple(framed[:start]), tuple(framed[start + len(plain) :])
    return (), ()


def _is_control_marker(name: str, chat_template: str) -> bool:
    image_or_turn = re.search(r"image|audio|video|turn|channel|tool|fim|think|^<\|", name) is not None
    return _MARKER.fullmatch(name) is not None and (name in chat_template or image_or_turn)


def _starts(offsets: Sequence[tuple[int, int]], first: int, stop: int) -> tuple[int, ...]:
    """Returns where the text of each token begins, its leading space included, which some tokenizers leave out of offsets.

    The byte tokens of one character all begin at that character.

    Args:
        offsets: The offsets of the tokens.
        first: The offset of the first character of the text.
        stop: The offset after its last character.
    """
    starts: list[int] = []
    start, end, last = first, first, max(first, stop - 1)
    for begin, token_end in offsets:  # comparisons, because min and max are slow for the many tokens of a prompt
        earliest = begin if begin < end else end
        start = earliest if earliest > start else start
        start = start if start < last else last
        starts.append(start - first)
        end = token_end if token_end > end else end
    return tuple(starts)
