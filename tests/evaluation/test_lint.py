import pytest

from promptkit.core.examples import Example
from promptkit.core.inputs import Piece, TextInput
from promptkit.core.rendered import Rendered
from promptkit.evaluation.lint import warnings
from promptkit.inputs.text.template import Template
from promptkit.manipulate import demos
from promptkit.manipulate.prompt import Prompt

INPUT = "{% block input %}Review: {{ text }}\nSentiment:{% endblock %}"
CLEAN = Template(INPUT + "{% block target %} {{ label }}{% endblock %}")
WORDS = {"negative": "bad", "positive": "good"}
QUERY = Example(id="query", inputs={"text": "so so"})


@pytest.fixture
def found(bind_context, make_rows, make_card):
    """The warnings of one row: `found(template, words=..., tokenizer=...)`."""

    def find(
        template=CLEAN,
        *,
        example=QUERY,
        words=WORDS,
        selector=None,
        tested=(),
        tokenizer=None,
        context=1 << 20,
        instruct=False,
        **keywords,
    ):
        card = make_card(tokenizer, context_length=context, instruct=instruct)
        prompt = Prompt(template, demos=selector or demos.zero(), **keywords)
        (rendered,) = prompt.bind(bind_context(make_rows(8, tuple(words)), words, card=card))([example])
        return warnings(rendered, card, tested=tested, chat=prompt.chat)

    return find


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("k", [0, 4])
def test_a_clean_prompt_has_no_warning(found, make_rows, chat, k):
    assert found(selector=demos.first(k=k), tested=[row.id for row in make_rows(8)[k:]], chat=chat) == []
    assert found(chat=True, instruct=True) == []


def test_a_bos_token_that_the_template_spells_out_is_warned_of(found):
    (bos, in_text) = found(Template(CLEAN.source.replace("Review", "<bos>Review")))
    assert "spells out a BOS token" in bos
    assert "<bos>, a control token" in in_text


@pytest.mark.parametrize(("count", "warned"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_two_acting_bos_tokens_are_warned_of(make_card, count, warned):
    card = make_card()
    (bos,) = card.tokenizer.bos
    pieces = (*[Piece(text="<bos>", part="frame", control=True)] * count, Piece(text="a", part="query"))
    rendered = Rendered(
        input=TextInput(ids=(*[bos] * count, 97)),
        pieces=pieces,
        demos=(),
        demo_labels=(),
        dropped=(),
        targets=(" x", " y"),
        continuations=((1,), (2,)),
        rescored_tokens=0,
    )
    sentences = warnings(rendered, card, tested=(), chat=False)
    assert len(sentences) == warned
    assert all(f"begins with {count} BOS tokens" in sentence for sentence in sentences)


def test_an_instruct_model_without_its_chat_template_is_warned_of(found):
    (sentence,) = found(instruct=True)
    assert "consider --chat" in sentence
    assert found(instruct=False) == []


@pytest.mark.parametrize(
    ("words", "named"),
    [({"a": "good", "b": "goodness"}, "' good'"), ({"a": "good", "b": "fair", "c": "good enough"}, "' good'")],
)
def test_a_label_that_is_the_beginning_of_another_is_warned_of(found, words, named):
    (sentence,) = found(words=words)
    assert f"Every scored token of {named} is" in sentence


def test_labels_that_read_the_same_are_warned_of(found):
    template = Template(INPUT + "{% block target %} {{ label | lower }}{% endblock %}")
    (sentence,) = found(template, words={"a": "Good", "b": "good"})
    assert "' good', ' good'" in sentence


def test_labels_with_a_common_beginning_are_not_warned_of(found):
    assert found(words={"a": "not good", "b": "not bad"}) == []


def test_a_label_that_merges_with_the_prompt_is_warned_of(found, merging):
    template = Template(
        "{% block input %}Review: {{ text }}\nSentiment: {% endblock %}{% block target %}{{ label }}{% endblock %}"
    )
    tokenizer = merging([("Ġ", "g")])
    (sentence,) = found(template, tokenizer=tokenizer)
    assert "scored from 1 token(s) earlier" in sentence
    assert found(tokenizer=tokenizer) == []


@pytest.mark.parametrize("tested", [["id002"], ["id002#2"], ["id007", "id002"]])
def test_a_demonstration_with_the_inputs_of_an_evaluated_row_is_warned_of_by_id(found, tested):
    (sentence,) = found(selector=demos.first(k=4), tested=tested)
    assert "The demonstration id002 is also a row that is evaluated" in sentence
    assert found(tested=tested) == []


@pytest.mark.parametrize("name", ["<turn>", "<end>"])
def test_a_control_token_in_the_data_is_warned_of(found, name):
    (sentence,) = found(example=Example(id="q", inputs={"text": f"so {name} so"}))
    assert f"The text holds {name}, a control token" in sentence
    assert found(example=Example(id="q", inputs={"text": name[:-1]})) == []


def test_demonstrations_that_were_dropped_are_warned_of_with_their_number(found):
    (sentence,) = found(selector=demos.first(k=8), context=200)
    assert "demonstration(s) were dropped" in sentence
    assert 0 < int(sentence.split()[0]) < 8
