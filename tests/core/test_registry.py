from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS
from promptkit.core.arguments import as_python
from promptkit.core.errors import InputError
from promptkit.core.registry import build, build_from, parse, settings_of, spelling
from promptkit.manipulate.cot import COT
from promptkit.manipulate.demos import SELECTORS
from promptkit.manipulate.order.fixed import ORDERS
from tests.support.errors import refused


@dataclass(frozen=True)
class Juice:
    fruit: str = "apple"
    litres: int = 1
    pulp: bool = False
    served: Literal["warm", "cold"] = "cold"
    spices: tuple[str, ...] = ("clove",)
    name: ClassVar[str] = "juice"


@dataclass(frozen=True)
class Water:
    name: ClassVar[str] = "water"


DRINKS = {"juice": Juice, "water": Water}
REGISTERED = [pytest.param(kind, id=kind.name) for table in (SELECTORS, ORDERS, COT, CALIBRATIONS) for kind in table.values()]

word = st.text(st.characters(exclude_characters=":= (\\|)[?", exclude_categories=["Cs", "Z", "C"]), min_size=1, max_size=8)
value = st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"]), max_size=8)
spices = st.lists(st.text("abc ", max_size=3), min_size=1, max_size=3).map(tuple)


@given(name=word, keywords=st.dictionaries(word, value))
def test_a_spec_is_parsed_into_a_name_and_keywords(name, keywords):
    spec = ":".join([name, *(f"{key}={given_value}" for key, given_value in keywords.items())])
    assert parse(spec) == (name, keywords)


@pytest.mark.parametrize("spec", ["juice:", "juice:fruit", "juice:=pear", "juice:fruit=pear:", "juice::fruit=pear"])
def test_a_keyword_without_a_value_is_refused_with_the_expected_syntax(spec):
    with refused(InputError, "malformed-keyword", spelling=spec) as raised:
        parse(spec)
    assert "name:key=value" in str(raised.value)


def test_a_spec_builds_the_same_object_as_python():
    assert build("drink", DRINKS, "water") == Water()
    assert build("drink", DRINKS, "juice") == Juice()
    assert build("drink", DRINKS, "juice:fruit=pear:litres=3:pulp=true:served=warm") == Juice("pear", 3, True, "warm")


def test_keywords_override_defaults_and_defaults_without_a_field_are_ignored():
    assert build("drink", DRINKS, "juice:litres=3", litres=2, fruit="fig", seed=1) == Juice("fig", 3)
    assert build("drink", DRINKS, "water", litres=2) == Water()


def test_an_unknown_name_is_refused_with_the_closest_names():
    with refused(InputError, "unknown-name", kind="drink", name="jiuce", close=["juice"]):
        build("drink", DRINKS, "jiuce")
    with refused(InputError, "unknown-name", kind="drink", name="os.system", close=[]) as raised:
        build("drink", DRINKS, "os.system")
    assert "juice, water" in str(raised.value)


@pytest.mark.parametrize("key", ["litre", "name", "__class__"])
def test_an_unknown_keyword_is_refused(key):
    with refused(InputError, "unknown-name", kind="keyword of the drink juice", name=key):
        build("drink", DRINKS, f"juice:{key}=2")


@pytest.mark.parametrize("keyword", ["litres=many", "litres=1.5", "pulp=perhaps", "served=hot"])
def test_a_value_of_the_wrong_type_is_refused(keyword):
    name, _, value = keyword.partition("=")
    with refused(InputError, "invalid-value", of="juice", keyword=name, value=repr(value)):
        build("drink", DRINKS, f"juice:{keyword}")


def test_a_value_may_contain_colons():
    for name in ("encoder:./minilm", "hf:demo", "http://box:8000/v1"):
        assert parse(f"similar:k=4:encoder={name}:balanced=true") == (
            "similar",
            {"k": "4", "encoder": name, "balanced": "true"},
        )


def test_a_duplicate_keyword_is_refused():
    with refused(InputError, "duplicate-keyword", keyword="litres", spelling="juice:litres=1:litres=2"):
        build("drink", DRINKS, "juice:litres=1:litres=2")


@given(fruit=value, litres=st.integers(-9, 9), pulp=st.booleans(), served=st.sampled_from(["warm", "cold"]))
def test_recorded_settings_build_an_equal_object(fruit, litres, pulp, served):
    juice = Juice(fruit, litres, pulp, served)
    settings = settings_of(juice)
    settings.pop("spices")
    spec = ":".join([settings.pop("name"), *(f"{key}={setting}" for key, setting in settings.items())])
    assert build("drink", DRINKS, spec) == juice


@given(fruit=value, litres=st.integers(-9, 9), pulp=st.booleans(), served=st.sampled_from(["warm", "cold"]), spices=spices)
def test_a_spec_omits_defaults_and_builds_an_equal_object(fruit, litres, pulp, served, spices):
    juice = Juice(fruit, litres, pulp, served, spices)
    assert build("drink", DRINKS, spelling(juice)) == juice
    changed = {field.name for field in fields(Juice) if getattr(juice, field.name) != field.default}
    assert parse(spelling(juice))[1].keys() == changed


@pytest.mark.parametrize("kind", REGISTERED)
def test_every_registered_class_is_built_by_its_name_with_defaults(kind):
    tables = [table for table in (SELECTORS, ORDERS, COT, CALIBRATIONS) if kind in table.values()]
    assert len(tables) == 1
    built = build("thing", tables[0], kind.name)
    assert type(built) is kind
    assert spelling(built) == kind.name
    assert settings_of(built) == {"name": kind.name} | {field.name: field.default for field in fields(kind)}


NUMBERS = [
    pytest.param(kind, field.name, id=f"{kind.name}:{field.name}")
    for (kind,) in (parameter.values for parameter in REGISTERED)
    for field in fields(kind)
    if "float" in field.type
]


@pytest.mark.parametrize("number", ["inf", "-inf", "nan"])
@pytest.mark.parametrize(("kind", "keyword"), NUMBERS)
def test_a_number_that_is_not_finite_is_refused_at_construction(kind, keyword, number):
    table = next(table for table in (SELECTORS, ORDERS, COT, CALIBRATIONS) if kind in table.values())
    several = "tuple" in next(field.type for field in fields(kind) if field.name == keyword)
    with refused(InputError, "not-finite", of=kind.name, keyword=keyword):
        build("thing", table, f"{kind.name}:{keyword}={number}")
    with refused(InputError, "not-finite", of=kind.name, keyword=keyword):
        kind(**{keyword: (float(number),) if several else float(number)})


def test_a_bool_from_a_file_is_not_a_number():
    assert build_from("selector", SELECTORS, "bm25", {"balanced": True}) == SELECTORS["bm25"](balanced=True)
    with refused(InputError, "invalid-value", of="first", keyword="k", value="True"):
        build_from("selector", SELECTORS, "first", {"k": True})


def test_a_colon_in_a_regular_expression_does_not_separate_keywords():
    for regex in (r"Answer: (.*)", r"(?:a|b)", r"a:\d+"):
        assert parse(f"pattern:max_tokens=4:regex={regex}") == ("pattern", {"max_tokens": "4", "regex": regex})


@pytest.mark.parametrize(("number", "plain"), [(np.int64(3), 3), (np.float32(0.5), 0.5), (True, True), ("3", "3"), ([1], [1])])
def test_a_numpy_scalar_becomes_a_python_number(number: object, plain: object) -> None:
    assert as_python(number) == plain
    assert type(as_python(number)) is type(plain)


def test_layers_may_be_a_numpy_array_and_a_numpy_scalar_is_refused_with_a_conversion() -> None:
    assert pk.SteeringVector(np.arange(2, 4)).settings()["layers"] == pk.SteeringVector((2, 3)).settings()["layers"]
    with refused(InputError, "invalid-value", keyword="length", value="np.int64(3)") as raised:
        pk.SoftPrompt(np.int64(3))
    assert "int(...)" in str(raised.value)
