"""Tests of chains of thought with a scripted model: its queries, its rounds, and the text before the answer."""

import re
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import InputError, ModelError, TaskError, TemplateError
from promptkit.core.examples import Example, LabeledExample
from promptkit.manipulate.cot import COT, LeastToMost, ZeroShot
from promptkit.manipulate.cot.zero_shot import join_reasoning
from promptkit.manipulate.demos import AutoCot
from promptkit.manipulate.demos.auto_cot import LINES, WORDS, clusters
from promptkit.manipulate.demos.complex import Complex, count_steps
from promptkit.manipulate.prompting.similarity import EmbeddingSpace
from tests.support.errors import refused

LABELS = ("negative", "positive")
QUESTION = "{% block input %}Q: {{ text }}\nA:{% endblock %}{% block target %} {{ label }}.{% endblock %}"
WORKED = "{% block input %}Q: {{ text }}\nA:{% endblock %}{% block target %} {{ reasoning }} So: {{ label }}.{% endblock %}"
few_examples = hypothesis_settings(max_examples=5)
ROWS = [Example(id=f"q{i}", inputs={"text": f"query {i}"}) for i in range(4)]


@pytest.fixture(scope="module")
def pool(make_rows):
    return [replace(row, rationale={"reasoning": f"since {row.id}."}) for row in make_rows(12)]


def text_of(rendered):
    return "".join(piece.text for piece in rendered.pieces if not piece.control)


def reasoning_of(rendered):
    return "".join(piece.text for piece in rendered.pieces if piece.part == "reasoning")


def uniform(prompt, word):
    return 0.0


# ---- zero-shot --------------------------------------------------------------------------------------


def test_zero_shot_generates_a_reasoning_before_the_answer(bind_context, scripted, pool):
    model = scripted(uniform, lambda prompt, verb: [" First this.\nThen that. \n\nQ: more"])
    prompt = pk.Prompt(QUESTION, cot=ZeroShot(max_tokens=9))
    rendered = prompt.bind(bind_context(pool, LABELS, model=model))(ROWS[:2])
    assert model.prompts == [f"Q: {row.inputs['text']}\nA: Let's think step by step." for row in ROWS[:2]]
    assert model.rounds == [2]
    expected = " Let's think step by step. First this.\nThen that. Therefore, the answer is"
    for row, each in zip(ROWS, rendered, strict=False):
        assert text_of(each) == f"Q: {row.inputs['text']}\nA:{expected}"
        assert reasoning_of(each) == expected
        assert each.targets == (" negative", " positive")
        assert [span.part for span in each.input.spans][-1] == "reasoning"


def test_a_reasoning_stops_at_the_next_example_and_not_at_an_empty_line(bind_context, scripted, pool):
    verbs = []

    def writes(prompt, verb):
        verbs.append(verb)
        return ["\n\n1. So.\n\nQ: further"]

    setup = bind_context(pool, LABELS, model=scripted(uniform, writes))
    (rendered,) = pk.Prompt(QUESTION, cot=ZeroShot(max_tokens=7)).bind(setup)(ROWS[:1])
    assert verbs[0].stop == ("Therefore, the answer is", "\n\nQ:")
    assert verbs[0].max_tokens == 7
    assert reasoning_of(rendered) == " Let's think step by step.\n\n1. So. Therefore, the answer is"


@pytest.mark.parametrize("cot", [ZeroShot(), LeastToMost()])
def test_an_answer_trigger_generated_by_the_model_is_not_repeated(bind_context, scripted, pool, cot):
    model = scripted(uniform, lambda prompt, verb: [" Why? So it is. Therefore, the answer is 7.\nAnd more?"])
    (rendered,) = pk.Prompt(QUESTION, cot=cot).bind(bind_context(pool, LABELS, model=model))(ROWS[:1])
    assert text_of(rendered).count("Therefore, the answer is") == 1
    assert text_of(rendered).endswith("So it is. Therefore, the answer is")


def test_demonstrations_format_their_reasoning_like_the_query(bind_context, scripted, pool):
    model = scripted(uniform, lambda prompt, verb: [" Hm."])
    for template in (QUESTION, WORKED):
        prompt = pk.Prompt(template, demos=pk.demos.First(k=1), cot=ZeroShot(trigger="Think.", answer_trigger="Hence"))
        (rendered,) = prompt.bind(bind_context(pool, LABELS, model=model))(ROWS[:1])
        assert text_of(rendered) == (
            "Q: review number 0\nA: Think. since id000. Hence negative\n\nQ: query 0\nA: Think. Hm. Hence"
        )
    bare = [replace(row, rationale={}) for row in pool]
    prompt = pk.Prompt(QUESTION, demos=pk.demos.First(k=1), cot=ZeroShot())
    (rendered,) = prompt.bind(bind_context(bare, LABELS, model=model))(ROWS[:1])
    assert text_of(rendered).startswith("Q: review number 0\nA: negative.\n\n")


def test_in_a_chat_the_assistant_turn_starts_with_the_reasoning(bind_context, scripted, pool):
    model = scripted(uniform, lambda prompt, verb: [" Hm."])
    prompt = pk.Prompt(QUESTION, demos=pk.demos.First(k=1), cot=ZeroShot(trigger="Think.", answer_trigger="Hence"), chat=True)
    (rendered,) = prompt.bind(bind_context(pool, LABELS, model=model))(ROWS[:1])
    assert model.card.tokenizer.decode(rendered.input.ids) == (
        "<bos><turn>user\nQ: review number 0\nA:<end>\n<turn>assistant\nThink. since id000. Hence negative<end>\n"
        "<turn>user\nQ: query 0\nA:<end>\n<turn>assistant\nThink. Hm. Hence"
    )
    assert model.prompts[0].endswith("<turn>assistant\nThink.")
    assert rendered.targets == (" negative", " positive")


def test_a_generated_answer_stops_at_the_end_of_the_line(bind_context, scripted, pool):
    model = scripted(uniform, lambda prompt, verb: [" Hm."])
    for chat in (False, True):
        prompt = pk.Prompt(QUESTION, cot=ZeroShot(), chat=chat)
        setup = bind_context(pool, model=model, reader=pk.extract.FirstLine())
        assert prompt.bind(setup)(ROWS[:1])[0].stop == ("\n",)


def test_a_content_free_row_has_a_separate_reasoning_and_the_demonstrations_of_its_context(bind_context, scripted, pool):
    model = scripted(uniform, lambda prompt, verb: [f" About {prompt.rpartition('Q: ')[2].split()[0]}."])
    apply = pk.Prompt(QUESTION, demos=pk.demos.RandomEach(k=2), cot=ZeroShot()).bind(bind_context(pool, LABELS, model=model))
    (cluster,) = apply(ROWS[:1])
    (free,) = apply([Example(id="free", inputs={"text": "N/A"})], context_of=ROWS[:1])
    assert free.demos == cluster.demos
    assert "About N/A." in reasoning_of(free)


@example(length=236, k=4, written=27, name="zero-shot")  # the space before the reasoning takes the last token
@given(length=st.integers(150, 700), k=st.integers(0, 6), written=st.integers(0, 40), name=st.sampled_from(sorted(COT)))
def test_context_is_reserved_for_the_reasoning_and_both_calls_show_the_same_demonstrations(
    bind_context, scripted, make_card, pool, length, k, written, name
):
    """Every token is a byte, so generated text has the same length when it is encoded again."""

    def writes(prompt, verb):
        assert len(prompt) + 1 + verb.max_tokens <= length
        return ["x? "[: verb.max_tokens] + "y" * min(written, verb.max_tokens - 3)]

    cot = COT[name](max_tokens=30, **({"questions": 1} if name == "least-to-most" else {}))
    model = scripted(uniform, writes)
    model.card = make_card(context_length=length)
    prompt = pk.Prompt(QUESTION, demos=pk.demos.First(k=k), cot=cot)
    apply = prompt.bind(bind_context([replace(row, rationale={}) for row in pool], LABELS, model=model))
    with suppress(TaskError):
        (rendered,) = apply(ROWS[:1])
    if not model.prompts:  # the row is too long without demonstrations
        return
    assert len(rendered.input.ids) + max(map(len, rendered.continuations)) <= length
    assert len(rendered.demos) + len(rendered.dropped) == k
    for prompt_text in model.prompts:
        assert prompt_text.count("review number") == len(rendered.demos)


@given(
    trigger=st.sampled_from(["", "Think."]), reasoning=st.text("ab \n.", max_size=9), answer=st.sampled_from(["Hence", "So:"])
)
def test_a_reasoning_is_joined_unchanged_with_single_spaces(trigger, reasoning, answer):
    full_text = join_reasoning(trigger, reasoning, answer)
    assert full_text.startswith(f" {trigger}")
    assert full_text.endswith(f" {answer}")
    assert reasoning.rstrip() in full_text
    middle = full_text[len(trigger) + 1 : len(full_text) - len(answer) - 1]
    assert middle in {reasoning.rstrip(), f" {reasoning.rstrip()}"}
    assert not reasoning.strip() or middle[0].isspace()


@pytest.mark.parametrize(("keywords", "code"), [({"max_tokens": 0}, "out-of-range"), ({"answer_trigger": " "}, "empty-text")])
@pytest.mark.parametrize("cot", COT.values(), ids=COT)
def test_invalid_settings_of_a_chain_of_thought_are_refused(cot, keywords, code):
    with refused(InputError, code, cot=cot.name, **keywords):
        cot(**keywords)
    with refused(InputError, "not-an-instance", of="a prompt", keyword="cot"):
        pk.Prompt(QUESTION, cot=cot)


# ---- least to most ----------------------------------------------------------------------------------


PLANS = {
    "query 0": " How many sheep? Hm.\n2) How many goats?\n\nThat is all",
    "query 1": " Why not?\nand then\n2. no question\n- Why not?\n* Who?\n5. When?\n6. Where?",
    "query 2": " I have no idea",
}


def test_subquestions_are_answered_one_by_one_after_the_previous_ones(bind_context, scripted, pool):
    def writes(prompt, verb):
        if prompt.endswith(":\n1."):
            return [PLANS[prompt.split("\n")[0].removeprefix("Q: ")]]
        return [f" It is {len(prompt)}.\n7. And so on?"]

    model = scripted(uniform, writes)
    apply = pk.Prompt(QUESTION, cot=LeastToMost(trigger="Parts:", questions=3)).bind(bind_context(pool, LABELS, model=model))
    first, second, third = map(text_of, apply(ROWS[:3]))
    assert model.rounds == [3, 2, 2, 1]
    first_prompt = "Q: query 0\nA: Parts:\n1. How many sheep?"
    full_text = f"{first_prompt} It is {len(first_prompt)}.\n2. How many goats?"
    assert {first_prompt, full_text} <= set(model.prompts)
    assert first == f"{full_text} It is {len(full_text)}. Therefore, the answer is"
    assert re.findall(r"\d\. (\w+.*?\?)", second) == ["Why not?", "Who?", "When?"]
    assert third == "Q: query 2\nA: Therefore, the answer is"


def test_subquestions_of_a_row_do_not_depend_on_other_rows(bind_context, scripted, pool):
    def writes(prompt, verb):
        return [PLANS[prompt.split("\n")[0].removeprefix("Q: ")]] if prompt.endswith(":\n1.") else [f" {len(prompt)}."]

    apply = pk.Prompt(QUESTION, cot=LeastToMost()).bind(bind_context(pool, LABELS, model=scripted(uniform, writes)))
    assert apply(ROWS[:3]) == [apply([row])[0] for row in ROWS[:3]]


# ---- auto-cot ---------------------------------------------------------------------------------------


def rows_about(*topics, each=5):
    """Returns rows about several topics, each with distinct words."""
    return [
        LabeledExample(id=f"{topic}{i}", inputs={"text": " ".join([topic] * 4 + [f"{topic}-{i % 3}"] + ["and"] * i)}, label="?")
        for topic in topics
        for i in range(each)
    ]


def generate_reasoning(prompt, verb):
    return [" A sheep.\nTwo goats.\n\n"] if prompt.endswith("step by step.") else [f" {len(prompt) % 7}\n"]


def bind_auto_cot(context, rows, model, template=WORKED, **keywords):
    setup = context(rows, model=model, template=template, reader=pk.extract.FirstLine(max_tokens=4))
    return AutoCot(**keywords).bind(setup)


def test_auto_cot_shows_a_row_of_each_cluster_with_generated_reasoning_and_answer(context, scripted):
    rows = rows_about("cat", "dog", "emu")
    model = scripted(uniform, generate_reasoning)
    (chosen,) = bind_auto_cot(context, rows, model, k=3)(ROWS[:1])
    assert {row.inputs["text"].split()[0] for row in chosen} == {"cat", "dog", "emu"}
    for row in chosen:
        assert row.rationale == {"reasoning": "A sheep. Two goats."}
        prompt_text = f"Q: {row.inputs['text']}\nA: Let's think step by step. A sheep.\nTwo goats. Therefore, the answer is"
        assert row.label == str(len(prompt_text) % 7)
    assert model.rounds == [3, 3]


@few_examples
@given(order=st.randoms(use_true_random=False), seed=st.integers(0, 5))
def test_auto_cot_depends_neither_on_the_order_of_the_pool_nor_on_its_labels(context, scripted, order, seed):
    rows = rows_about("cat", "dog", "emu")
    mixed = [replace(row, label="other", id=row.id) for row in rows]
    order.shuffle(mixed)
    one, other = (
        bind_auto_cot(context, each, scripted(uniform, generate_reasoning), k=3, seed=seed)(ROWS[:1]) for each in (rows, mixed)
    )
    assert one == other


def test_clusters_are_sorted_by_distance_to_their_centroid():
    from sklearn.feature_extraction.text import TfidfVectorizer

    rows = rows_about("cat", "dog", "emu", each=6)
    texts = [row.inputs["text"] for row in rows]
    vectors = TfidfVectorizer(token_pattern=r"\S+").fit_transform(texts).toarray().astype(np.float32)
    place = {row.id: vector for row, vector in zip(rows, vectors, strict=True)}
    result = clusters(rows, vectors, 3, seed=0)
    assert sorted(row.id for cluster in result for row in cluster) == sorted(row.id for row in rows)
    for cluster in result:
        centroid = np.mean([place[row.id] for row in cluster], axis=0)
        distances = [float(np.linalg.norm(place[row.id] - centroid)) for row in cluster]
        assert np.allclose(distances, sorted(distances), atol=1e-6)
        for row in cluster:
            others = [np.mean([place[r.id] for r in other], axis=0) for other in result if other is not cluster]
            assert all(np.linalg.norm(place[row.id] - centroid) < np.linalg.norm(place[row.id] - mean) for mean in others)


UNUSABLE = {
    "nothing": "",
    "a sentence without an end": " It is",
    "too many lines": " a.\n" * (LINES + 1),
    "no answer": " No answer.",
}


@pytest.mark.parametrize("unusable", UNUSABLE)
def test_an_unusable_reasoning_is_replaced_by_the_next_row_of_the_cluster(context, scripted, unusable):
    rows = sorted(rows_about("cat", "dog", "emu"), key=lambda row: row.id)
    vectors = EmbeddingSpace(context(rows, model=scripted()), "model", rows).pool
    nearest = [cluster[0] for cluster in clusters(rows, vectors, 3, seed=0)]

    def writes(prompt, verb):
        bad = any(f"Q: {row.inputs['text']}\n" in prompt for row in nearest[:2])
        if prompt.endswith("step by step."):
            return [UNUSABLE[unusable] if bad else " Fine."]
        return ["" if bad and unusable == "no answer" else " 7\n"]

    model = scripted(uniform, writes)
    (chosen,) = bind_auto_cot(context, rows, model, k=3)(ROWS[:1])
    assert len(chosen) == 3
    assert [row.id for row in nearest if row.id in {each.id for each in chosen}] == [nearest[2].id]
    assert model.rounds == [3, 3, 2, 2]


def test_long_questions_are_skipped_and_clusters_without_others_are_left_out(context, scripted, caplog):
    long = LabeledExample(id="long", inputs={"text": "fox " * (WORDS + 1)}, label="?")
    model = scripted(uniform, generate_reasoning)
    (chosen,) = bind_auto_cot(context, [*rows_about("cat", "dog"), long], model, k=3)(ROWS[:1])
    assert len(chosen) == 2
    assert not any("fox" in prompt for prompt in model.prompts)
    (message,) = caplog.messages
    assert "auto-cot" in message
    assert "2 of 3" in message


def test_a_model_that_generates_no_reasoning_is_refused(context, scripted):
    with refused(ModelError, "no-generated-reasoning", selector="auto-cot"):
        bind_auto_cot(context, rows_about("cat", "dog"), scripted(uniform, lambda prompt, verb: [""]), k=2)


def test_a_template_without_reasoning_is_refused_unless_a_chain_of_thought_shows_it(context, bind_context, scripted):
    model = scripted(lambda prompt, word: -float(len(word)), generate_reasoning)
    with refused(TemplateError, "reasoning-not-shown", selector="auto-cot"):
        bind_auto_cot(context, rows_about("cat"), model, template=QUESTION, k=1)
    prompt = pk.Prompt(QUESTION, demos=AutoCot(k=2), cot=ZeroShot())
    rows = [replace(row, label="negative") for row in rows_about("cat", "dog")]
    (rendered,) = prompt.bind(bind_context(rows, ("negative", "yes"), model=model))(ROWS[:1])
    assert text_of(rendered).count("A sheep. Two goats. Therefore, the answer is yes\n\n") == 2


def test_a_row_is_not_its_own_demonstration(context, scripted):
    rows = rows_about("cat", "dog", "emu")
    choose = bind_auto_cot(context, rows, scripted(uniform, generate_reasoning), k=3)
    (usual,) = choose(ROWS[:1])
    (cluster,) = choose([Example(id="again", inputs=usual[1].inputs)])
    assert cluster == (usual[0], usual[2])


def test_rows_with_equal_vectors_can_be_clustered():
    rows = [LabeledExample(id=f"r{i}", inputs={"text": "a b" if i else "b a"}, label="?") for i in range(2)]
    assert sorted(map(len, clusters(rows, np.ones((2, 3), np.float32), 2, seed=0))) == [0, 2]


# ---- complexity -------------------------------------------------------------------------------------


@given(
    counts=st.lists(st.integers(1, 5), min_size=4, max_size=8), k=st.integers(0, 4), mark=st.sampled_from([". ", ".\n", "; "])
)
def test_the_rows_with_the_most_steps_are_shown(context, counts, k, mark):
    rows = [
        LabeledExample(id=f"r{i}", inputs={"text": f"t{i}"}, label="x", rationale={"reasoning": mark.join(["3.5 = 7"] * count)})
        for i, count in enumerate(counts)
    ]
    assert [*map(count_steps, rows)] == counts
    (chosen,) = Complex(k=k).bind(context(rows, ("x",)))(ROWS[:1])
    expected = sorted(range(len(counts)), key=lambda i: (-counts[i], i))[:k]
    assert [row.id for row in chosen] == [f"r{i}" for i in expected]


def test_a_pool_without_rationales_is_refused(context, make_rows):
    with refused(TaskError, "no-reasoning", selector="complex", rows=4):
        Complex(k=1).bind(context(make_rows(4), LABELS))
    assert Complex(k=0).bind(context([], LABELS))(ROWS[:1]) == [()]
