"""The chat templates of a tokenizer of transformers: rendering, the switch for thinking, and the markers of thoughts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from promptkit.core.caller import setting
from promptkit.core.errors import Unsupported
from promptkit.core.model import ChatOptions
from promptkit.core.thinking import FINAL_RESPONSE, HARMONY, KNOWN, ThoughtMarkers

SWITCHES = ("enable_thinking", "thinking")
"""The variables by which chat templates turn thinking on and off, the first in Qwen, SmolLM, GLM and Gemma, the second in
DeepSeek, Granite and Hermes."""
DEFAULT = "default"
"""The name of the template that is used if none is named."""
_CONTENT, _THOUGHT = "PROMPTKIT-CONTENT", "PROMPTKIT-THOUGHT"
_FIELDS = ("reasoning_content", "reasoning", "thinking")
"""The fields of a message in which chat templates read a thought."""
_MARKER = re.compile(r"[<\[◁][^\s<\[◁]+[>\]▷]")


class ChatTemplates:
    """The chat templates of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        """Wraps the templates of a `PreTrainedTokenizerFast`."""
        self._tokenizer = tokenizer
        self._switches: dict[str | None, Mapping[str, bool]] = {}
        self._reads_parts: dict[str | None, bool] = {}
        self._markers: dict[str | None, tuple[ThoughtMarkers, ...]] = {}

    def render(self, turns: Sequence[tuple[str, str]], options: ChatOptions) -> str | None:
        """Renders (role, content) turns up to the start of the answer; returns None if the template refuses them.

        Raises:
            Unsupported: As for `Tokenizer.chat`.
        """
        self._check_name(options.template)
        variables = {} if options.thinking is None else dict.fromkeys(self._switch(options.template), options.thinking)
        messages = [self._message(role, text, options.template) for role, text in turns]
        return self._render(messages, options.template, **variables)

    def thought_markers(self, options: ChatOptions) -> tuple[ThoughtMarkers, ...]:
        """Returns the markers of thoughts that a template contains, or writes around the thought of an earlier answer."""
        name = options.template
        if name not in self._markers:
            source = self._source(name)
            contained = [marker for marker in KNOWN if marker.opening in source or marker.closing in source]
            contained += [HARMONY] if "<|channel|>" in source else []
            contained += [FINAL_RESPONSE] if FINAL_RESPONSE.closing in source else []
            self._markers[name] = tuple(dict.fromkeys([*contained, *self._written_markers(name)]))
        return self._markers[name]

    def _message(self, role: str, text: str, name: str | None) -> Mapping[str, object]:
        """Returns a message in the form that a template reads: with a text, or with a list of parts.

        Templates of multimodal models read parts, and leave out a text.
        """
        if name not in self._reads_parts:
            probes = [_message("user", _CONTENT, in_parts=in_parts) for in_parts in (False, True)]
            shown = [_CONTENT in (self._render([probe], name) or "") for probe in probes]
            self._reads_parts[name] = shown == [False, True]
        return _message(role, text, in_parts=self._reads_parts[name])

    def _source(self, name: str | None) -> str:
        templates = self._tokenizer.chat_template
        return str(templates.get(name or DEFAULT, "") if isinstance(templates, Mapping) else templates)

    def _check_name(self, name: str | None) -> None:
        templates = self._tokenizer.chat_template
        names = sorted(templates) if isinstance(templates, Mapping) else [DEFAULT]
        if (name or DEFAULT) in names:
            return
        missing = "no default chat template" if name is None else f"no chat template named {name!r}"
        raise Unsupported(
            f"The model has {missing}",
            code="unknown-chat-template",
            got=f"the templates {', '.join(names)}",
            hint=f"Name one of them with {setting('chat_template')}",
            name=name,
            names=tuple(names),
        )

    def _switch(self, name: str | None) -> list[str]:
        """Returns the variables that turn thinking on and off in a template, which change its rendered text."""
        if name not in self._switches:
            turns = [self._message("user", _CONTENT, name)]
            self._switches[name] = {
                variable: self._render(turns, name, **{variable: True}) != self._render(turns, name, **{variable: False})
                for variable in SWITCHES
            }
        found = [variable for variable, acts in self._switches[name].items() if acts]
        if not found:
            raise Unsupported(
                "The model's chat template has no switch for thinking",
                code="no-thinking-switch",
                got=f"a template without the variable {' or '.join(SWITCHES)}",
                hint=f"Leave out {setting('thinking')}; the thoughts of a generated text are not part of its answer",
                variables=SWITCHES,
            )
        return found

    def _written_markers(self, name: str | None) -> list[ThoughtMarkers]:
        """Returns the markers that a template writes around a thought, found by rendering an answer with one."""
        question, answer = self._message("user", "a", name), self._message("assistant", _CONTENT, name)
        thought_of = dict.fromkeys(_FIELDS, _THOUGHT)
        text = self._render([question, {**answer, **thought_of}], name, add_generation_prompt=False)
        without = self._render([question, answer], name, add_generation_prompt=False) or ""
        before, thought, after = (text or "").partition(_THOUGHT)
        between, content, _ = after.partition(_CONTENT)
        opening, closing = _MARKER.findall(before), _MARKER.findall(between)
        if not (thought and content and opening and closing) or opening[-1] in without or closing[0] in without:
            return []  # markers that are also written without a thought do not mark thoughts
        adjacent = before.rstrip().endswith(opening[-1]) and between.lstrip().startswith(closing[0])
        return [ThoughtMarkers(opening[-1], closing[0])] if adjacent else []

    def _render(self, messages: Sequence[Mapping[str, object]], name: str | None, **variables: bool) -> str | None:
        settings = {"add_generation_prompt": True, **variables}
        template = name if isinstance(self._tokenizer.chat_template, Mapping) else None
        try:
            return str(self._tokenizer.apply_chat_template([*messages], chat_template=template, tokenize=False, **settings))
        except Exception:  # a template is a program, which can fail in any way
            return None


def _message(role: str, text: str, *, in_parts: bool) -> Mapping[str, object]:
    return {"role": role, "content": [{"type": "text", "text": text}] if in_parts else text}
