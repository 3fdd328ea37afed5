"""A tokenizer that is read from its files without transformers, whose import takes seconds because it imports PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.models.files.source import Source
from promptkit.models.files.stored_weights import file_on_this_machine

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

UNLIMITED = 10**30
"""The maximum length of a tokenizer whose files state none, as in transformers."""


class StoredTokenizer:
    """The members of a `PreTrainedTokenizerFast` that `TransformersTokenizer` uses, for a model without a chat template."""

    is_fast = True
    chat_template = None

    def __init__(self, backend: Tokenizer, settings: Mapping[str, Any]) -> None:
        """Wraps a tokenizer.

        Args:
            backend: The tokenizer of `tokenizer.json`.
            settings: The content of `tokenizer_config.json`.
        """
        self.backend_tokenizer, self._settings = backend, settings

    @classmethod
    def read(cls, source: Source) -> StoredTokenizer | None:
        """Reads the tokenizer of a model.

        Returns:
            None if its files are not on this machine, or if it has a chat template, which transformers renders.
        """
        from tokenizers import Tokenizer

        tokenizer = file_on_this_machine(source, "tokenizer.json")
        settings = file_on_this_machine(source, "tokenizer_config.json")
        if tokenizer is None or settings is None or file_on_this_machine(source, "chat_template.jinja"):
            return None
        content = json.loads(Path(settings).read_text("utf-8"))
        return None if content.get("chat_template") else cls(Tokenizer.from_file(tokenizer), content)

    @cached_property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> added token."""
        return dict(self.backend_tokenizer.get_added_tokens_decoder())

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens that the settings name."""
        return [token for name in self._settings if name.endswith("_token") and (token := self._token(name)) is not None]

    @property
    def model_max_length(self) -> int:
        """The maximum number of tokens of a text."""
        return int(self._settings.get("model_max_length") or UNLIMITED)

    @property
    def unk_token_id(self) -> int | None:
        """The token for unknown characters."""
        return self._id("unk_token")

    @property
    def mask_token_id(self) -> int | None:
        """The mask."""
        return self._id("mask_token")

    @property
    def pad_token_id(self) -> int | None:
        """The padding."""
        return self._id("pad_token")

    @property
    def eos_token_id(self) -> int | None:
        """The token that ends a text."""
        return self._id("eos_token")

    def convert_ids_to_tokens(self, token_id: int) -> str | None:
        """Returns the spelling of a token in the vocabulary."""
        return self.backend_tokenizer.id_to_token(token_id)

    def decode(self, ids: Sequence[int], **options: bool) -> str:
        """Returns the text of tokens, with special tokens."""
        return str(self.backend_tokenizer.decode([*ids], skip_special_tokens=False))

    def _token(self, name: str) -> str | None:
        token = self._settings.get(name)
        content = token.get("content") if isinstance(token, Mapping) else token
        return content if isinstance(content, str) else None

    def _id(self, name: str) -> int | None:
        token = self._token(name)
        return None if token is None else self.backend_tokenizer.token_to_id(token)
