"""Generates train.jsonl and test.jsonl, word problems with worked reasoning, next to this file."""

import json
import operator
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SEED = 2026
TRAIN, TEST = 6, 9  # problems of each kind
SMALLEST, LARGEST = 2, 199  # result of a step
STEP = re.compile(r"\[(\w+) ([-+*/]) (\w+)\]")
OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv}
WOMEN = ["Amina", "Chloe", "Elena", "Grace", "Ines", "Kirsten", "Mei", "Olga", "Priya", "Rosa", "Tess", "Zoe"]
MEN = ["Ben", "Daniel", "Farid", "Hugo", "Jamal", "Leo", "Noah", "Pablo", "Samir", "Tom", "Viktor", "Yusuf"]


class Kind(NamedTuple):
    """A situation: templates of the question and the reasoning, and the values to fill them with."""

    question: str
    reasoning: str
    """Contains steps such as `[n * price]`, whose results are named A, B and C."""
    numbers: Mapping[str, Sequence[int]]
    """Variable -> possible numbers."""
    things: str
    """Words for {thing}, separated by spaces."""
    others: str = ""
    """Words for {other}, separated by spaces."""


# All things begin with a consonant and have a plural in -s, and all numbers are at least 2, so each template has one form.
KINDS = {
    "shopping": Kind(
        "{name} buys {n} {thing}s for {price} dollars each and a {other} for {extra} dollars. How much does {she} pay in all?",
        "The {thing}s cost [n * price] dollars. With the {other} that makes [A + extra] dollars.",
        {"n": range(3, 10), "price": range(2, 10), "extra": range(5, 30)},
        "notebook cushion candle plate towel plant",
        "lamp kettle blanket radio football",
    ),
    "change": Kind(
        "{name} pays for {n} {thing}s with a {note}-dollar note. Each {thing} costs {price} dollars. How much change is due?",
        "The {thing}s cost [n * price] dollars. The change is [note - A] dollars.",
        {"n": range(2, 10), "price": range(2, 10), "note": (20, 50, 100)},
        "burger map comic magazine poster salad",
    ),
    "sharing": Kind(
        "{name} has {all} {thing}s. {She} keeps {kept} and shares the rest equally among {friends} friends. How many {thing}s "
        "does each friend get?",
        "The friends share [all - kept] {thing}s. Each of them gets [A / friends].",
        {"all": range(15, 80), "kept": range(3, 15), "friends": range(2, 8)},
        "sweet balloon biscuit grape walnut sticker",
    ),
    "baking": Kind(
        "{name} bakes {trays} trays of {each} {thing}s and sells {sold} of the {thing}s. How many are left?",
        "There are [trays * each] {thing}s at first. After the sale [A - sold] are left.",
        {"trays": range(2, 9), "each": range(4, 13), "sold": range(5, 60)},
        "muffin roll cupcake pie scone tart",
    ),
    "bus": Kind(
        "There are {on} people on a {thing}. At the next stop {off} of them get off and {more} others get on. How many people "
        "are on the {thing} now?",
        "When some have got off there are [on - off] people. With the new ones there are [A + more].",
        {"on": range(12, 70), "off": range(3, 30), "more": range(2, 30)},
        "bus tram train ferry coach boat",
    ),
    "packing": Kind(
        "{name} packs {first} {thing}s and {second} {other}s into boxes. Each box holds {size} things. How many boxes does "
        "{she} fill?",
        "There are [first + second] things to pack. They fill [A / size] boxes.",
        {"first": range(5, 50), "second": range(5, 50), "size": range(3, 13)},
        "mug bowl plate saucer",
        "book toy shoe hat",
    ),
    "ages": Kind(
        "{name} is {age} years old. {friend} is {more} years older than {name}, and their {thing} is {times} times as old as "
        "{friend}. How old is the {thing}?",
        "{friend} is [age + more] years old. The {thing} is [A * times] years old.",
        {"age": range(5, 11), "more": range(2, 6), "times": range(3, 6)},
        "teacher neighbour coach doctor baker",
    ),
    "collection": Kind(
        "{name} has {few} {thing}s. {friend} has {more} more {thing}s than {name}. How many {thing}s do they have together?",
        "{friend} has [few + more] {thing}s. Together they have [few + A].",
        {"few": range(4, 60), "more": range(2, 30)},
        "marble shell stamp coin postcard badge",
    ),
    "harvest": Kind(
        "{name} picks {first} {thing}s on Saturday and {times} times as many on Sunday. How many {thing}s does {she} pick on "
        "the two days together?",
        "On Sunday {name} picks [first * times] {thing}s. On the two days {she} picks [first + A].",
        {"first": range(4, 30), "times": range(3, 6)},
        "pear lemon plum fig pumpkin melon",
    ),
    "walking": Kind(
        "A {thing} is {length} metres long and {width} metres wide. {name} walks round its edge {rounds} times. How many "
        "metres does {she} walk?",
        "Two sides make [length + width] metres, so one round is [A * 2] metres. In all {name} walks [B * rounds] metres.",
        {"length": range(11, 21), "width": range(3, 11), "rounds": range(3, 6)},
        "garden playground courtyard field lawn",
    ),
    "recipe": Kind(
        "A recipe for {few} people needs {cups} cups of {thing}. How many cups of {thing} does {name} need for {many} people?",
        "{many} people need the recipe [many / few] times. That takes [A * cups] cups.",
        {"few": range(2, 9), "cups": range(2, 10), "many": range(6, 41)},
        "flour rice milk sugar stock cream",
    ),
    "factory": Kind(
        "A factory has {machines} machines, and each of them makes {rate} {thing}s an hour. How many {thing}s do they make in "
        "{hours} hours?",
        "In one hour they make [machines * rate] {thing}s. In {hours} hours they make [A * hours].",
        {"machines": range(2, 8), "rate": range(2, 11), "hours": range(2, 6)},
        "chair table door kettle bicycle pump",
    ),
    "glasses": Kind(
        "There are {all} {thing}s in a hall. One in every {part} of them wears glasses. How many of the {thing}s do not wear "
        "glasses?",
        "Glasses are worn by [all / part] {thing}s. The other [all - A] do not wear any.",
        {"all": range(12, 100), "part": range(3, 9)},
        "pupil dancer singer student player guest",
    ),
    "legs": Kind(
        "There are {birds} {thing}s and {beasts} {other}s on a farm. How many legs do these animals have in all?",
        "The {thing}s have [birds * 2] legs and the {other}s have [beasts * 4] legs. In all there are [A + B] legs.",
        {"birds": range(2, 25), "beasts": range(2, 20)},
        "hen duck turkey swan",
        "cow goat horse donkey pig",
    ),
    "tickets": Kind(
        "A ticket for the {thing} costs {dear} dollars for an adult and {cheap} dollars for a child. How much more do {adults} "
        "adults pay than {children} children?",
        "The adults pay [adults * dear] dollars and the children pay [children * cheap] dollars. The difference is [A - B] "
        "dollars.",
        {"dear": range(8, 16), "cheap": range(2, 8), "adults": range(2, 9), "children": range(2, 9)},
        "zoo museum circus concert match",
    ),
    "teams": Kind(
        "{name} divides {all} {thing}s into teams of {size}. How many teams are there?",
        "The {thing}s make [all / size] teams.",
        {"all": range(12, 120), "size": range(3, 13)},
        "pupil player runner swimmer scout",
    ),
    "saving": Kind(
        "{name} earns {gets} dollars a week and spends {spends} of them. {She} saves the rest for a {thing} that costs {cost} "
        "dollars. How many weeks does that take?",
        "{name} saves [gets - spends] dollars a week. It takes [cost / A] weeks.",
        {"gets": range(9, 30), "spends": range(2, 20), "cost": range(20, 150)},
        "bicycle guitar camera tent skateboard",
    ),
    "reading": Kind(
        "{name} reads {rate} pages a day of a {thing} that has {pages} pages. {She} has been reading for {days} days. How many "
        "more days does {she} need?",
        "The whole {thing} takes [pages / rate] days. There are [A - days] days left.",
        {"rate": range(5, 21), "pages": range(40, 191, 2), "days": range(2, 15)},
        "novel biography thriller guidebook memoir",
    ),
    "cycling": Kind(
        "On their {thing}s {name} does {fast} kilometres an hour and {friend} does {slow}. How many kilometres further than "
        "{friend} does {name} get in {hours} hours?",
        "{name} gains [fast - slow] kilometres each hour. In {hours} hours that makes [A * hours] kilometres.",
        {"fast": range(15, 30), "slow": range(7, 15), "hours": range(2, 8)},
        "bicycle scooter moped tricycle",
    ),
    "washing": Kind(
        "A team of {friends} friends washes {n} {thing}s for {price} dollars each and shares the money equally. How many "
        "dollars does each friend get?",
        "The team earns [n * price] dollars. Each friend gets [A / friends] dollars.",
        {"friends": range(2, 8), "n": range(4, 20), "price": range(3, 12)},
        "car van window carpet boat",
    ),
}


def solve(reasoning: str, numbers: Mapping[str, int]) -> tuple[str, int] | None:
    """Returns the reasoning with equations and the answer; None if a result is not an integer or out of bounds."""
    values = dict(numbers)
    result = 0
    for letter, (left, sign, right) in zip("ABC", STEP.findall(reasoning), strict=False):
        first, second = (int(word) if word.isdigit() else values[word] for word in (left, right))
        result = OPERATORS[sign](first, second)
        if not SMALLEST <= result <= LARGEST or (sign == "/" and first % second):
            return None
        values[letter] = result
        reasoning = STEP.sub(f"{first} {sign} {second} = {result}", reasoning, count=1)
    return reasoning, result


def sample_problems(name: str, count: int, rng: random.Random) -> list[dict[str, str]]:
    """Samples problems of one kind with distinct numbers."""
    kind = KINDS[name]
    seen: set[tuple[int, ...]] = set()
    rows: list[dict[str, str]] = []
    while len(rows) < count:
        numbers = {key: rng.choice(choices) for key, choices in kind.numbers.items()}
        person, friend = rng.sample(WOMEN + MEN, 2)
        she = "she" if person in WOMEN else "he"
        words = {"name": person, "friend": friend, "she": she, "She": she.capitalize()}
        words |= {"thing": rng.choice(kind.things.split()), "other": rng.choice(kind.others.split() or [""])}
        solution = solve(kind.reasoning, numbers)
        if solution is None or tuple(numbers.values()) in seen:
            continue
        seen.add(tuple(numbers.values()))
        reasoning, answer = solution
        texts = {"question": kind.question.format(**numbers, **words), "reasoning": reasoning.format(**numbers, **words)}
        rows.append({**texts, "answer": str(answer), "kind": name})
    return rows


def splits() -> dict[str, list[dict[str, str]]]:
    """Returns the rows of both splits, with the kinds shuffled."""
    rng = random.Random(SEED)
    rows = {name: sample_problems(name, TRAIN + TEST, rng) for name in KINDS}
    train = [row for name in KINDS for row in rows[name][:TRAIN]]
    test = [row for name in KINDS for row in rows[name][TRAIN:]]
    rng.shuffle(train)
    rng.shuffle(test)
    return {"train": train, "test": test}


def write(folder: Path) -> None:
    """Writes both files to a folder."""
    for split, rows in splits().items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write(Path(__file__).parent)
