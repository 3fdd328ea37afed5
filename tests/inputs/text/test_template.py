from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.core import paths as resources
from promptkit.core.errors import PromptkitError, TemplateError
from promptkit.inputs.text.template import BLOCKS, Template
from tests.support.errors import refused

TARGET = "{% block target %} {{ label }}{% endblock %}"
DELIMITERS = ("{{", "{%", "{#")

awkward = st.text(st.sampled_from("\r\n\t\v {}%#-+ab\ue000\ue001\x85\u2028é"))
data = (
    awkward | st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["{{ 7 * 7 }}", "{% if x %}", "{# gone #}"])
)
literal = (awkward | st.text(st.characters(exclude_categories=["Cs"]))).filter(
    lambda text: not text.endswith("{") and not any(mark in text for mark in DELIMITERS)
)
"""Text without Jinja syntax, also in combination with the following delimiter."""


def with_input(body: str) -> Template:
    return Template("{% block input %}" + body + "{% endblock %}" + TARGET)


# ---- byte-exactness ---------------------------------------------------------------------------------


@given(literal, literal, literal, literal)
def test_a_block_keeps_every_character(instruction, body, target, separator):
    contents = {"instruction": instruction, "input": body, "target": target + "{{ label }}", "separator": separator}
    template = Template("\n".join(f"{{% block {name} %}}{text}{{% endblock %}}" for name, text in contents.items()))
    shown = {name: template.render(name, {"label": "L"}) for name in BLOCKS}
    assert shown == {"instruction": instruction, "input": body, "target": target + "L", "separator": separator}


@given(literal)
def test_quoted_and_raw_text_keep_every_character(text):
    raw = with_input("{% raw %}" + text + "{% endraw %}")
    assert raw.render("input", {}) == text
    if "'" not in text and "\\" not in text:
        assert with_input("{{ '" + text + "' }}").render("input", {}) == text


@given(body=literal, name=st.sampled_from(["x.j2", "folder/x.j2"]))
def test_a_template_renders_equally_from_a_file_and_from_a_string(tmp_path_factory, body, name):
    source = "{% block input %}" + body + "{{ text }}\r\n{% endblock %}\r\n" + TARGET + "\n"
    path = tmp_path_factory.mktemp("templates") / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(source.encode())
    loaded, inline = Template.load(path), Template(source)
    assert loaded.source == inline.source
    for block in BLOCKS:
        assert loaded.render(block, {"text": "T", "label": "L"}) == inline.render(block, {"text": "T", "label": "L"})


def test_a_missing_separator_is_an_empty_line_and_a_missing_instruction_is_empty():
    template = with_input("x")
    assert (template.render("separator", {}), template.render("instruction", {})) == ("\n\n", "")


# ---- values are data --------------------------------------------------------------------------------


@given(data)
def test_a_substituted_value_is_not_rendered_as_a_template(value):
    template = with_input("<{{ text }}|{{ texts | join('') }}>")
    assert template.render("input", {"text": value, "texts": [value, value]}) == f"<{value}|{value}{value}>"
    assert template.render("target", {"label": value}) == f" {value}"


def test_values_are_not_escaped_for_html():
    assert with_input("{{ text }}").render("input", {"text": "<b> & \"'"}) == "<b> & \"'"


@pytest.mark.parametrize(
    "expression",
    [
        "{{ text.__class__ }}",
        "{{ text.__class__.__mro__ }}",
        "{{ text | attr('__class__') }}",
        "{{ [text] | map(attribute='__class__') | join }}",
        "{{ '{0.__class__}'.format(text) }}",
        "{{ ''.join.__self__ }}",
        "{{ texts.append('x') }}",
        "{{ texts.clear() }}",
    ],
)
def test_a_template_cannot_reach_internals_or_change_values(expression):
    texts = ["a"]
    with refused(TemplateError, "unsafe-expression", block="input"):
        with_input(expression).render("input", {"text": "a", "texts": texts})
    assert texts == ["a"]


@pytest.mark.parametrize("name", ["range", "lipsum", "cycler", "joiner", "namespace", "dict"])
def test_a_template_has_only_its_values_as_variables(name):
    with refused(TemplateError, "missing-variables", block="input", variables=(name,)):
        with_input("{{ " + name + "() }}").render("input", {})


@pytest.mark.parametrize(
    "statement", ["{% include 'x' %}", "{% import 'x' as x %}", "{% from 'x' import y %}", "{% extends 'x' %}"]
)
def test_loading_another_file_is_refused_with_the_line(statement):
    source = "{# first line #}\n{% block input %}\n" + statement + "{% endblock %}" + TARGET
    with refused(TemplateError, "loads-another-file", line=3):
        Template(source)


# ---- variables --------------------------------------------------------------------------------------


@given(st.sets(st.sampled_from("abcdefgh"), min_size=1), st.sets(st.sampled_from("abcdefgh")))
def test_all_missing_variables_are_named_at_once(used, given_values):
    template = with_input("".join("{{ " + name + " }}" for name in sorted(used)))
    values = dict.fromkeys(given_values, "x")
    missing = sorted(used - given_values)
    if missing:
        with refused(TemplateError, "missing-variables", variables=tuple(missing)):
            template.render("input", values)
    else:
        assert template.render("input", values) == "x" * len(used)


def test_a_variable_that_is_tested_for_may_be_missing():
    template = with_input("{% if context is defined %}{{ context }}. {% endif %}{{ text }}")
    assert template.render("input", {"text": "t"}) == "t"
    assert template.render("input", {"text": "t", "context": "c"}) == "c. t"
    assert template.variables == {"text", "label"}


def test_variables_set_by_the_template_are_not_required():
    template = with_input("{% set a = text %}{% for word in words %}{{ a }}{{ word }}{% endfor %}")
    assert template.variables == {"text", "words", "label"}


def test_a_missing_attribute_in_a_list_is_refused():
    template = Template("{% block input %}{{ [text.absent] }}{% endblock %}{% block target %} {{ label }}{% endblock %}")
    with refused(TemplateError, "render-failed", block="input") as raised:
        template.render("input", {"text": "x"})
    assert "'absent'" in raised.value.fields["reason"]


def test_a_variable_with_a_default_may_be_missing():
    assert with_input("{{ context | default('none') }}").render("input", {}) == "none"


# ---- templates that are refused ---------------------------------------------------------------------


@pytest.mark.parametrize("outside", ["words", "{{ text }}", "{% if x %}{% endif %}", "{% set x = 1 %}"])
@pytest.mark.parametrize("blank", ["", "\n", "\r\n \t"])
def test_text_outside_of_blocks_is_refused(outside, blank):
    blocks = "{% block input %}{{ text }}{% endblock %}" + blank + TARGET
    with refused(TemplateError, "text-outside-blocks", line=1 + blank.count("\n") * 2):
        Template(blocks + blank + outside)
    assert Template(blank + "{# a comment #}" + blocks + blank).render("input", {"text": "t"}) == "t"


@pytest.mark.parametrize("absent", ["input", "target"])
def test_input_and_target_are_required(absent):
    blocks = {"input": "{% block input %}x{% endblock %}", "target": TARGET}
    del blocks[absent]
    with refused(TemplateError, "missing-block", blocks=(absent,)):
        Template("".join(blocks.values()))


@pytest.mark.parametrize("body", ["{{ label }}", "{% if label == 'a' %}x{% endif %}", "{% set x = label %}"])
def test_the_input_block_must_not_use_the_label(body):
    with refused(TemplateError, "label-in-input"):
        with_input(body)


@pytest.mark.parametrize("body", [" Positive", "{{ labels | first }}", "{% set label = 'x' %}{{ label }}"])
def test_the_target_block_must_use_the_label(body):
    with refused(TemplateError, "label-not-in-target"):
        Template("{% block input %}x{% endblock %}{% block target %}" + body + "{% endblock %}")


def test_an_unknown_block_is_refused_with_its_line_and_the_closest_names():
    with refused(TemplateError, "unknown-name", kind="template block", name="inputs", close=["input"], line=2):
        Template("\n{% block inputs %}x{% endblock %}" + TARGET)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_syntax_error_names_the_file_and_the_line(tmp_path, newline):
    path = tmp_path / "broken.j2"
    path.write_bytes(newline.join(["{# doc #}", "{% block input %}", "{{ text }", "{% endblock %}", TARGET]).encode())
    with refused(TemplateError, "syntax-error", template=str(path), line=3):
        Template.load(path)


def test_a_file_that_is_not_utf_8_is_refused_with_the_byte(tmp_path):
    path = tmp_path / "latin.j2"
    path.write_bytes(b"{% block input %}caf\xe9{% endblock %}")
    with refused(TemplateError, "not-utf8", file=str(path), position=20):
        Template.load(path)


def test_an_unknown_template_is_refused_with_the_closest_names():
    with refused(TemplateError, "unknown-name", kind="template", name="sentiment/reveiw") as raised:
        Template.load("sentiment/reveiw")
    assert "sentiment/review" in raised.value.fields["close"]


@pytest.mark.parametrize("name", ["a\0b", "", "."])
def test_a_path_that_is_not_a_file_is_refused(name):
    with refused(TemplateError, "unknown-name", kind="template", name=name):
        Template.load(name)


def test_a_missing_template_file_is_refused():
    with refused(TemplateError, "no-such-file", file="missing.j2"):
        Template.load("missing.j2")


parts = st.sampled_from(
    [
        "{% block input %}",
        "{% block target %}",
        "{% endblock %}",
        "{{ label }}",
        "{{ text",
        " }}",
        "{%",
        "{#",
        "#}",
        "{% raw %}",
    ]
)


@given(content=st.binary(max_size=60) | st.lists(parts | st.text(max_size=5), max_size=12).map("".join).map(str.encode))
def test_any_file_is_a_template_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any", numbered=True) / "any.j2"
    path.write_bytes(content)
    with suppress(PromptkitError):
        template = Template.load(path)
        assert isinstance(template.render("input", {"text": "x", "label": "y"}), str)


@given(st.text("{}%# \n'|.()[]abilnptu_0", max_size=40))
def test_any_block_renders_or_raises_a_template_error(body):
    with suppress(PromptkitError):
        assert isinstance(with_input(body).render("input", {"a": "x", "b": ["y"]}), str)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param("{{ text }", "syntax-error", id="syntax"),
        pytest.param("{% for a, b in text %}{% endfor %}", "render-failed", id="unpacking"),
        pytest.param("{{ text() }}", "render-failed", id="calling a text"),
        pytest.param("{{ text + 1 }}", "render-failed", id="adding a number"),
        pytest.param("{{ 1 / 0 }}", "render-failed", id="dividing by zero"),
        pytest.param("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested-too-deeply", id="nested expression"),
        pytest.param("{{ text | nosuch }}", "syntax-error", id="unknown filter"),
        pytest.param("{{ text is nosuch }}", "syntax-error", id="unknown test"),
        pytest.param("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "render-failed", id="endless macro"),
        pytest.param("{{ 1" + " + 1" * 3000 + " }}", "nested-too-deeply", id="long expression"),
        pytest.param("{% if 1 %}" * 200 + "{% endif %}" * 200, "nested-too-deeply", id="nested statements"),
    ],
)
def test_a_block_that_cannot_be_rendered_raises_a_template_error(body, code):
    with refused(TemplateError, code):
        with_input(body).render("input", {"text": "abc"})


def test_a_duplicate_block_is_refused():
    with refused(TemplateError, "duplicate-block", block="input", line=1):
        Template("{% block input %}one{% endblock %}{% block input %}two{% endblock %}" + TARGET)


@pytest.mark.parametrize("newline", ["\n", pytest.param("\r\n")])
@pytest.mark.parametrize(
    ("body", "shown"),
    [
        pytest.param("{{ text NEWLINE }}", "t", id="a tag over two lines"),
        pytest.param("{% if textNEWLINE%}yes{% endif %}", "yes", id="a statement over two lines"),
        pytest.param("aNEWLINE{%- if text %}b{% endif %}", "ab", id="whitespace control"),
    ],
)
def test_line_ends_in_tags_and_removed_by_whitespace_control_do_not_matter(newline, body, shown):
    assert with_input(body.replace("NEWLINE", newline)).render("input", {"text": "t"}) == shown


def test_a_byte_order_mark_at_the_start_of_a_file_does_not_matter(tmp_path):
    path = tmp_path / "notepad.j2"
    path.write_bytes(b"\xef\xbb\xbf{% block input %}x{% endblock %}" + TARGET.encode())
    assert Template.load(path).render("input", {}) == "x"


# ---- bundled templates ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", resources.names("templates", ".j2"))
def test_a_bundled_template_loads_and_its_comment_names_its_variables(name):
    template = Template.load(name)
    assert template.documentation
    assert not {variable for variable in template.variables - {"label", "labels"} if variable not in template.documentation}


def test_documentation_is_the_first_comment():
    assert Template("\n{#- What it is.\r\n text: x -#}\n{# other #}" + with_input("x").source).documentation == (
        "What it is.\r\n text: x"
    )
    assert with_input("x").documentation == ""
