from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.core.errors import ModelError, PromptkitError, TemplateError
from promptkit.core.inputs import Piece
from promptkit.inputs.text.encoding import continuations, encode, framed
from promptkit.models.fake import ByteTokenizer
from tests.support.errors import refused

CONTROL = ("<bos>", "<turn>", "<end>")

plain = st.text(st.sampled_from("abc \né")) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
hostile = st.lists(st.sampled_from(["<bos>", "<turn>", "<end>", "<", "turn>user\n", "a", " ", "\n"]), max_size=6).map("".join)
text_pieces = st.builds(Piece, text=plain | hostile, part=st.sampled_from(["instruction", "demonstration 1", "query"]))
control_pieces = st.builds(Piece, text=st.sampled_from(CONTROL), part=st.just("frame"), control=st.just(True))


@st.composite
def merge_lists(draw, alphabet: str = "abcĠ", most: int = 14) -> list[tuple[str, str]]:
    """Merges of a byte-level BPE tokenizer (a space is Ġ), each of two existing symbols."""
    symbols = list(alphabet)
    merges: list[tuple[str, str]] = []
    for _ in range(draw(st.integers(0, most))):
        left, right = draw(st.sampled_from(symbols)), draw(st.sampled_from(symbols))
        if (left, right) not in merges and left + right not in symbols and len(left + right) <= 6:
            merges.append((left, right))
            symbols.append(left + right)
    return merges


@pytest.fixture(scope="module", params=["bytes", "merging"])
def tokenizer(request, merging):
    merges = [("a", "b"), ("Ġ", "a"), ("Ġa", "b"), ("Ċ", "Ċ"), ("<", "b"), ("<b", "o"), ("<bo", "s"), ("b", "Ġ"), ("a", "Ã")]
    return ByteTokenizer() if request.param == "bytes" else merging(merges)


def query(text: str) -> Piece:
    return Piece(text=text, part="query")


# ---- encode -----------------------------------------------------------------------------------------


@given(st.lists(text_pieces))
def test_text_pieces_are_encoded_as_their_joined_text(tokenizer, pieces):
    assert encode(pieces, tokenizer).ids == tokenizer.encode("".join(piece.text for piece in pieces)).ids


@given(st.lists(text_pieces | control_pieces), control_pieces, st.lists(text_pieces | control_pieces))
def test_a_control_piece_is_one_id_and_separates_the_text_around_it(tokenizer, before, control, after):
    control_id = tokenizer.control[control.text]
    assert encode([*before, control, *after], tokenizer).ids == (
        *encode(before, tokenizer).ids,
        control_id,
        *encode(after, tokenizer).ids,
    )


@given(st.lists(text_pieces | control_pieces))
def test_text_is_not_encoded_as_a_control_token(tokenizer, pieces):
    acting = [token for token in encode(pieces, tokenizer).ids if token in tokenizer.control.values()]
    assert acting == [tokenizer.control[piece.text] for piece in pieces if piece.control]


@given(st.lists(text_pieces | control_pieces))
def test_spans_are_contiguous_in_order_and_cover_the_ids(tokenizer, pieces):
    encoded = encode(pieces, tokenizer)
    edges = [(span.start, span.stop) for span in encoded.spans]
    assert [token for start, stop in edges for token in range(start, stop)] == list(range(len(encoded.ids)))
    assert all(start < stop for start, stop in edges)
    assert all(one.part != other.part for one, other in zip(encoded.spans, encoded.spans[1:], strict=False))


@given(st.lists(plain | hostile, max_size=6))
def test_a_token_belongs_to_the_part_of_its_first_character(tokenizer, texts):
    pieces = [Piece(text=text, part=f"demonstration {number}") for number, text in enumerate(texts)]
    owner = [piece.part for piece in pieces for _ in piece.text]
    encoded = encode(pieces, tokenizer)
    starts = tokenizer.encode("".join(texts)).starts
    of_token = [span.part for span in encoded.spans for _ in range(span.start, span.stop)]
    assert of_token == [owner[start] for start in starts]


def test_a_token_across_two_parts_belongs_to_the_first(merging):
    tokenizer = merging([("a", "b")])
    first, second = encode([Piece(text="xa", part="instruction"), query("by")], tokenizer).spans
    assert (first.part, first.stop, second.part, second.stop) == ("instruction", 2, "query", 3)


def test_an_unknown_control_token_is_refused(tokenizer):
    with refused(ModelError, "unknown-control-token", token="<pad>"):
        encode([Piece(text="<pad>", part="frame", control=True)], tokenizer)


@pytest.fixture(scope="module")
def model_tokenizer():
    """The tokenizer of a transformers model."""
    from promptkit.models.files.tokenizer import TransformersTokenizer
    from tests.support.tiny import make_tokenizer

    return TransformersTokenizer(make_tokenizer())


anything = (
    st.text(max_size=20) | st.text(st.characters(), max_size=20) | hostile | st.text("\x00\ud800\udfff\ufeff<bos>", max_size=8)
)


@given(
    texts=st.lists(st.builds(Piece, text=anything, part=st.just("query"), control=st.booleans()), max_size=4),
    targets=st.lists(anything, max_size=3),
)
def test_any_text_is_encoded_or_refused(model_tokenizer, texts, targets):
    for reader in (model_tokenizer, ByteTokenizer()):
        with suppress(PromptkitError):
            pieces = framed(texts, reader)
            assert all(isinstance(token, int) for token in encode(pieces, reader).ids)
            scored, boundary = continuations(pieces, targets, reader)
            assert len(scored) == len(targets)
            assert boundary >= 0


# ---- framed -----------------------------------------------------------------------------------------


@given(st.lists(text_pieces))
def test_a_framed_prompt_starts_with_the_bos_token(tokenizer, pieces):
    ids = encode(framed(pieces, tokenizer), tokenizer).ids
    assert ids == (*tokenizer.bos, *encode(pieces, tokenizer).ids)


def test_a_prompt_is_unchanged_if_the_tokenizer_adds_no_bos():
    tokenizer = ByteTokenizer()
    tokenizer.bos = ()
    assert framed([query("a"), query("")], tokenizer) == (query("a"),)


# ---- continuations ----------------------------------------------------------------------------------


def naive_continuations(pieces, targets, tokenizer):
    """Encodes every target with the complete prompt, and splits all of them at the first difference from the prompt."""
    prompt = encode(pieces, tokenizer).ids
    wholes = [encode([*pieces, query(target)], tokenizer).ids for target in targets]
    cut = len(prompt)
    for full in wholes:
        cut = min(cut, next((i for i, (a, b) in enumerate(zip(full, prompt, strict=False)) if a != b), len(full)))
    return tuple(full[cut:] for full in wholes), len(prompt) - cut


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TARGETS = [" ab", "a", " a", "b", "c ab", "  ", "aaaaaaaaaaaaaaaaaaaaaaaa"]
targets_of = st.lists(st.sampled_from(TARGETS) | st.text("abc ", min_size=1, max_size=8), min_size=1, max_size=4)


@given(st.lists(text_pieces | control_pieces), targets_of)
def test_prompt_and_continuation_equal_the_encoding_of_prompt_and_target(tokenizer, pieces, targets):
    scored, boundary = continuations(pieces, targets, tokenizer)
    prompt = encode(pieces, tokenizer).ids
    for target, ids in zip(targets, scored, strict=True):
        assert prompt[: len(prompt) - boundary] + ids == encode([*pieces, query(target)], tokenizer).ids
        assert ids


@pytest.mark.parametrize("split", [None, GPT2])
@given(merges=merge_lists(), text=st.text("abc ", min_size=0, max_size=150), targets=targets_of)
def test_continuations_of_long_prompts_equal_a_full_encoding(merging, split, merges, text, targets):
    tokenizer = merging(merges, split=split)
    pieces = framed([query(text)], tokenizer)
    assert continuations(pieces, targets, tokenizer) == naive_continuations(pieces, targets, tokenizer)


@given(
    merges=merge_lists("aÃ©Ġ1", 20),
    unit=st.text("aé 1", min_size=1, max_size=5),
    count=st.integers(10, 40),
    end=st.text("aé 1", max_size=6),
    targets=st.lists(st.text("aé 1", min_size=1, max_size=8), min_size=1, max_size=3),
)
def test_continuations_of_long_repetitive_prompts_equal_a_full_encoding(merging, merges, unit, count, end, targets):
    tokenizer = merging(merges)
    pieces = [query(unit * count + end)]
    assert continuations(pieces, targets, tokenizer) == naive_continuations(pieces, targets, tokenizer)


@pytest.mark.parametrize(
    ("merges", "split", "target"),
    [
        pytest.param([("1", "2"), ("12", "3")], r"\p{N}{1,3}(?=(\p{N}{3})*(\P{N}|$))", "4", id="in threes from the right"),
        pytest.param([("1", "2"), ("2", "3")], r"\p{N}{1,3}", " a", id="in threes from the left"),
    ],
)
@pytest.mark.parametrize("zeros", range(22, 28))
def test_continuations_of_long_split_numbers_equal_a_full_encoding(merging, merges, split, target, zeros):
    tokenizer = merging(merges, split=split)
    pieces = [query("0" * zeros + "123" * (20 if target == "4" else 1))]
    assert continuations(pieces, [target], tokenizer) == naive_continuations(pieces, [target], tokenizer)


def test_a_long_prompt_is_not_encoded_again_for_each_target():
    class Counting(ByteTokenizer):
        characters = 0

        def encode(self, text, **context):
            self.characters += len(text)
            return super().encode(text, **context)

    tokenizer = Counting()
    continuations([query("ab " * 3333)], [f" {number}" for number in range(50)], tokenizer)
    assert tokenizer.characters < 2 * 10_000


def test_no_prompt_token_is_scored_if_no_target_merges(tokenizer):
    scored, boundary = continuations(framed([query("ab:")], tokenizer), [" ab", "\nb"], tokenizer)
    assert boundary == 0
    assert scored == (tokenizer.encode(" ab").ids, tokenizer.encode("\nb").ids)


def test_a_target_that_merges_moves_the_boundary_of_all_targets(merging):
    tokenizer = merging([("Ġ", "a"), ("b", "c")])
    pieces = framed([query("q: ")], tokenizer)
    scored, boundary = continuations(pieces, ["a", "c"], tokenizer)
    assert boundary == 1
    assert scored == (tokenizer.encode(" a").ids, tokenizer.encode(" c").ids)
    assert continuations(pieces, ["c"], tokenizer) == ((tokenizer.encode("c").ids,), 0)


def test_a_control_token_at_the_end_prevents_merges(merging):
    tokenizer = merging([("Ġ", "a")])
    pieces = [query("q: "), Piece(text="<turn>", part="frame", control=True)]
    assert continuations(pieces, ["a"], tokenizer) == ((tokenizer.encode("a").ids,), 0)


def test_an_empty_target_is_refused(tokenizer):
    with refused(TemplateError, "empty-target", target=""):
        continuations([query("abc")], ["a", ""], tokenizer)


def test_continuations_of_a_prompt_with_many_final_digits_equal_a_full_encoding(merging):
    """The tokenizer groups digits by three from the left, as many do, and few of the groups are tokens."""
    tokenizer = merging([("0", "9")], split=r"\p{N}{1,3}")
    pieces = [query("0" * 27)]
    assert continuations(pieces, ["9"], tokenizer) == naive_continuations(pieces, ["9"], tokenizer)
