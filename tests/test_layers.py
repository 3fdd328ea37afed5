"""The package tree, read with ast: imports go one way, and the house rules that a program can check."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import promptkit

ROOT = Path(promptkit.__file__).parent
LAYERS = [
    {"errors", "resources", "hub", "processes"},
    {"within", "types", "gradients", "heads", "aligners", "manipulations"},
    {
        "registry",
        "template",
        "render",
        "readers",
        "spec",
        "cells",
        "tasks",
        "own",
        "metrics",
        "halving",
        "store",
        "cache",
        "lint",
    },
    {"manipulate", "align", "models"},
    {"chain", "asking", "composition", "predictor"},
    {"run", "samples", "outputs", "support", "figures", "evaluation"},
    {"comparison", "merging", "doctor", "view", "kinds", "trial", "found", "searching", "again", "alignments", "bias"},
    {
        "recipe",
        "checkpoint",
        "optimizers",
        "optimize",
        "objective",
        "material",
        "losses",
        "fit",
        "training",
        "conversion",
        "extraction",
        "function_vectors",
    },
    {"studies", "reliability"},
    {"cli", "options", "study_file", "search_command", "align_command", "train_command", "convert_command", "terminal"},
    {"__main__"},
]
APART = {"manipulate", "align", "models"}
"""Packages of one layer that meet in types only."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in ROOT.rglob("*.py") if name_of(path)}
"""Every module by its name below promptkit, without promptkit itself."""


def layer(module: str) -> int:
    found = [number for number, names in enumerate(LAYERS) if module.split(".", maxsplit=1)[0] in names]
    assert found, f"promptkit.{module} has no place in LAYERS: give it one"
    return found[0]


def imported(module: str) -> set[str]:
    """The modules of promptkit that one imports, anywhere in its text."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}, line {node.lineno}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    inside = {name.removeprefix("promptkit.") for name in found if name.startswith("promptkit.")}
    lazy = inside & set(promptkit.__all__) - MODULES.keys() - {"__version__"}
    assert not lazy, f"{module} imports {lazy} through promptkit itself, which hides where they are"
    return {name if name in MODULES else name.rpartition(".")[0] for name in inside} - {""}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_from_its_own_layer_and_those_below(module):
    upward = {other for other in imported(module) if layer(other) > layer(module)}
    assert not upward


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.split(".")[0] in APART))
def test_manipulate_align_and_models_never_import_one_another(module):
    own = module.split(".")[0]
    assert not {other for other in imported(module) if other.split(".")[0] in APART - {own}}


def test_modules_of_one_layer_do_not_import_each_other_in_a_circle():
    same = {module: {other for other in imported(module) if layer(other) == layer(module)} for module in MODULES}
    TopologicalSorter(same).prepare()  # raises CycleError


def test_the_package_itself_imports_nothing_of_the_package_when_it_is_imported():
    tree = ast.parse((ROOT / "__init__.py").read_text("utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert not [node.module for node in top if node.module.startswith("promptkit")]


def test_type_checkers_see_exactly_the_names_that_are_loaded():
    tree = ast.parse((ROOT / "__init__.py").read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname or alias.name: (node.module, alias.name) for node in block.body for alias in node.names}
    seen = {("task" if public == "load_task" else public): place for public, place in seen.items()}
    assert seen.keys() == set(promptkit.__all__) - {"__version__"}
    for public, (module, attribute) in seen.items():
        namespace: dict[str, object] = {}
        exec(f"from {module} import {attribute} as value", namespace)
        assert getattr(promptkit, public) is namespace["value"]


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import promptkit", {"torch", "transformers", "numpy", "jinja2", "yaml", "pydantic", "datasets"}),
        ("import promptkit.cli", {"torch", "transformers", "numpy", "datasets"}),
        ("import promptkit; promptkit.Prompt, promptkit.Verbalizer, promptkit.task", {"torch", "transformers", "datasets"}),
    ],
)
def test_importing_promptkit_imports_nothing_heavy(statement, heavy):
    code = f"import sys; {statement}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "promptkit" in result.stdout.split()
    assert not heavy & set(result.stdout.split())


def test_no_module_is_a_drawer_for_everything():
    assert not {name for name in MODULES if name.split(".")[-1] in {"utils", "util", "common", "helpers", "helper", "misc"}}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_module_has_more_than_400_lines(module):
    assert len(MODULES[module].read_text("utf-8").splitlines()) <= 400


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"cli"}))
def test_only_the_command_line_prints(module):
    calls = [node for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
