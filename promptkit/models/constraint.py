"""Restricts generated texts to JSON objects that are valid under a schema, with the library llguidance.

The allowed next tokens are those with which the text can still become a valid object. The object is written on one line, in
the form in which demonstrations show it, with its fields in the order of the schema; after it, the text ends.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.caller import switch
from promptkit.core.errors import ModelError, Unsupported, missing_extra
from promptkit.core.schema_keywords import enforceable

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

    from promptkit.core.arrays import Bools

FORM = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""The white space of objects, as `json.dumps` writes it."""


def grammar_schema(schema: str) -> dict[str, object]:
    """Returns a schema without keywords that are only validated, and with llguidance's settings for the form of objects.

    Args:
        schema: The schema as JSON text.
    """
    return {**enforceable(json.loads(schema)), "x-guidance": FORM}


def check_schemas(model: str, schemas: Iterable[str]) -> None:
    """Checks that texts can be restricted to schemas, without a tokenizer.

    Args:
        model: The name of the model, for errors.
        schemas: The schemas as JSON text.

    Raises:
        MissingPackage: The library is not installed.
        Unsupported: A schema has a keyword that cannot be enforced token by token, or no valid object.
    """
    for schema in schemas:
        matcher = _matcher_class()
        is_error, messages = matcher.validate_grammar_with_warnings(_grammar(schema))
        if is_error:
            raise Unsupported(
                f"Texts of {model} cannot be restricted to this schema: {messages[0]}",
                code="unsupported-schema",
                got=schema[:200],
                hint=f"Simplify the schema, or generate without it: {switch('constrain', False)}",
                model=model,
                reason=messages[0],
            )


class Constraint:
    """The state of a schema's grammar for one text."""

    def __init__(self, matcher: LLMatcher, model: str) -> None:
        """Creates the state at the start of the text; `model` is the name of the model, for errors."""
        self._matcher, self._model = matcher, model

    def allowed(self, size: int) -> Bools:
        """Returns which tokens of a vocabulary of some size can follow, shape (size,)."""
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")[:size].astype(bool)
        self._check()
        return np.concatenate([bits, np.zeros(size - len(bits), bool)])

    def accept(self, token: int) -> None:
        """Adds a token to the text."""
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            reason = self._matcher.get_error().splitlines()[0]
            raise ModelError(
                f"The text of {self._model} cannot be continued to a valid JSON object: {reason}",
                code="constraint-failed",
                hint=f"Simplify the schema, or generate without it: {switch('constrain', False)}",
                model=self._model,
                reason=reason,
            )


Constrain = Callable[[str], Constraint]
"""Returns the state of a schema, given as JSON text, at the start of a text."""


class Constraints:
    """The constraints of one tokenizer, which is prepared at the first use."""

    def __init__(self, tokenizer: Callable[[], LLTokenizer], model: str) -> None:
        """Creates the constraints of the tokenizer that a function returns; `model` is the name of the model, for errors."""
        self._create, self._model = tokenizer, model

    def __call__(self, schema: str) -> Constraint:
        """Returns the state of a schema at the start of a text."""
        return Constraint(_matcher_class()(self._tokenizer, _grammar(schema)), self._model)

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        try:
            return self._create()
        except (ValueError, RuntimeError) as error:
            raise Unsupported(
                f"Texts cannot be restricted to a schema with the tokenizer of {self._model}: {str(error).splitlines()[0]}",
                code="unsupported-tokenizer",
                hint=f"Generate without it: {switch('constrain', False)}",
                model=self._model,
            ) from None


def fast_tokenizer(serialized: str, *, vocabulary: int, ends: Iterable[int]) -> LLTokenizer:
    """Returns a tokenizer of the library tokenizers for constraints.

    Args:
        serialized: The tokenizer as JSON text.
        vocabulary: The number of tokens of the model.
        ends: The tokens that end a text.
    """
    from llguidance import LLTokenizer

    return LLTokenizer(serialized, n_vocab=vocabulary, eos_token=sorted(ends))


def byte_tokenizer(control: Sequence[str], *, end: int) -> LLTokenizer:
    """Returns a tokenizer with one token for each byte, followed by control tokens, for constraints.

    Args:
        control: The names of the control tokens; the first one begins a text.
        end: The token that ends a text.
    """
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Bytes(control, end)), eos_token=[end])


class _Bytes:
    """What llguidance needs to know of a tokenizer of bytes."""

    def __init__(self, control: Sequence[str], end: int) -> None:
        self.tokens = [bytes([byte]) for byte in range(256)] + [name.encode() for name in control]
        self.special_token_ids = list(range(256, len(self.tokens)))
        self.bos_token_id, self.eos_token_id = 256, end

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


def _grammar(schema: str) -> str:
    grammar: str = _matcher_class().grammar_from_json_schema(grammar_schema(schema))
    return grammar


def _matcher_class() -> type[LLMatcher]:
    try:
        from llguidance import LLMatcher
    except ModuleNotFoundError:
        purpose = f"Restricting texts to a schema (leave it out with {switch('constrain', False)})"
        raise missing_extra("llguidance", "json", purpose) from None
    return LLMatcher
