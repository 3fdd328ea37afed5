"""Writes questions about countries, each with all correct answers, from the facts of the package countryinfo (MIT).

The task `countries` reads them. A question about borders accepts every neighbor, and every country has several accepted names,
such as Norway, Norge and Kingdom of Norway. Abbreviations of up to three letters are left out. The questions about half of the
countries, chosen by the hash of their names, are the train split.

    pip install countryinfo==1.0.1 && python benchmarks/question_answering/data.py FOLDER
    promptkit eval countries --data FOLDER --model demo --shots 8 --metric token_f1,squad_exact_match,chrf,rougeL
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any


def facts() -> dict[str, dict[str, Any]]:
    """Three-letter code -> the facts of a country."""
    folder = files("countryinfo").joinpath("data")
    paths = sorted((file for file in folder.iterdir() if file.name.endswith(".json")), key=str)
    read = (json.loads(path.read_text("utf-8")) for path in paths)
    return {country["ISO"]["alpha3"]: country for country in read if isinstance(country, dict) and "ISO" in country}


def names(country: Mapping[str, Any]) -> list[str]:
    """The name of a country, and its other spellings."""
    spellings = [country["name"], *country.get("altSpellings", ()), country.get("nativeName") or ""]
    return [name for name in dict.fromkeys(spellings) if len(name) > 3 or name == country["name"]]


def questions(countries: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the name of a country and a question about it."""
    capitals = [country.get("capital") for country in countries.values()]
    for country in countries.values():
        capital = country.get("capital")
        if capital and capitals.count(capital) == 1:
            yield country["name"], {"question": f"Which country has the capital {capital}?", "answer": names(country)}
        neighbors = [countries[code] for code in country.get("borders", ()) if code in countries]
        if neighbors:
            answers = [neighbor["name"] for neighbor in neighbors]
            answers += [name for neighbor in neighbors for name in names(neighbor)]
            question = f"Which country has a border with {country['name']}?"
            yield country["name"], {"question": question, "answer": list(dict.fromkeys(answers))}


def main(folder: Path) -> None:
    """Writes the two splits."""
    (folder / "countries").mkdir(parents=True, exist_ok=True)
    splits: dict[str, list[str]] = {"train": [], "test": []}
    for name, row in questions(facts()):
        split = "test" if int(sha256(name.encode()).hexdigest(), 16) % 2 else "train"
        splits[split].append(json.dumps(row, ensure_ascii=False))
    for split, lines in splits.items():
        (folder / "countries" / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
        print(f"{split}: {len(lines)} questions")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
