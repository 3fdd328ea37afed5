import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.inputs.text.template import Template
from promptkit.manipulate.prompting.outline import Outline

BLOCKS = [
    "Review: {{ text }}\nSentiment:",
    "{{ text }}",
    "{{ text }} ->",
    "{{ premise }}\nQuestion: {{ text }} Yes or no?\nAnswer:",
    "Q: {{ text }} (.*)\n[{{ premise }}] ",
    "{{ text }} is {{ text }}, not {{ premise }}.",
]
words = st.text("abc 'é1", min_size=1, max_size=9).map(str.strip).filter(bool)


def outline(block, variables=("text", "premise")):
    template = Template("{% block input %}" + block + "{% endblock %}{% block target %} {{ label }}{% endblock %}")
    return Outline.from_renderer(lambda values: template.render("input", values), variables), template


@pytest.mark.parametrize("block", BLOCKS)
@given(text=words, premise=words, rest=st.sampled_from(["", "\n\nReview: more", "\nSentiment: x"]))
def test_a_rendered_block_is_parsed(block, text, premise, rest):
    result, template = outline(block)
    inputs = {name: value for name, value in (("text", text), ("premise", premise)) if name in result.variables}
    assert result.read(template.render("input", {"text": text, "premise": premise}) + rest) == inputs


@given(text=words, blank=st.sampled_from(["", " ", "\t"]))
def test_a_block_is_parsed_with_any_white_space_after_its_opening(text, blank):
    result, _ = outline("Review: {{ text }}\nSentiment:")
    assert result.opening == "Review:"
    assert result.read(f"{result.opening} {blank}{text}{blank}\nSentiment: good") == {"text": text}


@pytest.mark.parametrize(
    "text",
    ["", "Review:", "Review: fine", "Review: \nSentiment: good", "Opinion: fine\nSentiment: good", " Review: x\nSentiment:"],
)
def test_other_texts_are_not_parsed(text):
    result, _ = outline("Review: {{ text }}\nSentiment:")
    assert result.read(text) is None


def test_a_repeated_variable_must_have_the_same_value():
    result, _ = outline("{{ text }} is {{ text }}, not {{ premise }}.")
    assert result.read("a is a, not b.") == {"text": "a", "premise": "b"}
    assert result.read("a is c, not b.") is None


def test_a_variable_modified_by_a_filter_is_not_found():
    for change in ("lower", "upper", "replace('-', ' ')"):
        result, _ = outline("{{ text | " + change + " }} {{ premise }}")
        assert result.variables == ("premise",)
