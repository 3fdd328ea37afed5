"""Tokens of responses are identified by id; a spelling that may denote several tokens is never used."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import ServerError, Unsupported
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Request, Score
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.http.protocol import top_entries
from promptkit.models.http.tokens import BYTE_NAME, PARTIAL_CHARACTER, Entry, TokenTable
from tests.support.errors import refused
from tests.support.servers import Script, refusal, serving
from tests.support.tiny import make_tokenizer
from tests.support.tokenizer_families import sentence_piece

FAMILIES: dict[str, Callable[[], Any]] = {
    "byte-level": make_tokenizer,
    "metaspace": sentence_piece,
    "byte-fallback": lambda: sentence_piece(byte_fallback=True),
}
WAYS = ("after", "alone", "name")


@cache
def tokenizer_of(family: str) -> TransformersTokenizer:
    return TransformersTokenizer(FAMILIES[family]())


@cache
def table_of(family: str) -> TokenTable:
    return TokenTable(tokenizer_of(family))


@cache
def spellings(family: str) -> dict[str, list[str]]:
    tokenizer = tokenizer_of(family)
    after, alone = tokenizer.texts()
    return {"after": list(after), "alone": list(alone), "name": [tokenizer.name(i) for i in range(len(after))]}


@st.composite
def responses(draw: st.DrawFn) -> tuple[str, dict[int, float]]:
    """A family and the log-probabilities of the most likely tokens, without single-byte tokens for characters."""
    family = draw(st.sampled_from(sorted(FAMILIES)))
    spelled = spellings(family)
    possible = [
        token
        for token, name in enumerate(spelled["name"])
        if not (BYTE_NAME.fullmatch(name) and PARTIAL_CHARACTER not in spelled["after"][token])
    ]
    tokens = draw(st.lists(st.sampled_from(possible), min_size=1, max_size=20, unique=True))
    return family, {token: -0.1 * place - 0.5 for place, token in enumerate(tokens)}


@settings(deadline=None)
@given(responses(), st.sampled_from(WAYS))
def test_a_spelling_gives_the_right_value_or_is_refused(response: tuple[str, dict[int, float]], way: str) -> None:
    family, true = response
    spelled = {spellings(family)[way][token]: value for token, value in true.items()}  # later tokens replace earlier ones
    entries = [Entry(text=text, logprob=value) for text, value in spelled.items()]
    for token in range(len(spellings(family)["name"])):
        if BYTE_NAME.fullmatch(spellings(family)["name"][token]) and token not in true:
            continue
        try:
            found = table_of(family).logprobs(entries, [token])
        except Unsupported:
            continue
        assert found == ({token: true[token]} if token in true else {}), (token, spelled)


@settings(deadline=None)
@given(responses())
def test_ids_and_bytes_identify_every_token(response: tuple[str, dict[int, float]]) -> None:
    family, true = response
    by_id = [Entry(text="same", logprob=value, token_id=token) for token, value in true.items()]
    assert table_of(family).logprobs(by_id, true) == true


def test_bytes_identify_parts_of_characters() -> None:
    tokenizer = tokenizer_of("byte-level")
    ids = tokenizer.encode("é").ids
    assert len(ids) == 2
    by_bytes = [
        Entry(text=PARTIAL_CHARACTER, logprob=-1.0 - place, data=bytes([byte])) for place, byte in enumerate("é".encode())
    ]
    assert table_of("byte-level").logprobs(by_bytes, ids) == dict(zip(ids, (-1.0, -2.0), strict=True))
    as_text = [Entry(text=PARTIAL_CHARACTER, logprob=-1.0)]
    with refused(Unsupported, "ambiguous-token"):
        table_of("byte-level").logprobs(as_text, ids)


def test_tokens_that_the_tokenizer_does_not_have_are_an_error() -> None:
    entries = [Entry(text=text, logprob=-1.0) for text in ("Ωmega", "ψsi", "good")]
    with refused(ServerError, "tokenizer-mismatch", tokens=("Ωmega", "ψsi")):
        table_of("metaspace").logprobs(entries, [0])


# ---- with a server ----

LOGPROBS = {"▁good": -0.6, "▁bad": -1.1, "bad": -3.0, "good": -5.0, "▁a": -4.0}


def server(tokenizer: TransformersTokenizer, spell: Callable[[dict[int, float]], Any]) -> Script:
    """A server that encodes texts by itself and returns its most likely tokens in its own way."""
    ids = {tokenizer.name(token): token for token in range(len(tokenizer.texts()[0]))}

    def completions(body: dict[str, Any]) -> tuple[int, Any]:
        if isinstance(body["prompt"], list):
            return refusal("prompt must be a text")
        if (body.get("logprobs") or 0) > 5:
            return refusal("at most 5 logprobs")
        logprobs = spell({ids[name]: value for name, value in LOGPROBS.items()}) if body.get("logprobs") else None
        usage = {"prompt_tokens": 1 + len(tokenizer.encode(body["prompt"]).ids), "completion_tokens": 1}
        return 200, {"choices": [{"text": " good", "logprobs": logprobs, "finish_reason": "length"}], "usage": usage}

    return Script(completions=completions)


def score_labels(script: Script, folder: Any) -> dict[str, float]:
    tokenizer = tokenizer_of("metaspace")
    ids = {tokenizer.name(token): token for token in range(len(tokenizer.texts()[0]))}
    words = ("▁good", "▁bad")
    request = Request(
        input=TextInput(ids=(*tokenizer.bos, *tokenizer.encode("a film Label:").ids)),
        verb=Score(continuations=tuple((ids[word],) for word in words)),
    )
    with serving(script) as url:
        model = pk.load("http:m", base_url=url, timeout=5, max_retries=0, tokenizer=str(folder))
        ((_, (output,)),) = model.answer([request])
    return {word: row[0] for word, row in zip(words, output.logprobs, strict=True)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("metaspace")
    sentence_piece().save_pretrained(path)
    (path / "config.json").write_text('{"model_type": "llama"}')
    return path


def in_text(values: dict[int, float]) -> Any:
    spelled = spellings("metaspace")["after"]
    return {"top_logprobs": [{spelled[token]: value for token, value in values.items()}]}


def in_names(values: dict[int, float]) -> Any:
    spelled = spellings("metaspace")["name"]
    return {"top_logprobs": [{spelled[token]: value for token, value in values.items()}]}


def in_ids(values: dict[int, float]) -> Any:
    return {"top_logprobs": [{f"token_id:{token}": value for token, value in values.items()}]}


def in_llama_cpp_form(values: dict[int, float]) -> Any:
    top = [{"id": token, "token": "?", "bytes": [63], "logprob": value} for token, value in values.items()]
    return {"content": [{"id": 4, "token": "?", "bytes": [63], "logprob": -0.6, "top_logprobs": top}]}


def in_bytes(values: dict[int, float]) -> Any:
    spelled = spellings("metaspace")["after"]
    top = [{"token": "?", "bytes": [*spelled[token].encode()], "logprob": value} for token, value in values.items()]
    return {"content": [{"token": "?", "bytes": [63], "logprob": -0.6, "top_logprobs": top}]}


@pytest.mark.parametrize("spell", [in_text, in_names, in_ids, in_llama_cpp_form, in_bytes])
def test_words_with_and_without_a_space_are_different_labels(spell: Callable[[dict[int, float]], Any], folder: Any) -> None:
    result = score_labels(server(tokenizer_of("metaspace"), spell), folder)
    assert result == {"▁good": -0.6, "▁bad": -1.1}


def test_labels_that_the_server_spells_like_other_tokens_are_refused(folder: Any) -> None:
    def alone(values: dict[int, float]) -> Any:
        return {"top_logprobs": [{spellings("metaspace")["alone"][token]: value for token, value in values.items()}]}

    with refused(Unsupported, "ambiguous-token", token="▁good"):
        score_labels(server(tokenizer_of("metaspace"), alone), folder)


def test_parts_of_characters_of_openai_are_read_as_bytes() -> None:
    response = {"choices": [{"logprobs": {"top_logprobs": [{"bytes:\\xc3": -0.5, "a": -2.0}]}}]}
    entries = top_entries(None, response)  # type: ignore[arg-type] # the server is only for errors
    assert [(entry.data, entry.logprob) for entry in entries] == [(b"\xc3", -0.5), (b"a", -2.0)]
