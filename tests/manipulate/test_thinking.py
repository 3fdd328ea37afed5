"""Chat prompts of reasoning models: the switch for thinking, and where labels are scored and texts begin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.main import app
from promptkit.config.study import StudyConfig
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.examples import Example
from promptkit.core.model import ChatOptions
from promptkit.core.requests import Generate, GenerateOutput, Generation, Request
from promptkit.core.thinking import ThoughtMarkers
from promptkit.evaluation.lint import prompt_warnings
from promptkit.inputs.text.template import Template
from promptkit.manipulate.prompt import Prompt
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.generation import Text, Writing, stop_position
from promptkit.runs.command import eval_command
from tests.support.errors import refused
from tests.support.tokenizer_families import make

TEMPLATE = Template("{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}", name="test")
QUERY = Example(id="query", inputs={"text": "so so"})
WORDS = ("good", "bad")
CONTROL = ("<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|start|>", "<|channel|>", "<|message|>", "<|end|>")
TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
THOUGHT = "{% if m.reasoning_content is defined %}<note>{{ m.reasoning_content }}</note>\n{% endif %}"
TEMPLATES = {
    "none": TURNS,
    "qwen": TURNS
    + "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{{ '' }}",
    "deepseek": TURNS + "{% if thinking is defined and thinking %}<think>{% else %}</think>{% endif %}",
    "always": TURNS + "<think>\n{{ '' }}",
    "gemma": "{% if enable_thinking %}<|think|>\n{% endif %}"
    + TURNS
    + "{% if not enable_thinking %}<|channel>thought\n<channel|>{% endif %}",
    "harmony": "{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endfor %}<|start|>assistant"
    "{# <|channel|> #}",
    "declared": TURNS.replace("{{ m.content }}", THOUGHT + "{{ m.content }}"),
}


@pytest.fixture(scope="module")
def render(bind_context: Any, make_card: Any) -> Any:
    """Renders a row with one of the templates: with the words to score, or with an extraction."""

    def rendered(template: Any, *, generate: bool = False, reader: Any = None, **options: Any) -> tuple[Any, Any]:
        tokenizer = make("bytes", CONTROL)
        tokenizer.chat_template = TEMPLATES[template] if isinstance(template, str) else template
        card = make_card(TransformersTokenizer(tokenizer), instruct=True)
        reader = reader or (pk.extract.FirstLine() if generate else None)
        bound = bind_context((), WORDS, card=card, reader=reader)
        return Prompt(TEMPLATE, chat=True, **options).bind(bound)([QUERY])[0], card

    return rendered


# ---- the switch -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "thinking", "end"),
    [
        ("qwen", None, "assistant\n"),
        ("qwen", True, "assistant\n"),
        ("qwen", False, "assistant\n<think>\n\n</think>\n\n"),
        ("deepseek", None, "assistant\n</think>"),
        ("deepseek", False, "assistant\n</think>"),
        ("deepseek", True, "assistant\n<think>"),
        ("gemma", True, "assistant\n"),
        ("gemma", False, "assistant\n<|channel>thought\n<channel|>"),
    ],
)
def test_the_switch_is_passed_to_the_chat_template(render: Any, template: str, thinking: bool | None, end: str) -> None:
    rendered, card = render(template, generate=True, thinking=thinking)
    assert card.tokenizer.decode(rendered.input.ids).endswith(end)


@pytest.mark.parametrize("template", ["none", "always", "harmony"])
@pytest.mark.parametrize("thinking", [True, False])
def test_a_template_without_a_switch_is_refused(render: Any, template: str, thinking: bool) -> None:
    with refused(Unsupported, "no-thinking-switch"):
        render(template, generate=True, thinking=thinking)


def test_the_switch_of_a_named_template_is_its_own(render: Any) -> None:
    templates = {"default": TEMPLATES["none"], "reasoning": TEMPLATES["qwen"]}
    with refused(Unsupported, "no-thinking-switch"):
        render(templates, generate=True, thinking=False)
    rendered, card = render(templates, generate=True, thinking=False, chat_template="reasoning")
    assert card.tokenizer.decode(rendered.input.ids).endswith("</think>\n\n")


@pytest.mark.parametrize("options", [{"thinking": False}, {"chat_template": "rag"}])
def test_options_of_the_chat_template_need_chat(options: dict[str, Any]) -> None:
    with refused(InputError, "needs-chat", option=next(iter(options))):
        Prompt(TEMPLATE, **options)


@pytest.mark.parametrize("options", [{"thinking": "off"}, {"chat_template": 3}])
def test_options_of_the_chat_template_have_types(options: dict[str, Any]) -> None:
    with refused(InputError, "invalid-value", keyword=next(iter(options))):
        Prompt(TEMPLATE, chat=True, **options)


# ---- where labels are scored, and where texts begin ---------------------------------------------------------------


@pytest.mark.parametrize(("template", "thinking"), [("always", None), ("deepseek", True)])
def test_labels_are_not_scored_within_a_thought(render: Any, template: str, thinking: bool | None) -> None:
    with refused(Unsupported, "scores-in-thought", marker="<think>", row="query"):
        render(template, thinking=thinking)
    rendered, _ = render(template, thinking=thinking, generate=True)
    assert rendered.thought == "<think>"
    assert rendered.answer_text("It is bad.") is None
    assert rendered.answer_text("It is bad.</think>\n\ngood") == "\n\ngood"


@pytest.mark.parametrize(
    ("template", "thinking", "thinks"),
    [
        ("always", None, True),
        ("deepseek", True, True),
        ("qwen", True, True),
        ("gemma", True, True),
        ("qwen", None, False),
        ("qwen", False, False),
        ("deepseek", None, False),
        ("none", None, False),
        ("gemma", False, False),
    ],
)
def test_a_text_that_is_restricted_to_a_schema_has_no_thought(
    render: Any, template: str, thinking: bool | None, thinks: bool
) -> None:
    free, restricted = (pk.extract.Json(schema={"city": "string"}, constrain=constrain) for constrain in (False, True))
    rendered, _ = render(template, thinking=thinking, reader=free)
    assert rendered.thinks == thinks
    assert free.request(QUERY, rendered).json_schema == ""
    if not thinks:
        assert restricted.request(QUERY, rendered).json_schema
        return
    with refused(Unsupported, "restricted-thought", row="query") as raised:
        restricted.request(QUERY, rendered)
    assert "constrain=False" in str(raised.value)


@pytest.mark.parametrize(
    ("template", "thinking", "noted"),
    [
        ("none", None, False),
        ("qwen", None, True),
        ("qwen", True, True),
        ("qwen", False, False),
        ("deepseek", None, False),
        ("gemma", False, False),
        ("gemma", True, True),
        ("harmony", None, True),
        ("declared", None, True),
    ],
)
def test_labels_scored_where_thinking_would_begin_are_noted(
    render: Any, template: str, thinking: bool | None, noted: bool
) -> None:
    rendered, card = render(template, thinking=thinking)
    assert rendered.may_think == noted
    warnings = prompt_warnings(rendered, card, evaluated=[], chat=True)
    assert ("may-think" in [warning.code for warning in warnings]) == noted
    assert not render(template, thinking=thinking, generate=True)[0].may_think


def test_markers_that_only_the_chat_template_declares_are_read(render: Any) -> None:
    rendered, card = render("declared", generate=True)
    assert card.tokenizer.thought_markers(ChatOptions()) == (ThoughtMarkers("<note>", "</note>"),)
    assert rendered.answer_text("<note>bad</note>\ngood") == "\ngood"
    assert rendered.answer_text("<note>bad") is None


def test_a_prompt_without_text_has_no_thought(render: Any, bind_context: Any) -> None:
    """The premise of a template whose input ends in a variable is a chat with an empty turn."""
    _, card = render("qwen")
    premise = Prompt(TEMPLATE, chat=True).bind(bind_context((), WORDS, card=card)).premise(QUERY)
    assert (premise.thought, premise.may_think) == ("", True)


# ---- stop strings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stops", "thought", "kept"),
    [
        ("Paris\nRome", ("\n",), "", "Paris"),
        ("\n\nParis\nRome", ("\n",), "", "\n\nParis"),
        ("\n \n", ("\n",), "", None),
        ("\n\nReview: x", ("\n", "\n\n"), "", ""),
        ("<think>\na\nb", ("\n",), "", None),
        ("<think>\na\n</think>\n\nParis\nRome", ("\n",), "", "<think>\na\n</think>\n\nParis"),
        ("<think>\n\na</think>\n\nParis\n\nRome", ("\n\n",), "", "<think>\n\na</think>\n\nParis"),
        ("a\nb", ("\n",), "<think>", None),
        ("a\nb</think>\n\nParis\nRome", ("\n",), "<think>", "a\nb</think>\n\nParis"),
        ("a Q: b", ("Q:", "\n"), "", "a "),
        ("a", (), "", None),
    ],
)
def test_stop_strings_count_in_the_answer(text: str, stops: tuple[str, ...], thought: str, kept: str | None) -> None:
    position = stop_position(text, stops, thought=thought)
    assert (None if position is None else text[:position]) == kept


@pytest.mark.parametrize(("prompt", "expected"), [("Q", "\n\nParis"), ("Q<think>\n", "\n\nParis\nab</think>\n\nRome")])
def test_a_reply_is_not_cut_at_newlines_before_its_answer(prompt: str, expected: str) -> None:
    tokenizer = TransformersTokenizer(make("bytes", CONTROL))
    prompt_ids = tokenizer.encode("Q").ids + ((tokenizer.control["<think>"],) if "<think>" in prompt else ())
    text = Text(request=0, sample=0, verb=Generate(max_tokens=99, stop=("\n",)), tail=prompt_ids)
    ids = [*tokenizer.encode("\n\nParis\nab").ids, tokenizer.control["</think>"], *tokenizer.encode("\n\nRome\nmore").ids]
    for token in ids:
        if text.generation is None:
            text.add(token, Writing(tokenizer=tokenizer, ends=frozenset()))
    assert text.generation is not None
    assert (text.generation.text, text.generation.ended) == (expected, "stop")


# ---- runs ---------------------------------------------------------------------------------------------------------


def test_a_run_reads_the_answers_after_thoughts(scripted: Any, tmp_path: Path) -> None:
    rows = [{"text": "capital of France", "answer": "Paris"}, {"text": "capital of Italy", "answer": "Rome"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "task.yaml").write_text(
        "description: x\ntemplate: t.j2\nanswer: first_line\n"
        "sources: [{files: {test: rows.jsonl}, inputs: {text: text}, label: answer}]\n"
    )
    (tmp_path / "t.j2").write_text("{% block input %}{{ text }}:{% endblock %}{% block target %} {{ label }}{% endblock %}")
    replies = {"France": "<think>\nRome? No.\n</think>\n\nParis\n", "Italy": "<think>\nRome"}

    class Reasoning(scripted):  # type: ignore[misc]
        def _output(self, request: Request) -> Any:
            prompt = self.card.tokenizer.decode(request.input.ids)
            text = next(reply for name, reply in replies.items() if name in prompt)
            return GenerateOutput(generations=(Generation(ids=(1,), text=text, ended="end"),))

    task = pk.task(tmp_path / "task.yaml")
    run = pk.evaluate(
        pk.Predictor(Reasoning(), pk.Prompt(task.spec.template), pk.extract.FirstLine), task, out=tmp_path, cache=False
    )
    records = [json.loads(line) for line in (run.path / "samples.jsonl").read_text().splitlines()]
    assert {record["gold"]: record["prediction"] for record in records} == {"Paris": "Paris", "Rome": None}
    unclosed = {record["gold"]: record["generations"][0].get("unclosed_thought", False) for record in records}
    assert unclosed == {"Paris": False, "Rome": True}
    assert any(note.startswith("1 of 2 rows have a text whose thought is not closed") for note in run.notes)


def test_the_command_line_and_study_files_have_the_switch(tmp_path: Path) -> None:
    shown = [
        CliRunner().invoke(app, ["render", "sentiment", "--model", "fake", "--shots", "0", "--chat", "--json", *words])
        for words in ([], ["--thinking", "off"], ["--thinking", "on"])
    ]
    default, off, on = (json.dumps(json.loads(result.stdout)["rows"]) for result in shown)
    assert default == on
    assert "</think>" in off
    assert "</think>" not in default
    assert CliRunner().invoke(app, ["render", "sentiment", "--model", "fake", "--thinking", "off"]).exit_code == 1
    assert CliRunner().invoke(app, ["render", "sentiment", "--model", "fake", "--chat", "--thinking", "maybe"]).exit_code == 1

    path = tmp_path / "study.yaml"
    path.write_text("task: sentiment\nmodel: fake\nchat: true\ngrid: {thinking: [on, off], shots: [0]}\n")
    assert StudyConfig.from_yaml(path).grid["thinking"] == ["on", "off"]
    path.write_text("task: sentiment\nmodel: fake\nchat: true\nthinking: off\ngrid: {shots: [0]}\n")
    assert StudyConfig.from_yaml(path).thinking == "off"


def test_the_command_that_repeats_a_run_has_the_switch(tmp_path: Path) -> None:
    task = pk.task("sentiment")
    prompt = pk.Prompt(task.spec.template, chat=True, thinking=False, chat_template="rag")
    run = pk.evaluate(pk.Predictor(pk.load("fake"), prompt, pk.Verbalizer(task.spec.labels or {})), task, limit=4, out=tmp_path)
    settings = json.loads((run.path / "run.json").read_text())
    command = eval_command(settings, ["batch"])
    assert command is not None
    assert " --chat --thinking off --chat-template rag " in command
