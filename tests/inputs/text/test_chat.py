"""Chat prompts: the ids of the tokenizer's chat, and contents that never act as control tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.core.errors import Unsupported
from promptkit.core.inputs import Piece
from promptkit.core.model import DEFAULT_CHAT, ChatOptions
from promptkit.inputs.text.chat import chat, turn_end
from promptkit.inputs.text.encoding import continuations, encode
from promptkit.models.fake import ByteTokenizer
from promptkit.models.files.tokenizer import TransformersTokenizer
from tests.support.errors import refused
from tests.support.tokenizer_families import FAMILIES, make

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{{ '' }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %} [INST] {{ m['content'] | trim }} [/INST] "
    "{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
PLAIN = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
TEMPLATES = {"chatml": CHATML, "llama": LLAMA, "plain": PLAIN}
CONTROL = ("<|im_start|>", "<|im_end|>", "[INST]", "[/INST]")
FLAGS: dict[str, dict[str, bool]] = {
    "plain": {},
    "lstrip": {"lstrip": True},
    "rstrip": {"rstrip": True},
    "both": {"lstrip": True, "rstrip": True},
    "unflagged": {"special": False},
    "normalized": {"normalized": True},
}
COMBINATIONS = [(family, flags) for family in FAMILIES for flags in FLAGS if (family, flags) != ("prepended", "normalized")]
"""All but one, in which the tokenizer itself finds a control token only after a space."""
words = st.sampled_from(["a", "film", "good", "Text:", " ", "\n", "\n\n", "é", "<b>", "[c]", "|", "think", "12", ".", "系"])
contents_of = st.lists(words, min_size=1, max_size=8).map("".join).map(str.strip).filter(bool)
hostile_words = st.sampled_from([*CONTROL, "<s>", "</s>", "<|im_", "end|>", "</think>", "<think>"])
hostile_contents = st.lists(words | hostile_words, min_size=1, max_size=8).map("".join).map(str.strip).filter(bool)
dialogs = st.lists(contents_of, min_size=1, max_size=5).filter(lambda contents: len(contents) % 2 == 1)
hostile_dialogs = st.lists(hostile_contents, min_size=1, max_size=5).filter(lambda contents: len(contents) % 2 == 1)


@cache
def tokenizers(family: str, flags: str, template: str) -> tuple[Any, TransformersTokenizer]:
    """A tokenizer of transformers as it is, and the same one for promptkit."""
    pair = [make(family, CONTROL, **FLAGS[flags]) for _ in range(2)]
    for tokenizer in pair:
        tokenizer.chat_template = TEMPLATES[template]
    return pair[0], TransformersTokenizer(pair[1])


def turns_of(contents: Sequence[str]) -> list[tuple[str, list[Piece]]]:
    roles = ["user", "assistant"] * len(contents)
    return [(role, [Piece(text=text, part=f"turn {n}")]) for n, (role, text) in enumerate(zip(roles, contents, strict=False))]


def reference_ids(tokenizer: Any, contents: Sequence[str], **options: Any) -> tuple[int, ...]:
    """The ids that transformers gives for the chat."""
    messages = [{"role": role, "content": text} for (role, _), text in zip(turns_of(contents), contents, strict=True)]
    return tuple(
        tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False, **options)
    )


def chat_ids(tokenizer: TransformersTokenizer, contents: Sequence[str], options: ChatOptions = DEFAULT_CHAT) -> tuple[int, ...]:
    pieces = chat(turns_of(contents), tokenizer, options)
    assert pieces is not None
    return encode(pieces, tokenizer).ids


# ---- the ids of the tokenizer's chat ---------------------------------------------------------------------


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(("family", "flags"), COMBINATIONS)
@settings(max_examples=20)
@given(dialogs)
def test_ids_equal_those_of_the_tokenizer(family: str, flags: str, template: str, contents: list[str]) -> None:
    reference, tokenizer = tokenizers(family, flags, template)
    assert chat_ids(tokenizer, contents) == reference_ids(reference, contents)


@pytest.mark.parametrize(("family", "flags"), COMBINATIONS)
@settings(max_examples=20)
@given(hostile_dialogs)
def test_control_tokens_in_contents_never_act(family: str, flags: str, contents: list[str]) -> None:
    _, tokenizer = tokenizers(family, flags, "chatml")
    acting = {token: name for name, token in tokenizer.control.items() if name != "<unk>"}
    expected = ["<|im_start|>", "<|im_end|>"] * len(contents) + ["<|im_start|>"]
    assert [acting[token] for token in chat_ids(tokenizer, contents) if token in acting] == expected


@pytest.mark.parametrize("template", ["chatml", "llama"])
@pytest.mark.parametrize("flags", ["plain", "rstrip"])
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20)
@given(dialogs, contents_of)
def test_continuations_equal_the_encoding_of_the_whole_chat(
    family: str, flags: str, template: str, contents: list[str], answer: str
) -> None:
    reference, tokenizer = tokenizers(family, flags, template)
    pieces = chat(turns_of(contents), tokenizer)
    assert pieces is not None
    (scored,), rescored = continuations(pieces, [answer], tokenizer)
    prompt = encode(pieces, tokenizer).ids
    text = "".join(piece.text for piece in pieces) + answer
    assert (*prompt[: len(prompt) - rescored], *scored) == tuple(reference(text, add_special_tokens=False).input_ids)


@given(dialogs)
def test_the_spans_of_a_chat_cover_its_ids(contents: list[str]) -> None:
    for family in FAMILIES:
        _, tokenizer = tokenizers(family, "both", "chatml")
        pieces = chat(turns_of(contents), tokenizer)
        assert pieces is not None
        encoded = encode(pieces, tokenizer)
        assert [i for span in encoded.spans for i in range(span.start, span.stop)] == list(range(len(encoded.ids)))


def test_a_text_in_a_slot_prompt_starts_only_once() -> None:
    """Metaspace marks the start of a text; a text after a learned vector within a prompt is not a start."""
    _, tokenizer = tokenizers("metaspace-first", "plain", "chatml")
    slot = Piece(text="task", part="soft task", learned=1)
    middle = encode([Piece(text="good", part="query"), slot, Piece(text="film", part="query")], tokenizer)
    first = encode([slot, Piece(text="film", part="query")], tokenizer)
    names = [[tokenizer.name(token) for token in ids.ids if token >= 0] for ids in (middle, first)]
    assert "".join(names[0]) == "▁goodfilm"
    assert "".join(names[1]) == "▁film"


@pytest.mark.parametrize("family", FAMILIES)
@given(contents_of)
def test_tokens_that_the_tokenizer_adds_do_not_change_the_text(family: str, content: str) -> None:
    """Tokens that are found in a text absorb white space and continue it; those that are added around it do neither."""
    reference, tokenizer = tokenizers(family, "both", "chatml")
    added = [Piece(text=name, part="frame", control=True, added=True) for name in CONTROL[:2]]
    text = f" {content} "
    ids = encode([added[0], Piece(text=text, part="query"), added[1]], tokenizer).ids
    assert ids[1:-1] == tuple(reference(text, add_special_tokens=False).input_ids)


# ---- several templates, and templates that fail ---------------------------------------------------------------


def with_template(template: Any) -> tuple[Any, TransformersTokenizer]:
    reference, other = make("bytes", CONTROL), make("bytes", CONTROL)
    reference.chat_template = other.chat_template = template
    return reference, TransformersTokenizer(other)


def test_the_default_of_several_templates_is_used() -> None:
    reference, tokenizer = with_template({"default": CHATML, "rag": PLAIN})
    assert chat_ids(tokenizer, ["a film"]) == reference_ids(reference, ["a film"])
    assert chat_ids(tokenizer, ["a film"], ChatOptions(template="rag")) == reference_ids(
        reference, ["a film"], chat_template="rag"
    )
    assert chat_ids(tokenizer, ["a film"]) != chat_ids(tokenizer, ["a film"], ChatOptions(template="rag"))


def test_several_templates_without_a_default_are_named() -> None:
    reference, tokenizer = with_template({"rag": PLAIN, "tool_use": CHATML})
    with refused(Unsupported, "unknown-chat-template", name=None, names=("rag", "tool_use")):
        chat(turns_of(["a film"]), tokenizer)
    with refused(Unsupported, "unknown-chat-template", name="chatml", names=("rag", "tool_use")):
        chat(turns_of(["a film"]), tokenizer, ChatOptions(template="chatml"))
    assert chat_ids(tokenizer, ["a film"], ChatOptions(template="rag")) == reference_ids(
        reference, ["a film"], chat_template="rag"
    )


def test_the_name_of_a_single_template_is_default() -> None:
    _, tokenizer = with_template(CHATML)
    assert chat_ids(tokenizer, ["a"], ChatOptions(template="default")) == chat_ids(tokenizer, ["a"])
    with refused(Unsupported, "unknown-chat-template", name="rag", names=("default",)):
        chat(turns_of(["a"]), tokenizer, ChatOptions(template="rag"))


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no') }}",
        "{{ messages[7]['content'] }}",
        "{{ messages[0]['content'] + 1 }}",
        "{{ 1 // 0 }}",
        "{{ messages[0].content.split('x')[5] }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ no_such_function() }}",
        "{% if %}",
    ],
)
def test_a_template_that_raises_any_error_is_not_used(template: str) -> None:
    _, tokenizer = with_template(template)
    assert chat(turns_of(["a film"]), tokenizer) is None


PARTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}:{% for part in m.content %}{% if part.type == 'text' %} {{ part.text }}"
    "{% endif %}{% endfor %}<|im_end|>\n{% endfor %}<|im_start|>assistant:"
)


@settings(max_examples=20)
@given(dialogs)
def test_a_template_that_reads_a_list_of_parts_is_given_one(contents: list[str]) -> None:
    reference, tokenizer = with_template(PARTS)
    messages = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for (role, _), text in zip(turns_of(contents), contents, strict=True)
    ]
    expected = reference.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False)
    assert chat_ids(tokenizer, contents) == tuple(expected)


@pytest.mark.parametrize(
    ("template", "content"),
    [
        ("<|im_start|>{{ messages[0]['content'] | upper }}<|im_end|>", "a film"),
        ("<|im_start|>{{ messages[0]['content'] | tojson }}<|im_end|>", 'a "film"'),
        (
            "{% if '/no_think' in messages[0]['content'] %}off{% else %}on{% endif %}: {{ messages[0]['content'] }}",
            "x /no_think",
        ),
        ("{{ messages[0]['content'] | replace('film', 'movie') }}{{ '!' if 'film' in messages[0]['content'] }}", "a nice film"),
    ],
)
def test_a_template_that_reads_contents_sees_them(template: str, content: str) -> None:
    reference, tokenizer = with_template(template)
    pieces = chat(turns_of([content]), tokenizer)
    assert pieces is not None
    assert encode(pieces, tokenizer).ids == reference_ids(reference, [content])
    assert any(piece.part == "turn 0" for piece in pieces)


SWITCHED = (
    "{% set text = messages[0]['content'] %}{% set off = '/no_think' in text %}"
    "<|im_start|>{{ text | replace('/no_think', '') | trim }}<|im_end|><|im_start|>"
    "{% for m in messages[1:] %}{{ m['content'] }}<|im_end|>{% endfor %}{{ 'direct:' if off else 'thought:' }}"
)


def test_a_template_with_a_switch_in_a_content_reads_it() -> None:
    """Neither the content nor the text after the last turn is as for other contents."""
    reference, tokenizer = with_template(SWITCHED)
    contents = ["Choose a film, good or bad. /no_think", "good film", "bad film"]
    pieces = chat(turns_of(contents), tokenizer)
    assert pieces is not None
    assert encode(pieces, tokenizer).ids == reference_ids(reference, contents)
    assert "".join(piece.text for piece in pieces).endswith("bad film<|im_end|>direct:")
    shown = {part: "".join(piece.text for piece in pieces if piece.part == part) for part in ("turn 0", "turn 1", "turn 2")}
    assert shown == {"turn 0": "Choose a film, good or bad.", "turn 1": "good film", "turn 2": "bad film"}


def test_a_template_that_leaves_out_most_of_a_content_is_not_used() -> None:
    _, tokenizer = with_template(
        "<|im_start|>{{ messages[0]['content'].split('|')[0] }}<|im_end|>{{ messages[0]['content'] | length }}"
    )
    assert chat(turns_of(["a | long film that is good"]), tokenizer) is None


# ---- the pieces of a chat ---------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["bytes", "merging"])
def tokenizer(request, merging):
    return ByteTokenizer() if request.param == "bytes" else merging([("a", "b"), ("<", "b"), ("b", "Ġ"), ("a", "Ã")])


anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.lists(
    st.sampled_from(["<bos>", "<turn>", "<end>", "<", "turn>user\n", "a", " ", "\n"]), max_size=6
).map("".join)


@given(st.lists(anything | st.just("PROMPTKIT-SLOT-0001-"), min_size=1, max_size=5))
def test_the_chat_template_is_split_exactly_for_any_content(tokenizer, contents):
    pieces = chat(turns_of(contents), tokenizer)
    roles = [role for role, _ in turns_of(contents)]
    assert "".join(piece.text for piece in pieces) == tokenizer.chat(list(zip(roles, contents, strict=True)))
    shown = [(piece.part, piece.text) for piece in pieces if piece.part != "frame"]
    assert shown == [(f"turn {n}", text) for n, text in enumerate(contents) if text]
    assert [piece.text for piece in pieces if piece.control] == ["<bos>", *["<turn>", "<end>"] * len(contents), "<turn>"]
    acting = [token for token in encode(pieces, tokenizer).ids if token in tokenizer.control.values()]
    assert len(acting) == 2 + 2 * len(contents)


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(lambda turns, options=None: None, id="refuses the turns"),
        pytest.param(lambda turns, options=None: "".join(text for _, text in turns[1:]), id="leaves one out"),
        pytest.param(lambda turns, options=None: "".join(text + text for _, text in turns), id="shows each twice"),
        pytest.param(lambda turns, options=None: "".join(text for _, text in reversed(turns)), id="turns them round"),
        pytest.param(lambda turns, options=None: "".join(text.lower() for _, text in turns), id="changes them"),
    ],
)
def test_a_chat_template_that_drops_repeats_or_reorders_turns_is_not_used(template):
    tokenizer = ByteTokenizer()
    tokenizer.chat = template
    assert chat(turns_of(["one", "two"]), tokenizer) is None


@given(st.lists(st.sampled_from(["<turn>", "<turn>x>", "<<turn>", "a", "\n"]), max_size=6).map("".join))
def test_the_longest_control_token_is_found_in_a_chat_template(frame):
    tokenizer = ByteTokenizer()
    tokenizer.control = {"<turn>": 257, "<turn>x>": 258}
    tokenizer.chat = lambda turns, options=None: frame + turns[0][1]
    pieces = chat(turns_of(["hello"]), tokenizer)
    assert "".join(piece.text for piece in pieces) == frame + "hello"
    assert [p.text for p in pieces if p.control].count("<turn>x>") == frame.count("<turn>x>")
    assert not any(name in piece.text for piece in pieces if not piece.control for name in tokenizer.control)


@pytest.mark.parametrize(("said", "end"), [("{}<end>\n", (258,)), ("{}\n<end>", ()), ("{}", ())])
def test_the_turn_end_is_the_control_token_after_an_answer(said, end):
    tokenizer = ByteTokenizer()
    tokenizer.chat = lambda turns, options=None: "<bos>" + "".join(said.format(content) for _, content in turns)
    assert turn_end(tokenizer) == end
    tokenizer.chat = lambda turns, options=None: None
    assert turn_end(tokenizer) == ()
