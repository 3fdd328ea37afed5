"""The pages of the API, from the docstrings of everything that `promptkit` exports."""

from __future__ import annotations

from inspect import getdoc, getmodule, isclass, isfunction, ismodule
from types import ModuleType

import promptkit as pk

GROUPS = {
    "tasks": "Tasks",
    "inputs": "Prompts and manipulations",
    "manipulate": "Prompts and manipulations",
    "align": "Alignment",
    "models": "Models",
    "predictor": "Predictors",
    "evaluation": "Evaluation",
    "runs": "Evaluation",
    "analysis": "Evaluation",
    "reports": "Evaluation",
    "metrics": "Metrics and baselines",
    "classical": "Metrics and baselines",
    "training": "Training",
    "interpret": "Interpretation",
    "searches": "Searches and tuning",
    "tuning": "Searches and tuning",
    "studies": "Studies",
    "config": "Configurations",
    "core": "Errors",
}
"""Package -> the page of what it defines."""


def api_pages() -> dict[str, str]:
    """Returns the text of each page, by its place in the site."""
    by_page: dict[str, list[tuple[str, str]]] = {page: [] for page in GROUPS.values()}
    modules: dict[str, list[tuple[str, ModuleType]]] = {page: [] for page in GROUPS.values()}
    for name in pk.__all__:
        value = getattr(pk, name)
        if ismodule(value):
            modules[page_of(value.__name__)].append((name, value))
        elif (isclass(value) or isfunction(value)) and (module := getmodule(value)):
            by_page[page_of(module.__name__)].append((name, f"{module.__name__}.{value.__name__}"))
    texts = {
        page: "".join(namespace(name, module) for name, module in modules[page]) + "".join(map(entry, items))
        for page, items in by_page.items()
    }
    return {place(page): f"# {page}\n\n{text}" for page, text in texts.items() if text}


def page_of(module: str) -> str:
    """Returns the page of a module."""
    return GROUPS[module.split(".")[1]]


def place(page: str) -> str:
    """Returns the place of a page in the site."""
    return f"api/{page.lower().replace(' ', '_')}.md"


def entry(item: tuple[str, str]) -> str:
    """Returns the documentation of one name."""
    name, path = item
    return f"## `pk.{name}`\n\n::: {path}\n\n"


def namespace(name: str, module: ModuleType) -> str:
    """Returns the table of the names of a module that `promptkit` exports, such as `pk.demos`."""
    exported = getattr(module, "__all__", [each for each in vars(module) if not each.startswith("_")])
    rows = [
        f"| `pk.{name}.{each}` | {first_line(value)} |"
        for each in sorted(exported)
        if isclass(value := getattr(module, each)) or isfunction(value)
    ]
    if not rows:
        return ""
    table = "| name | description |\n|---|---|\n" + "\n".join(rows)
    return f"## `pk.{name}`\n\n{getdoc(module) or ''}\n\n{table}\n\n"


def first_line(value: object) -> str:
    """Returns the first line of a docstring for a cell of a table."""
    return (getdoc(value) or "").partition("\n")[0].replace("|", "&#124;")
