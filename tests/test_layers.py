"""Rules for the package tree: packages import in one direction, modules are short, and importing promptkit is fast."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import promptkit

ROOT, TESTS = Path(promptkit.__file__).parent, Path(__file__).parent
ORDER = [
    {"core"},
    {"inputs", "metrics"},
    {"tasks", "display"},
    {"needs", "classical"},
    {"manipulate", "align", "models"},
    {"collect"},
    {"predictor"},
    {"runs"},
    {"evaluation"},
    {"training", "analysis"},
    {"interpret", "searches", "studies"},
    {"tuning"},
    {"reports"},
    {"config"},
    {"cli"},
]
"""The packages, lowest first; a package imports only packages of earlier sets."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in ROOT.rglob("*.py") if name_of(path) not in ("", "__main__")}
"""The path of each module by its name below promptkit, without modules of the root package."""


def package_of(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def rank(package: str) -> int:
    (number,) = [number for number, names in enumerate(ORDER) if package in names]
    return number


def imported(module: str) -> set[str]:
    """The modules of promptkit that a module imports, at any level."""
    actual = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            actual |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}, line {node.lineno}: a relative import"
            assert node.module != "promptkit" or all(alias.name in PACKAGES for alias in node.names), (
                f"{module}, line {node.lineno}: imports through the root package"
            )
            actual |= {f"{node.module}.{alias.name}" for alias in node.names}
    inside = {name.removeprefix("promptkit.") for name in actual if name.startswith("promptkit.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in inside} - {""}


PACKAGES = {package_of(module) for module in MODULES}


def test_the_root_package_has_two_files() -> None:
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_every_package_is_in_the_order_once() -> None:
    assert sorted(PACKAGES) == sorted(package for names in ORDER for package in names)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_its_package_and_earlier_ones(module: str) -> None:
    package = package_of(module)
    others = {package_of(other) for other in imported(module)} - {package}
    assert not {other for other in others if rank(other) >= rank(package)}


def test_modules_have_no_circular_imports() -> None:
    TopologicalSorter({module: imported(module) - {module} for module in MODULES}).prepare()  # raises CycleError


def test_the_root_package_imports_only_the_version() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text("utf-8"))
    top = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert [name for name in top if name.startswith("promptkit")] == ["promptkit.core.version"]


def test_type_checkers_see_exactly_the_public_names() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    names_in_block = {alias.asname or alias.name: (node.module, alias.name) for node in block.body for alias in node.names}
    names_in_block = {("task" if public == "load_task" else public): place for public, place in names_in_block.items()}
    assert names_in_block.keys() == set(promptkit.__all__) - {"__version__"}
    for public, (module, attribute) in names_in_block.items():
        namespace: dict[str, object] = {}
        exec(f"from {module} import {attribute} as value", namespace)
        assert getattr(promptkit, public) is namespace["value"]


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import promptkit", {"torch", "transformers", "numpy", "jinja2", "yaml", "pydantic", "datasets"}),
        ("import promptkit.cli.main", {"torch", "transformers", "numpy", "datasets"}),
        ("import promptkit; promptkit.Prompt, promptkit.Verbalizer, promptkit.task", {"torch", "transformers", "datasets"}),
    ],
)
def test_importing_promptkit_imports_no_heavy_package(statement: str, heavy: set[str]) -> None:
    code = f"import sys; {statement}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "promptkit" in result.stdout.split()
    assert not heavy & set(result.stdout.split())


def test_no_module_has_a_meaningless_name() -> None:
    assert not {name for name in MODULES if name.split(".")[-1] in {"utils", "util", "common", "helpers", "helper", "misc"}}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_module_has_more_than_400_lines(module: str) -> None:
    assert len(MODULES[module].read_text("utf-8").splitlines()) <= 400


def test_no_test_module_has_more_than_400_lines() -> None:
    lengths = {str(path.relative_to(TESTS)): len(path.read_text("utf-8").splitlines()) for path in TESTS.rglob("*.py")}
    assert Path(__file__).name in lengths
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def functions(module: str) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_function_has_more_than_60_lines(module: str) -> None:
    assert not [node.name for node in functions(module) if (node.end_lineno or 0) - node.lineno >= 60]


@pytest.mark.parametrize("module", sorted(name for name in MODULES if package_of(name) != "cli"))
def test_only_the_command_line_prints(module: str) -> None:
    calls = [node for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
