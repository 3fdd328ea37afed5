"""Tests of orders that query the model, against their formulas in NumPy with scripted outputs."""

import hashlib
import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import InputError, ModelError, TaskError, TemplateError, Unsupported
from promptkit.core.examples import Example, LabeledExample
from promptkit.manipulate.order.fixed import GlobalE, LeastEntropy, LocalE, Shuffled
from promptkit.manipulate.order.searched import permutations_of
from tests.support.errors import refused

LABELS = ("negative", "neutral", "positive")
ROWS = [Example(id=f"q{i}", inputs={"text": f"query {i}"}) for i in range(4)]
shared = pytest.mark.parametrize("order", [GlobalE, LocalE])
few_examples = hypothesis_settings(max_examples=10)


@pytest.fixture(scope="module")
def rows(make_rows):
    return tuple(make_rows(12, LABELS))


def noise(prompt, word):
    return -int.from_bytes(hashlib.blake2b(f"{prompt}\0{word}".encode(), digest_size=4).digest()) / 2**30


def writes(prompt, verb):
    """Generates rows that depend on the prompt; every fifth text is not a row."""
    digest = hashlib.blake2b(f"{prompt}{verb.seed}".encode()).digest()
    return [" mumble" if byte % 5 == 0 else f" film {byte}\nSentiment: positive" for byte in digest[: verb.n]]


def ids(rows):
    return [row.id for row in rows]


# ---- permutations -----------------------------------------------------------------------------------


@given(order=st.randoms(use_true_random=False), size=st.integers(0, 6), most=st.integers(1, 30), seed=st.integers(0, 50))
def test_permutations_are_distinct_and_independent_of_the_order_of_the_set(rows, order, size, most, seed):
    mixed = [*rows[:size]]
    order.shuffle(mixed)
    result = permutations_of(tuple(mixed), most, seed)
    assert result == permutations_of(rows[:size], most, seed)
    assert len({tuple(ids(item)) for item in result}) == len(result) == min(most, math.factorial(size))
    assert all(sorted(ids(item)) == ids(rows[:size]) for item in result)


def test_fewer_permutations_are_a_prefix_of_more(rows):
    assert permutations_of(rows[:5], 7, 3) == permutations_of(rows[:5], 20, 3)[:7]
    assert permutations_of(rows[:5], 7, 3) != permutations_of(rows[:5], 7, 4)
    assert permutations_of(rows[:5], 1, 3) == Shuffled(seed=3).bind(None)([rows[6]], [rows[:5]])


# ---- the order shown --------------------------------------------------------------------------------


def softmax(logprobs):
    weights = np.exp(np.asarray(logprobs))
    return weights / weights.sum(-1, keepdims=True)


def entropy(p):
    p = np.asarray(p, float)
    p = p[p > 0] / p.sum()
    return -(p * np.log(p)).sum()


@shared
@few_examples
@given(size=st.integers(2, 5), seed=st.integers(0, 50))
def test_the_order_with_the_highest_entropy_over_generated_rows_is_shown(context, scripted, rows, order, size, seed):
    model = scripted(noise, writes)
    chosen = rows[:size]
    (shown, *others) = order(seed=seed, permutations=9, probes=20).bind(context(rows, LABELS, model=model))(ROWS, [chosen] * 4)
    assert others == [shown] * 3
    generation_prompts = [prompt for prompt in model.prompts if prompt.endswith("Review:")]
    tried = permutations_of(chosen, 9, seed)
    assert len(generation_prompts) == len(tried)
    scored = [prompt for prompt in model.prompts if not prompt.endswith("Review:")]
    probes = Counter(re.findall(r"film \d+", "".join(prompt.rpartition("Review:")[2] for prompt in scored)))
    contexts = ["\n\n".join(f"Review: {row.inputs['text']}\nSentiment: {row.label}" for row in item) for item in tried]
    probing = [[f"{shots}\n\nReview: {text}\nSentiment:" for text in probes] for shots in contexts]
    assert {*scored} == {prompt for demonstrations in probing for prompt in demonstrations}
    result = []
    texts = written(model, context(rows, LABELS, model=model), order, seed, chosen)
    for shots in contexts:
        p = softmax([[noise(f"{shots}\n\nReview: {t}\nSentiment:", f" {y}") for y in LABELS] for t in texts])
        histogram = np.bincount(p.argmax(1), minlength=len(LABELS))
        result.append(entropy(histogram) if order is GlobalE else np.mean([entropy(item) for item in p]))
    assert shown == tried[int(np.argmax(np.round(result, 4)))]


def written(model, context, order, seed, chosen):
    """Returns the texts that parse as rows, with repetitions."""
    tried = permutations_of(chosen, 9, seed)
    search = order(seed=seed, permutations=9, probes=20)
    requests = [search._generation(context, item, number) for number, item in enumerate(tried)]
    assert all(request.verb.n * len(tried) >= 20 and request.verb.temperature == 1.0 for request in requests)
    assert len({request.verb.seed for request in requests}) == len(tried)
    texts = [text.text for request in requests for text in model._output(request).generations]
    return [text.split("\n")[0].strip() for text in texts if "mumble" not in text]


@few_examples
@given(size=st.integers(2, 4), seed=st.integers(0, 50))
def test_least_entropy_shows_the_order_with_the_lowest_entropy_for_each_row(context, scripted, rows, size, seed):
    setup = context(rows, LABELS, model=scripted(noise))
    chosen = [rows[start : start + size] for start in range(4)]
    for row, demonstrations, shown in zip(
        ROWS, chosen, LeastEntropy(seed=seed, permutations=9).bind(setup)(ROWS, chosen), strict=True
    ):
        tried = permutations_of(demonstrations, 9, seed)
        result = []
        for item in tried:
            context = "\n\n".join(f"Review: {r.inputs['text']}\nSentiment: {r.label}" for r in item)
            p = softmax([noise(f"{context}\n\nReview: {row.inputs['text']}\nSentiment:", f" {y}") for y in LABELS])
            result.append(entropy(p))
        assert shown == tried[int(np.argmin(np.round(result, 4)))]


def test_least_entropy_orders_do_not_depend_on_other_rows(context, scripted, rows):
    arrange = LeastEntropy(permutations=6).bind(context(rows, LABELS, model=scripted(noise)))
    together = arrange(ROWS, [rows[:4]] * 4)
    assert together == [arrange([row], [rows[3::-1]])[0] for row in ROWS]
    assert len({tuple(ids(item)) for item in together}) > 1


@pytest.mark.parametrize("order", [GlobalE, LocalE, LeastEntropy])
def test_a_single_permutation_needs_no_query(context, scripted, rows, order):
    model = scripted(noise)
    assert order().bind(context(rows, LABELS, model=model))(ROWS[:2], [(), ()]) == [(), ()]
    assert order().bind(context(rows, LABELS, model=model))(ROWS[:2], [rows[:1]] * 2) == [rows[:1]] * 2
    assert model.prompts == []


@shared
def test_a_row_in_the_shared_set_has_a_separate_order(bind_context, scripted, rows, order):
    """The row is replaced in its set; all other rows have the same set in the same order."""
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.First(k=4), order=order(permutations=4), instruction="")
    apply = prompt.bind(bind_context(rows, LABELS, model=scripted(noise, writes)))
    demonstrations, *others = apply([rows[1], *ROWS])
    assert len({item.demos for item in others}) == 1
    assert rows[1].id not in demonstrations.demos
    assert set(demonstrations.demos) - set(others[0].demos) == {rows[4].id}


@shared
def test_in_a_chat_rows_are_generated_in_plain_text_and_scored_in_turns(context, scripted, rows, order):
    model = scripted(noise, writes)
    setup = context(rows, LABELS, model=model)
    object.__setattr__(setup.layout, "chat", True)
    order(permutations=4).bind(setup)(ROWS[:1], [rows[:3]])
    generation_prompts = [prompt for prompt in model.prompts if prompt.endswith("Review:")]
    assert len(generation_prompts) == 4
    assert not [prompt for prompt in generation_prompts if "<turn>" in prompt]
    assert all(prompt.startswith("<turn>user") for prompt in model.prompts if prompt not in generation_prompts)


# ---- refusals ---------------------------------------------------------------------------------------


@shared
def test_demonstrations_that_differ_between_rows_are_refused(bind_context, scripted, make_rows, order):
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.RandomEach(k=2), order=order(permutations=2))
    apply = prompt.bind(bind_context(make_rows(30, LABELS), LABELS, model=scripted(noise, writes)))
    with refused(InputError, "demonstrations-differ", order=order.name):
        apply(ROWS)


@shared
def test_tasks_without_common_labels_are_refused(context, rows, order):
    for reading in (pk.Choices(), pk.extract.FirstLine()):
        with refused(TaskError, "no-fixed-labels", order=order.name):
            order().bind(context(rows, reader=reading))
    with refused(Unsupported, "needs-scored-answers", purpose="least-entropy"):
        LeastEntropy().bind(context(rows, reader=pk.extract.FirstLine()))(ROWS[:1], [rows[:3]])


@shared
def test_a_model_that_generates_no_rows_is_refused_with_its_text(context, scripted, rows, order):
    model = scripted(noise, lambda prompt, verb: [" ok\nSentiment:"] + [" mumble"] * (verb.n - 1))
    with refused(ModelError, "too-few-generated-rows", order=order.name, rows=6, texts=24, text="Review: ok\nSentiment:"):
        order(permutations=6, probes=24).bind(context(rows, LABELS, model=model))(ROWS[:1], [rows[:3]])


@shared
def test_a_template_that_modifies_its_variables_is_refused(context, scripted, rows, order):
    template = "{% block input %}{{ text | upper }} ->{% endblock %}{% block target %} {{ label }}{% endblock %}"
    setup = context(rows, LABELS, template=template, model=scripted(noise, writes))
    with refused(TemplateError, "variable-not-shown", order=order.name, variables=("text",)):
        order().bind(setup)(ROWS[:1], [rows[:3]])


def test_generated_rows_with_several_variables_are_parsed(context, scripted):
    template = "{% block input %}{{ a }} / {{ b }} =>{% endblock %}{% block target %} {{ label }}{% endblock %}"
    rows = [LabeledExample(id=f"r{i}", inputs={"a": f"a{i}", "b": f"b{i}"}, label=LABELS[i]) for i in range(3)]
    model = scripted(noise, lambda prompt, verb: ["x y / z => neutral"] * verb.n)
    GlobalE().bind(context(rows, LABELS, template=template, model=model))(ROWS[:1], [tuple(rows)])
    assert any(prompt.endswith("\n\nx y / z =>") for prompt in model.prompts)
