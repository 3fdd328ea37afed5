"""Prompts that do not fit the model's context: which demonstrations are kept, which rows are skipped, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import Example
from promptkit.inputs.text.template import Template
from promptkit.manipulate import cot, demos
from promptkit.manipulate.order import fixed as order
from promptkit.manipulate.order import searched
from promptkit.manipulate.prompt import Prompt
from tests.support.errors import refused

TEMPLATE = Template(
    "{% block instruction %}Choose.{% endblock %}{% block input %}Review: {{ text }}\nSentiment:{% endblock %}"
    "{% block target %} {{ label }}{% endblock %}",
    name="test",
)
WORDS = {"negative": "bad, awful", "positive": "fine"}
QUERY = Example(id="query", inputs={"text": "so so"})
BINDABLE = st.tuples(st.integers(0, 5), st.integers(0, 20), st.booleans())
"""Number of demonstrations, seed, and whether the prompt is a chat."""


@pytest.fixture(scope="module")
def render(bind_context: Any, make_rows: Any, make_card: Any) -> Any:
    """Renders the query for a context of some length; returns the prompt, or None if it is refused."""

    def make(on_too_long: Any, length: int, k: int, seed: int, chat: bool) -> Any:
        card = make_card(context_length=length)
        selector = demos.Random(k=k, seed=seed)
        prompt = Prompt(TEMPLATE, demos=selector, order=order.Shuffled(seed=seed), chat=chat, on_too_long=on_too_long)
        try:
            return prompt.bind(bind_context(make_rows(9), WORDS, card=card))([QUERY])[0]
        except TaskError as error:
            refusal = error
        assert (refusal.code, refusal.fields["row"], refusal.fields["context_tokens"]) == ("prompt-too-long", "query", length)
        assert refusal.fields["tokens"] + refusal.fields["answer_tokens"] > length
        return None

    return make


def size(rendered: Any) -> int:
    return len(rendered.input.ids) + max(map(len, rendered.continuations))


@given(prompt=BINDABLE, lengths=st.lists(st.integers(20, 260), min_size=2, max_size=2).map(sorted))
def test_truncation_keeps_a_suffix_that_fits_and_a_longer_context_never_keeps_fewer(render, prompt, lengths):
    complete = render("truncate-demos", 1 << 20, *prompt)
    short, long = (render("truncate-demos", length, *prompt) for length in lengths)
    for rendered, length in ((short, lengths[0]), (long, lengths[1])):
        if rendered is not None:
            assert size(rendered) <= length
            assert rendered.dropped + rendered.demos == complete.demos
            assert not rendered.skipped
    if short is not None:
        assert len(short.demos) <= len(long.demos)


@given(prompt=BINDABLE, length=st.integers(20, 260))
def test_the_choices_differ_only_for_a_prompt_that_does_not_fit(render, prompt, length):
    complete = render("truncate-demos", 1 << 20, *prompt)
    truncated, refused_or_complete, skipped = (
        render(choice, length, *prompt) for choice in ("truncate-demos", "error", "skip")
    )
    assert skipped.input == complete.input
    assert skipped.demos == complete.demos
    assert not skipped.dropped
    if size(complete) <= length:
        assert truncated == refused_or_complete == skipped == complete
    else:
        assert skipped.skipped
        assert refused_or_complete is None
        assert truncated is None or truncated.dropped


def test_a_boundary_of_one_token_decides(render):
    complete = render("skip", 1 << 20, 3, 0, False)
    assert not render("skip", size(complete), 3, 0, False).skipped
    assert render("skip", size(complete) - 1, 3, 0, False).skipped


def test_a_row_in_the_context_of_another_is_skipped_with_it_and_refused_if_it_is_too_long_itself(
    bind_context, make_rows, make_card
):
    def content_free(text: str, on_too_long: Any, length: int) -> Any:
        prompt = Prompt(TEMPLATE, demos=demos.First(k=2), on_too_long=on_too_long)
        apply = prompt.bind(bind_context(make_rows(9), WORDS, card=make_card(context_length=length)))
        return apply([Example(id="free", inputs={"text": text})], context_of=[QUERY])[0]

    fits = size(content_free("so so", "error", 1 << 20))
    assert not content_free("N/A", "skip", fits).skipped
    assert content_free("N/A", "skip", fits - 1).skipped
    for choice in ("truncate-demos", "error", "skip"):
        with refused(TaskError, "prompt-too-long", row="free", context_tokens=fits, demonstrations=2):
            content_free("longer", choice, fits)


def test_a_row_that_leaves_no_context_for_its_reasoning_is_skipped_before_the_model_is_asked(
    bind_context, make_rows, make_card, scripted
):
    long = Example(id="long", inputs={"text": "x" * 100})

    def bound(on_too_long: Any, length: int, model: Any) -> Any:
        prompt = Prompt(TEMPLATE, demos=demos.First(k=1), cot=cot.ZeroShot(max_tokens=50), on_too_long=on_too_long)
        return prompt.bind(bind_context(make_rows(9), WORDS, model=model, card=make_card(context_length=length)))

    model = scripted(writes=lambda prompt, verb: [" because."])
    short_prompt, long_prompt = bound("skip", 250, model)([QUERY, long])
    assert not short_prompt.skipped
    assert "because" in "".join(piece.text for piece in short_prompt.pieces)
    assert long_prompt.skipped
    assert len(long_prompt.demos) == 1
    assert not any("xxx" in text for text in model.prompts)
    with refused(TaskError, "prompt-too-long", row="long", demonstrations=1):
        bound("error", 250, scripted(writes=lambda prompt, verb: [" because."]))([QUERY, long])


def test_selection_drops_demonstrations_whatever_happens_to_the_rows(bind_context, make_rows, make_card, scripted):
    """The order scores the row's prompt with two demonstrations, of which only one fits."""
    model, dropping = (scripted(lambda prompt, word: -len(word)) for _ in range(2))
    for choice, asked in (("skip", model), ("truncate-demos", dropping)):
        prompt = Prompt(TEMPLATE, demos=demos.First(k=2), order=searched.LeastEntropy(), on_too_long=choice)
        context = bind_context(make_rows(9), WORDS, model=asked, card=make_card(context_length=130))
        (rendered,) = prompt.bind(context)([QUERY])
        assert rendered.skipped == (choice == "skip")
    assert model.prompts == dropping.prompts
    assert model.prompts


def test_the_choice_is_checked_and_is_part_of_the_settings_where_it_matters():
    with refused(InputError, "unknown-name"):
        Prompt(TEMPLATE, on_too_long="drop")  # type: ignore[arg-type]
    few_shot = {
        c: Prompt(TEMPLATE, demos=demos.First(k=2), on_too_long=c).settings() for c in ("truncate-demos", "error", "skip")
    }
    zero_shot = {c: Prompt(TEMPLATE, on_too_long=c).settings() for c in ("truncate-demos", "error", "skip")}
    assert [settings["on_too_long"] for settings in few_shot.values()] == [*few_shot]
    assert zero_shot["truncate-demos"] == zero_shot["error"] != zero_shot["skip"]
