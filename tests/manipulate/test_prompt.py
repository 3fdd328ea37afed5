import copy
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import InputError, PromptkitError, TaskError, TemplateError, Unsupported
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.registry import settings_of
from promptkit.core.taxonomy import Kind
from promptkit.inputs.text.template import Template
from promptkit.manipulate import demos
from promptkit.manipulate.order import fixed as order
from promptkit.manipulate.prompt import Prompt
from promptkit.models.fake import ByteTokenizer
from tests.support.errors import refused

TEMPLATE = Template(
    "{% block instruction %}Choose: {{ labels | join('/') }}.{% endblock %}"
    "{% block input %}Review: {{ text }}\nSentiment:{% endblock %}"
    "{% block target %} {{ label }}{% endblock %}"
    "{% block separator %}\n--\n{% endblock %}",
    name="test",
)
WORDS = {"negative": "bad, awful", "positive": "fine"}
QUERY = Example(id="query", inputs={"text": "so so"})
CONTROL = ("<bos>", "<turn>", "<end>")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from([*CONTROL, "{{ text }}", "\n--\n"])


@pytest.fixture(scope="module")
def pool(make_rows):
    return make_rows(12)


@pytest.fixture(scope="module")
def card(make_card):
    return make_card()


@pytest.fixture(scope="module")
def render(bind_context):
    """Renders one row's prompt with a pool."""

    def make(prompt, pool, card, example=QUERY, words=None, context_of=None):
        apply = prompt.bind(bind_context(pool, WORDS, scored=words, card=card))
        return apply([example], context_of=None if context_of is None else [context_of])[0]

    return make


def shown_text(rendered):
    return "".join(piece.text for piece in rendered.pieces if not piece.control)


def parts(rendered):
    return [span.part for span in rendered.input.spans]


# ---- rendering --------------------------------------------------------------------------------------


def test_a_prompt_is_instruction_demonstrations_and_query_with_separators_between(render, pool, card):
    rendered = render(Prompt(TEMPLATE, demos=demos.First(k=2)), pool, card)
    assert shown_text(rendered) == (
        "Choose: bad, awful/fine.\n--\n"
        "Review: review number 0\nSentiment: bad, awful\n--\n"
        "Review: review number 1\nSentiment: fine\n--\n"
        "Review: so so\nSentiment:"
    )
    blocks = ["instruction", "separator", "demonstration 1", "separator", "demonstration 2", "separator", "query"]
    assert parts(rendered) == ["frame", *blocks]
    assert rendered.targets == (" bad, awful", " fine")
    assert card.tokenizer.decode(rendered.input.ids) == "<bos>" + shown_text(rendered)


@given(k=st.integers(0, 8), seed=st.integers(0, 20), chat=st.booleans())
def test_demonstrations_show_exactly_the_text_that_is_scored(render, pool, card, k, seed, chat):
    prompt = Prompt(TEMPLATE, demos=demos.Random(k=k, seed=seed), chat=chat)
    rendered = render(prompt, pool, card)
    of_id = {row.id: row for row in pool}
    target = dict(zip(WORDS, rendered.targets, strict=True))
    for number, row in enumerate((of_id[name] for name in rendered.demos), start=1):
        shown = [piece.text for piece in rendered.pieces if piece.part == f"demonstration {number}"]
        assert "".join(shown) == TEMPLATE.render("input", row.inputs) + target[row.label]
    assert len(rendered.demos) == k


@given(k=st.integers(0, 3), seed=st.integers(0, 20), chat=st.booleans())
def test_an_answer_is_scored_with_its_end_as_shown_in_demonstrations(bind_context, pool, card, k, seed, chat):
    prompt = Prompt(TEMPLATE, demos=demos.Random(k=k, seed=seed), chat=chat)
    short, full = (prompt.bind(bind_context(pool, WORDS, card=card, scores_end=ends))([QUERY])[0] for ends in (False, True))
    end = (card.tokenizer.control["<end>"],) if chat else card.tokenizer.encode("\n--\n").ids
    assert full.input == short.input
    assert full.continuations == tuple((*ids, *end) for ids in short.continuations)
    ends = {span.part: span.stop for span in full.input.spans if span.part.startswith("demonstration")}
    assert len(ends) == k
    assert all(full.input.ids[stop : stop + len(end)] == end for stop in ends.values())


@given(merges=st.lists(st.sampled_from([("s", "Ċ"), ("Ċ", "-"), ("e", "Ċ"), ("Ġ", "f"), (":", "Ġ")]), unique=True))
def test_the_end_of_an_answer_is_encoded_together_with_it(bind_context, merging, make_card, merges):
    card = make_card(merging(merges))
    (rendered,) = Prompt(TEMPLATE).bind(bind_context((), WORDS, card=card, scores_end=True))([QUERY])
    for word, ids in zip(WORDS.values(), rendered.continuations, strict=True):
        text = f"{shown_text(rendered)} {word}\n--\n"
        assert (*rendered.input.ids, *ids) == card.tokenizer.bos + card.tokenizer.encode(text).ids


@given(text=texts, demonstration=texts, label=st.sampled_from(sorted(WORDS)), chat=st.booleans())
def test_data_is_shown_unchanged_and_not_interpreted(render, card, text, demonstration, label, chat):
    row = LabeledExample(id="row", inputs={"text": demonstration + "."}, label=label)
    harmless = LabeledExample(id="row", inputs={"text": "y"}, label=label)
    prompt = Prompt(TEMPLATE, demos=demos.First(k=1), chat=chat)
    rendered = render(prompt, [row], card, Example(id="q", inputs={"text": text}))
    usual = render(prompt, [harmless], card, Example(id="q", inputs={"text": "x"}))
    assert f"Review: {text}\nSentiment:" in shown_text(rendered)
    assert f"Review: {demonstration}.\nSentiment:" in shown_text(rendered)

    def acting(one):
        return [token for token in one.input.ids if token in card.tokenizer.control.values()]

    assert acting(rendered) == acting(usual)


@given(k=st.integers(0, 6), seed=st.integers(0, 20))
def test_the_order_is_applied_to_the_selected_demonstrations(context, render, pool, card, k, seed):
    setup = context(pool, WORDS)
    chosen = demos.Random(k=k, seed=seed).bind(setup)([QUERY])
    (arranged,) = order.Shuffled(seed=seed).bind(setup)([QUERY], chosen)
    rendered = render(Prompt(TEMPLATE, demos=demos.Random(k=k, seed=seed), order=order.Shuffled(seed=seed)), pool, card)
    assert rendered.demos == tuple(row.id for row in arranged)


@pytest.mark.parametrize("written", ["Say it.", "{{ not rendered }} <bos>"])
def test_a_custom_instruction_replaces_the_instruction_of_the_template_and_is_not_rendered(render, pool, card, written):
    rendered = render(Prompt(TEMPLATE, instruction=written), pool, card)
    assert shown_text(rendered) == written + "\n--\nReview: so so\nSentiment:"


@pytest.mark.parametrize("chat", [False, True])
def test_an_empty_instruction_shows_none_and_no_separator(render, pool, card, chat):
    rendered = render(Prompt(TEMPLATE, instruction="", chat=chat), pool, card)
    assert not {"instruction", "separator"} & set(parts(rendered))
    assert "Choose" not in shown_text(rendered)


def test_a_row_can_be_rendered_with_the_demonstrations_of_another(render, pool, card):
    prompt = Prompt(TEMPLATE, demos=demos.RandomEach(k=4, seed=3))
    row_prompt, other = render(prompt, pool, card), render(prompt, pool, card, Example(id="another", inputs={"text": "x"}))
    free = render(prompt, pool, card, Example(id="content-free", inputs={"text": "N/A"}), context_of=QUERY)
    assert free.demos == row_prompt.demos != other.demos
    assert shown_text(free) == shown_text(row_prompt).replace("so so", "N/A")


# ---- fitting the context ----------------------------------------------------------------------------


@given(k=st.integers(0, 6), fit=st.integers(0, 6), slack=st.sampled_from([-1, 0, 1]), chat=st.booleans())
def test_a_long_prompt_drops_the_fewest_demonstrations_farthest_from_the_query(render, pool, make_card, k, fit, slack, chat):
    def shows(rows, card):
        return render(Prompt(TEMPLATE, demos=demos.First(k=len(rows)), instruction="", chat=chat), rows, card)

    unbounded = [shows(pool[k - nearest : k], make_card()) for nearest in range(k + 1)]
    sizes = [len(rendered.input.ids) + max(map(len, rendered.continuations)) for rendered in unbounded]
    length = sizes[min(fit, k)] + slack
    fitting = [unbounded[nearest] for nearest, size in enumerate(sizes) if size <= length]
    if not fitting:
        with refused(TaskError, "prompt-too-long", row="query", context_tokens=length):
            shows(pool[:k], make_card(context_length=length))
        return
    rendered = shows(pool[:k], make_card(context_length=length))
    assert (rendered.input, rendered.demos) == (fitting[-1].input, fitting[-1].demos)
    assert rendered.dropped + rendered.demos == unbounded[-1].demos


@given(words=st.permutations(["a", "very, very long words", "b"]), length=st.integers(70, 300))
def test_dropped_demonstrations_are_the_same_for_every_word_in_any_order(render, pool, make_card, words, length):
    prompt = Prompt(TEMPLATE, demos=demos.First(k=6), instruction="")
    card = make_card(context_length=length)
    rendered = render(prompt, pool, card, words=tuple(words))
    assert rendered.dropped == render(prompt, pool, card, words=tuple(sorted(words))).dropped
    assert rendered.dropped == render(prompt, pool, card, words=(max(words, key=len),)).dropped


def test_dropped_demonstrations_depend_only_on_the_length_of_label_words(render, pool, make_card):
    card = make_card(context_length=200)
    prompt = Prompt(TEMPLATE, demos=demos.First(k=6), instruction="")
    assert render(prompt, pool, card, words=("one", "two")).dropped == render(prompt, pool, card, words=("six", "ten")).dropped


def test_a_prompt_too_long_without_demonstrations_is_refused_with_its_length(render, make_card):
    row = Example(id="long", inputs={"text": "x" * 1000})
    with refused(TaskError, "prompt-too-long", row="long", context_tokens=500) as raised:
        render(Prompt(TEMPLATE), [], make_card(context_length=500), row)
    assert 1000 <= raised.value.fields["tokens"] < 2000
    assert raised.value.fields["answer_tokens"] > 0


@pytest.mark.parametrize(("word", "context_length"), [("cd", 4), ("cde", 5)])
def test_prompt_and_merged_answer_fit_the_context(render, merging, make_card, word, context_length):
    """`ab` and `cde` are one token each, but `abcde` is `a`, `bc`, `d` and `e`."""
    tokenizer = merging([("b", "c"), ("a", "b"), ("c", "d"), ("cd", "e")])
    template = Template("{% block input %}{{ text }}ab{% endblock %}{% block target %}{{ label }}{% endblock %}")
    card = make_card(tokenizer, context_length=context_length)
    with suppress(PromptkitError):
        rendered = render(Prompt(template), [], card, Example(id="q", inputs={"text": "x"}), (word,))
        assert len(rendered.input.ids) + max(map(len, rendered.continuations)) <= context_length


@given(boundary_text=st.sampled_from(["x", "ab", "x ", " "]), words=st.sets(st.sampled_from(["a", "b", " a"]), min_size=1))
def test_spans_cover_the_ids_if_the_answer_merges_with_the_prompt(render, merging, make_card, boundary_text, words):
    template = Template("{% block input %}{{ text }}{% endblock %}{% block target %}{{ label }}{% endblock %}")
    tokenizer = merging([("Ġ", "a"), ("a", "b"), ("b", "b"), ("b", "a")])
    rendered = render(
        Prompt(template), [], make_card(tokenizer), Example(id="q", inputs={"text": boundary_text}), tuple(sorted(words))
    )
    covered = [token for span in rendered.input.spans for token in range(span.start, span.stop)]
    assert covered == list(range(len(rendered.input.ids)))
    assert all(span.start < span.stop for span in rendered.input.spans)
    for target, ids in zip(rendered.targets, rendered.continuations, strict=True):
        assert rendered.input.ids + ids == tokenizer.bos + tokenizer.encode(boundary_text + target).ids


# ---- chat -------------------------------------------------------------------------------------------


def test_each_demonstration_is_a_user_turn_and_an_assistant_turn(render, pool, card):
    rendered = render(Prompt(TEMPLATE, demos=demos.First(k=1), chat=True), pool, card)
    assert card.tokenizer.decode(rendered.input.ids) == (
        "<bos><turn>system\nChoose: bad, awful/fine.<end>\n"
        "<turn>user\nReview: review number 0\nSentiment:<end>\n"
        "<turn>assistant\nbad, awful<end>\n"
        "<turn>user\nReview: so so\nSentiment:<end>\n"
        "<turn>assistant\n"
    )
    assert rendered.targets == ("bad, awful", "fine")


def test_the_instruction_starts_the_first_user_turn_without_a_system_role(render, pool, make_card):
    tokenizer = ByteTokenizer()
    tokenizer.chat = lambda turns, options: None if turns[0][0] == "system" else ByteTokenizer().chat(turns)
    rendered = render(Prompt(TEMPLATE, demos=demos.First(k=1), chat=True), pool, make_card(tokenizer))
    opening = "Choose: bad, awful/fine.\n--\nReview: review number 0\nSentiment:<end>\n"
    assert tokenizer.decode(rendered.input.ids).startswith("<bos><turn>user\n" + opening)


def test_a_model_without_a_chat_template_is_refused(render, pool, make_card):
    tokenizer = ByteTokenizer()
    tokenizer.chat = lambda turns, options: None
    with refused(Unsupported, "no-chat-template"):
        render(Prompt(TEMPLATE, chat=True), pool, make_card(tokenizer))


@given(space=st.text(" \n\t\r", max_size=3), chat=st.booleans())
def test_turns_are_stripped_and_plain_prompts_are_not(render, pool, card, space, chat):
    template = Template(
        "{% block input %}" + space + "{{ text }}" + space + "{% endblock %}"
        "{% block target %}" + space + "{{ label }}" + space + "{% endblock %}"
    )
    rendered = render(Prompt(template, chat=chat), pool, card)
    kept = "" if chat else space
    assert [piece.text for piece in rendered.pieces if piece.part == "query"] == [kept + "so so" + kept]
    assert rendered.targets == tuple(kept + word + kept for word in WORDS.values())


# ---- values and settings ----------------------------------------------------------------------------


@pytest.mark.parametrize("chat", [False, True])
def test_rendering_is_pure(bind_context, pool, card, chat):
    own_pool, example, words = copy.deepcopy(pool), copy.deepcopy(QUERY), dict(WORDS)
    prompt = Prompt(TEMPLATE, demos=demos.Balanced(k=4), order=order.Shuffled(seed=1), chat=chat)
    apply = prompt.bind(bind_context(own_pool, words, card=card))
    (once,) = apply([example])
    assert apply([Example(id="another", inputs={"text": "between"}), example])[1] == once
    assert (own_pool, example, words) == (pool, QUERY, WORDS)


def test_a_template_is_given_by_name_path_or_object(render, tmp_path, pool, card):
    shipped = Template.load("sentiment/review")
    path = tmp_path / "own.j2"
    path.write_bytes(shipped.source.encode())
    one, *others = (render(Prompt(template), pool, card) for template in ("sentiment/review", path, str(path), shipped))
    assert all(other == one for other in others)


def test_settings_differ_if_the_prompt_differs():
    changed = Template(TEMPLATE.source + "\n", name="test")
    prompts = [
        Prompt(TEMPLATE),
        Prompt(changed),
        Prompt(TEMPLATE, demos=demos.Random(k=4)),
        Prompt(TEMPLATE, demos=demos.Random(k=5)),
        Prompt(TEMPLATE, demos=demos.Random(k=4, seed=1)),
        Prompt(TEMPLATE, demos=demos.Balanced(k=4)),
        Prompt(TEMPLATE, demos=demos.Random(k=4), order=order.Shuffled()),
        Prompt(TEMPLATE, demos=demos.Random(k=4), order=order.Shuffled(seed=1)),
        Prompt(TEMPLATE, instruction=""),
        Prompt(TEMPLATE, instruction="Say it."),
        Prompt(TEMPLATE, chat=True),
        Prompt(TEMPLATE, cot=pk.cot.ZeroShot()),
        Prompt(TEMPLATE, cot=pk.cot.ZeroShot(max_tokens=9)),
        Prompt(TEMPLATE, cot=pk.cot.LeastToMost()),
    ]
    settings = [prompt.settings() for prompt in prompts]
    assert all(settings.count(one) == 1 for one in settings)
    assert Prompt(TEMPLATE, demos=demos.Random(k=4)).settings() == settings[2]
    assert settings[2]["demos"] == settings_of(demos.Random(k=4))


def test_without_demonstrations_selector_seed_and_order_do_not_change_settings():
    none = [demos.Zero(), demos.Random(k=0, seed=3), demos.Balanced(k=0)]
    settings = [Prompt(TEMPLATE, demos=item, order=order.Shuffled(seed=n)).settings() for n, item in enumerate(none)]
    assert settings == [Prompt(TEMPLATE).settings()] * 3


def test_only_a_prompt_with_demonstrations_reads_the_pool():
    assert Prompt(TEMPLATE).parts == Prompt(TEMPLATE, demos=demos.Random(k=0)).parts == ()
    assert Prompt(TEMPLATE, demos=demos.Random(k=1)).parts == ("pool",)


def test_a_custom_selector_reads_the_pool():
    class Longest(demos.Selector):
        name = "longest"

        def bind(self, context):
            return lambda examples: [(max(context.pool, key=lambda row: len(row.inputs["text"])),) for _ in examples]

    assert Prompt(TEMPLATE, demos=Longest()).parts == ("pool",)


@pytest.mark.parametrize("keywords", [{"demos": demos.Random}, {"order": order.Shuffled}])
def test_a_class_instead_of_an_object_is_refused(keywords):
    with refused(InputError, "not-an-instance", of="a prompt", keyword=next(iter(keywords))):
        Prompt(TEMPLATE, **keywords)


def test_a_prompt_that_is_entirely_rescored_is_refused(render, merging, make_card):
    """Without a BOS token, an answer that merges with the whole prompt leaves no token to condition on."""
    tokenizer = merging([("Ġ", "a")])
    tokenizer.bos = ()
    template = Template("{% block input %} {% endblock %}{% block target %}{{ label }}{% endblock %}")
    with refused(TemplateError, "empty-prompt", row="query"):
        render(Prompt(template), [], make_card(tokenizer), words=("a", "b"))


def test_taxonomy_of_a_prompt():
    assert Prompt.kind == Kind(format="fixed", location="input", operator="concatenative")
    assert pk.Prompt is Prompt


def test_a_row_without_a_template_variable_is_refused(render, pool, card):
    with refused(TemplateError, "missing-variables", block="input", variables=("text",)):
        render(Prompt(TEMPLATE), pool, card, Example(id="q", inputs={"sentence": "x"}))


def test_a_demonstration_with_a_label_without_word_is_refused(render, pool, card):
    odd = [*pool[:3], LabeledExample(id="odd", inputs={"text": "meh"}, label="neutral")]
    with refused(TaskError, "label-without-word", labels=("neutral",)):
        render(Prompt(TEMPLATE, demos=demos.First(k=4)), odd, card)
