"""Writes the rows of the tasks question_types, word_ratings and word_levels, which are made of other data.

question_types: messages of one to three TREC questions (Li and Roth 2002); the labels of a message are the types of its
questions. Messages of the train split are made of train questions, and those of the test split of test questions, each of which
is used in at most one message of its split.

word_ratings, word_levels: the words of the VADER lexicon (Hutto and Gilbert 2014, MIT license; `pip install vaderSentiment`),
each rated by ten people from -4 to 4. The rating is their mean; the level is by their median: from -4 to -2, above -2 and below
0, from 0 to below 2, from 2 to 4. Only words of at least three lower-case letters are used.

    python benchmarks/task_kinds/rows.py --data DIR --into FOLDER    # then: promptkit eval question_types --data FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median

TYPES = ("abbreviation", "thing", "description", "person", "place", "number")
"""The coarse types of TREC, in the order of their ids."""
LEVELS = ("very negative", "slightly negative", "slightly positive", "very positive")
MESSAGES = {"train": 1500, "test": 240}
WORDS = {"train": 2000, "test": 500}

Rows = Sequence[Mapping[str, object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with trec/, as for promptkit eval trec --data")
    parser.add_argument("--into", type=Path, required=True, help="folder of the new rows")
    options = parser.parse_args()
    write_rows(options.data, options.into)


def write_rows(data: Path, into: Path) -> None:
    """Writes the rows of all tasks into FOLDER/TASK/SPLIT.jsonl.

    Args:
        data: The folder with the TREC questions.
        into: The folder of the new rows.
    """
    for split, count in MESSAGES.items():
        _write(into / "question_types" / f"{split}.jsonl", messages(_read(data / "trec" / f"{split}.jsonl"), count))
    words = rated_words()
    for split, first in (("train", 0), ("test", WORDS["train"])):
        part = words[first : first + WORDS[split]]
        _write(into / "words" / f"{split}.jsonl", part)


def messages(questions: Rows, count: int) -> list[dict[str, object]]:
    """Returns messages of one to three questions, with the types that occur in them.

    Args:
        questions: The questions, with their `text` and `coarse_label`.
        count: The largest number of messages.
    """
    rng = random.Random(0)
    left = sorted(questions, key=lambda row: _hash(str(row["text"])))
    found: list[dict[str, object]] = []
    while len(found) < count and len(left) >= 3:
        chosen, left = left[: (size := rng.choice((1, 2, 2, 3)))], left[size:]
        types = {int(str(row["coarse_label"])) for row in chosen}
        text = " ".join(str(row["text"]).replace(" ?", "?").replace(" ,", ",") for row in chosen)
        found.append({"text": text, "types": [TYPES[number] for number in sorted(types)]})
    return found


def rated_words() -> list[dict[str, object]]:
    """Returns the rated words, in the order of a hash."""
    spec = find_spec("vaderSentiment")
    if spec is None or spec.origin is None:
        raise SystemExit("Install the lexicon first: pip install vaderSentiment")
    lines = (Path(spec.origin).parent / "vader_lexicon.txt").read_text("utf-8").splitlines()
    words = []
    for line in lines:
        word, _, _, ratings = line.split("\t")
        if re.fullmatch("[a-z]{3,}", word):
            numbers = json.loads(ratings)
            words.append({"word": word, "rating": round(mean(numbers), 2), "level": level(median(numbers))})
    return sorted(words, key=lambda row: _hash(str(row["word"])))


def level(rating: float) -> str:
    """Returns the level of a median rating."""
    return LEVELS[0 if rating <= -2 else 1 if rating < 0 else 2 if rating < 2 else 3]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _write(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


if __name__ == "__main__":
    main()
