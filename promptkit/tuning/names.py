"""Names of prompts: the demonstrations, and what else distinguishes the prompts of one space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import cast

from promptkit.core.manipulation import Manipulation
from promptkit.core.model import Model
from promptkit.core.output_reader import OutputReader
from promptkit.core.registry import Named, spelling
from promptkit.manipulate.compose import without_modifiers
from promptkit.manipulate.demos import Selector
from promptkit.manipulate.prompt import Prompt
from promptkit.predictor.predictor import Predictor

LONGEST = 40
"""The most characters of an instruction in a name."""


def prompt_names(prompts: Sequence[Predictor]) -> list[str]:
    """Returns a different name for each prompt, such as `balanced, k=8`, with everything that is not the same for all of them.

    Args:
        prompts: The predictors of the prompts.
    """
    described = [_description(each.model, each.manipulate, each.reader) for each in prompts]
    keys = dict.fromkeys(key for each in described for key in each)
    differing = {key for key in keys if len({each.get(key, "") for each in described}) > 1}
    names = [_name(each, differing) for each in described]
    repeated, seen = {name for name, count in Counter(names).items() if count > 1}, Counter[str]()
    for index, name in enumerate(names):
        if name in repeated:
            seen[name] += 1
            names[index] = f"{name} ({seen[name]})"
    return names


def demonstrations_name(selector: Selector) -> str:
    """Returns the name of demonstrations: the selector and their number, such as `balanced, k=8`, or `0 shots`."""
    if selector.k == 0:
        return "0 shots"
    name = _spelled(selector, without="k")
    return name if selector.k is None else f"{name}, k={selector.k}"


def _name(description: Mapping[str, str], differing: set[str]) -> str:
    main = " + ".join(filter(None, (description["demos"], description["modifiers"])))
    before = [description["model"]] if "model" in differing else []
    others = [key for key in description if key in differing - {"model", "demos", "modifiers"}]
    after = [description[key] for key in others if description[key]]
    return " · ".join([*before, ", ".join([main or "plain image", *after])])


def _description(model: Model, manipulation: Manipulation, reader: OutputReader) -> dict[str, str]:
    """Returns what distinguishes a prompt, in the order of a name."""
    first = without_modifiers(manipulation)
    of_prompt = _of_prompt(first) if isinstance(first, Prompt) else {"demos": ""}
    modifiers = " + ".join(_spelled(modifier) for modifier in manipulation.modifiers)
    answer = ", ".join(f"{key}={value}" for key, value in reader.settings().items() if isinstance(value, str | int | float))
    return {"model": model.name, **of_prompt, "modifiers": modifiers, "answer": answer}


def _of_prompt(prompt: Prompt) -> dict[str, str]:
    template, instruction = prompt.resolved_template, prompt.instruction
    shown = "" if instruction is None else f"instruction {_shortened(instruction)!r}" if instruction else "no instruction"
    return {
        "demos": demonstrations_name(prompt.selector),
        "order": f"order {_spelled(prompt.order)}" if prompt.order else "",
        "template": f"template {template.name}",
        "instruction": shown,
        "chat": "chat" if prompt.chat else "",
        "thinking": "" if prompt.thinking is None else f"thinking {'on' if prompt.thinking else 'off'}",
        "cot": f"cot {_spelled(prompt.cot)}" if prompt.cot else "",
        "channel": "channel" if prompt.channel else "",
    }


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}..."


def _spelled(value: Named, *, without: str = "") -> str:
    """Returns the spelling of a registered object, or the name of one that is no dataclass."""
    return spelling(cast("Named", value), without=without) if is_dataclass(value) else value.name
