import pytest

from promptkit.core.examples import Example
from promptkit.core.inputs import Piece, TextInput
from promptkit.core.rendered import Rendered
from promptkit.evaluation.lint import prompt_warnings
from promptkit.inputs.text.template import Template
from promptkit.manipulate import demos
from promptkit.manipulate.prompt import Prompt

INPUT = "{% block input %}Review: {{ text }}\nSentiment:{% endblock %}"
CLEAN = Template(INPUT + "{% block target %} {{ label }}{% endblock %}")
WORDS = {"negative": "bad", "positive": "good"}
QUERY = Example(id="query", inputs={"text": "so so"})


@pytest.fixture
def warnings_of(bind_context, make_rows, make_card):
    """The warnings of one row: `warnings_of(template, words=..., tokenizer=...)`."""

    def find(
        template=CLEAN,
        *,
        example=QUERY,
        words=WORDS,
        selector=None,
        evaluated=(),
        tokenizer=None,
        context=1 << 20,
        instruct=False,
        **keywords,
    ):
        card = make_card(tokenizer, context_length=context, instruct=instruct)
        prompt = Prompt(template, demos=selector or demos.Zero(), **keywords)
        (rendered,) = prompt.bind(bind_context(make_rows(8, tuple(words)), words, card=card))([example])
        return prompt_warnings(rendered, card, evaluated=evaluated, chat=prompt.chat)

    return find


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("k", [0, 4])
def test_a_clean_prompt_has_no_warning(warnings_of, make_rows, chat, k):
    assert warnings_of(selector=demos.First(k=k), evaluated=[row.id for row in make_rows(8)[k:]], chat=chat) == []
    assert warnings_of(chat=True, instruct=True) == []


def test_a_bos_token_in_the_template_text_causes_a_warning(warnings_of):
    (bos, in_text) = warnings_of(Template(CLEAN.source.replace("Review", "<bos>Review")))
    assert (bos.code, in_text.code) == ("bos-in-text", "control-token-in-text")
    assert "<bos>" in in_text.message


@pytest.mark.parametrize(("count", "warned"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_several_bos_tokens_cause_a_warning(make_card, count, warned):
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
    warnings = prompt_warnings(rendered, card, evaluated=(), chat=False)
    assert [warning.code for warning in warnings] == ["doubled-bos"] * warned
    assert all(str(count) in warning.message for warning in warnings)


def test_an_instruct_model_without_its_chat_template_causes_a_warning(warnings_of):
    (warning,) = warnings_of(instruct=True)
    assert warning.code == "instruct-without-chat"
    assert warnings_of(instruct=False) == []


@pytest.mark.parametrize(
    ("words", "named"),
    [({"a": "good", "b": "goodness"}, "' good'"), ({"a": "good", "b": "fair", "c": "good enough"}, "' good'")],
)
def test_a_label_that_is_a_prefix_of_another_causes_a_warning(warnings_of, words, named):
    (warning,) = warnings_of(words=words)
    assert warning.code == "indistinct-labels"
    assert named in warning.message


def test_labels_with_the_same_tokens_cause_a_warning(warnings_of):
    template = Template(INPUT + "{% block target %} {{ label | lower }}{% endblock %}")
    (warning,) = warnings_of(template, words={"a": "Good", "b": "good"})
    assert warning.code == "indistinct-labels"
    assert "' good', ' good'" in warning.message


def test_labels_with_a_common_prefix_cause_no_warning(warnings_of):
    assert warnings_of(words={"a": "not good", "b": "not bad"}) == []


def test_a_label_that_merges_with_the_prompt_causes_a_warning(warnings_of, merging):
    template = Template(
        "{% block input %}Review: {{ text }}\nSentiment: {% endblock %}{% block target %}{{ label }}{% endblock %}"
    )
    tokenizer = merging([("Ġ", "g")])
    (warning,) = warnings_of(template, tokenizer=tokenizer)
    assert warning.code == "merging-boundary"
    assert "1 token(s)" in warning.message
    assert warnings_of(tokenizer=tokenizer) == []


@pytest.mark.parametrize("evaluated", [["id002"], ["id002#2"], ["id007", "id002"]])
def test_a_warning_names_demonstrations_with_the_inputs_of_an_evaluated_row(warnings_of, evaluated):
    (warning,) = warnings_of(selector=demos.First(k=4), evaluated=evaluated)
    assert warning.code == "evaluated-demonstration"
    assert "id002" in warning.message
    assert warnings_of(evaluated=evaluated) == []


@pytest.mark.parametrize("name", ["<turn>", "<end>"])
def test_the_name_of_a_control_token_in_the_data_causes_a_warning(warnings_of, name):
    (warning,) = warnings_of(example=Example(id="q", inputs={"text": f"so {name} so"}))
    assert warning.code == "control-token-in-text"
    assert name in warning.message
    assert warnings_of(example=Example(id="q", inputs={"text": name[:-1]})) == []


def test_a_warning_counts_dropped_demonstrations(warnings_of):
    (warning,) = warnings_of(selector=demos.First(k=8), context=200)
    assert warning.code == "dropped-demonstrations"
    assert 0 < int(warning.message.split()[0]) < 8
