"""What is read of rows beside the scores of label words: source tokens' log-probabilities, and hidden states.

The source tokens are one set for all rows, so that the labeled rows are asked for their likeliest tokens first, while the
requests are made; then every row is asked for the log-probabilities of those. While a run goes, what was read stands in
lines as other answers do; when it has finished, in one file of tensors.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Any

import numpy as np

from promptkit.core.alignment import Layer, Needs, PerClass, TopTokens
from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.core.inputs import TextInput
from promptkit.core.manipulation import Ask
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Read, ReadOutput, Request
from promptkit.runs.records import Query, unpacked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats

NAME = "text "
"""How the id of the line of a name that is read as a text begins."""
SOURCES = "sources"
"""The id of the line that says what was read."""
TOKENS, NAMES = "tokens", "names"
"""Of the tensors; a layer's is `hidden -1`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """What is read of every row, and of which texts."""

    token_ids: tuple[int, ...]
    """Every token of any set, ascending."""
    names: tuple[str, ...]
    """The text of each token, no two alike."""
    sets: Mapping[TopTokens, tuple[int, ...]]
    """The places of each set's tokens among `token_ids`, the likeliest first."""
    layers: Mapping[Layer, int]
    """Each with the number that it has in the model."""
    texts: tuple[str, ...]
    """Names whose vectors are wanted."""

    @property
    def verbs(self) -> tuple[Read, ...]:
        """What is asked of each row: one request a layer, the first of which reads the tokens too."""
        layers: Sequence[int | None] = [*self.layers.values()] or ([None] if self.token_ids else [])
        return tuple(Read(token_ids=() if i else self.token_ids, hidden_layer=layer) for i, layer in enumerate(layers))

    def lines(self) -> list[dict[str, Any]]:
        """What reading the run again takes, at the head of its outputs; none where nothing is read."""
        if not (self.verbs or self.texts):
            return []
        sets = [[top.most, *top.of, list(places)] for top, places in self.sets.items()]
        told = {"token_ids": list(self.token_ids), "names": list(self.names), "sets": sets}
        return [{"id": SOURCES, **told, "layers": list(self.layers), "texts": list(self.texts)}]


def wanted(needs: Needs, ask: Ask, labeled: Mapping[PerClass, Sequence[Rendered]], words: Sequence[str]) -> ReadPlan:
    """What `needs` come to, with the labeled rows asked for their likeliest tokens; `words` stand for the labels."""
    sets = {top: _likeliest(ask, top.most, labeled[top.of]) for top in needs.tokens}
    ids = tuple(sorted({token for tokens in sets.values() for token in tokens}))
    place = {token: number for number, token in enumerate(ids)}
    names = _names(ask, ids)
    named = [names[place[token]] for top in needs.named for token in sets.get(top, ())]
    return ReadPlan(
        token_ids=ids,
        names=names,
        sets={top: tuple(place[token] for token in tokens) for top, tokens in sets.items()},
        layers={layer: _number(layer, ask.card.layers) for layer in needs.layers},
        texts=tuple(dict.fromkeys([*named, *words])) if needs.named else (),
    )


def _number(layer: Layer, deepest: int) -> int:
    """Which of a model's layers it is."""
    if isinstance(layer, float) and 0 < layer < 1:
        return max(1, round(layer * deepest))
    if isinstance(layer, float) or not -deepest - 1 <= layer <= deepest:
        raise InputError(
            f"The model has no layer {layer}",
            code="unknown-layer",
            hint=f"0 is the embedding, 1 to {deepest} are the layers, -1 is the normalized output of the last layer, and a "
            "number between 0 and 1, such as 0.5, is a fraction of the depth",
            layer=layer,
            model_layers=deepest,
        )
    return layer


def _likeliest(ask: Ask, most: int, rows: Sequence[Rendered]) -> list[int]:
    """Of the tokens that are among a row's `most` likeliest, those of greatest mean probability; elsewhere it counts as 0."""
    sums: dict[int, float] = {}
    for output in ask([Request(input=row.input, verb=Read(top_m=most)) for row in rows]):
        assert isinstance(output, ReadOutput)
        for token, logprob in output.top:
            sums[token] = sums.get(token, 0.0) + exp(logprob)
    return sorted(sums, key=lambda token: (-sums[token], token))[:most]


def _names(ask: Ask, ids: Sequence[int]) -> tuple[str, ...]:
    """Each token as it reads, or as the vocabulary spells it where several read alike."""
    tokenizer = ask.card.tokenizer
    texts = [tokenizer.decode([token]) for token in ids]
    counts = Counter(texts)
    return tuple(text if counts[text] == 1 else tokenizer.name(token) for text, token in zip(texts, ids, strict=True))


def requests(wants: ReadPlan, rows: Sequence[Query], ask: Ask) -> list[Query]:
    """The further requests of the rows, and those of the texts. Raises by the channel, whose prompts have no answer slot."""
    if wants.verbs and any(any(row.rendered.label_token_counts) for row in rows):
        raise InputError(
            "Channel prompts begin with the answer, so there is no answer slot at which hidden states or tokens can be read",
            code="channel-prompt",
            hint="Leave out --score channel, or the aligners that read hidden states or tokens",
            option="channel",
        )
    own = [
        Query(file="outputs", id=f"{number} of {row.id}", example=row.example, rendered=row.rendered, verb=verb)
        for number, verb in enumerate(wants.verbs)
        for row in rows
    ]
    return [*own, *(_text(text, ask) for text in wants.texts)]


def _text(text: str, ask: Ask) -> Query:
    """A text behind what begins every text of the model; its vector is the mean over its own tokens."""
    tokenizer = ask.card.tokenizer
    ids = (*tokenizer.bos, *tokenizer.encode(text or " ").ids)
    none: dict[str, Any] = dict.fromkeys(("pieces", "demos", "demo_labels", "dropped", "targets", "continuations"), ())
    rendered = Rendered(input=TextInput(ids=ids), rescored_tokens=0, **none)
    example = Example(id=text, inputs={})
    verb = Read(hidden_layer=-1, mean_from=len(tokenizer.bos))
    return Query(file="outputs", id=NAME + text, example=example, rendered=rendered, verb=verb)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOutputs:
    """What a run has read of its rows."""

    told: Mapping[str, Any]
    """The line of what was read, and the `rows` in the order of the tensors."""
    tensors: Mapping[str, NDArray[np.float32]]
    """`tokens`: shape (rows, tokens); `hidden LAYER`: shape (rows, d_model); `names`: shape (texts, d_model)."""

    @classmethod
    def of(cls, lines: Sequence[Mapping[str, Any]]) -> ReadOutputs:
        """From the lines of a run, in its order."""
        told, *read = lines
        named = [line for line in read if line["id"].startswith(NAME)]
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for line in read[: len(read) - len(named)]:
            groups.setdefault(line["id"].partition(" of ")[0], []).append(line)
        tensors = {NAMES: _stacked(named, "hidden")} if named else {}
        if told["token_ids"]:
            tensors[TOKENS] = _stacked(groups["0"], "logprobs")
        tensors |= {_layer(layer): _stacked(groups[str(i)], "hidden") for i, layer in enumerate(told["layers"])}
        rows = [line["id"].partition(" of ")[2] for line in groups.get("0", ())]
        return cls(told={**told, "rows": rows}, tensors=tensors)

    @classmethod
    def read(cls, content: bytes) -> ReadOutputs:
        """From a file of tensors."""
        from safetensors.numpy import load

        length = int.from_bytes(content[:8], "little")
        told = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][SOURCES])
        return cls(told=told, tensors=load(content))

    def content(self) -> bytes:
        """The file of tensors."""
        from safetensors.numpy import save

        told = json.dumps(self.told, ensure_ascii=True)
        return bytes(save({name: np.ascontiguousarray(each) for name, each in self.tensors.items()}, {SOURCES: told}))

    def sets(self) -> Iterator[tuple[TopTokens, list[int]]]:
        """Each set of tokens, and its places among all."""
        for most, rows, seed, places in self.told["sets"]:
            yield TopTokens(most, PerClass(rows, seed)), places

    def tokens(self, rows: Sequence[str]) -> dict[TopTokens, Floats]:
        """The log-probabilities of each set for the rows of these ids."""
        own = self._of(rows) if self.told["sets"] else []
        return {top: self.tensors[TOKENS][np.ix_(own, places)].astype(float) for top, places in self.sets()}

    def hidden(self, rows: Sequence[str]) -> dict[Layer, Floats]:
        """Layer -> the hidden states of the rows of these ids."""
        own = self._of(rows) if self.told["layers"] else []
        return {layer: self.tensors[_layer(layer)][own].astype(float) for layer in self.told["layers"]}

    def names(self) -> dict[TopTokens, tuple[str, ...]]:
        """The text of each token of each set."""
        return {top: tuple(self.told["names"][place] for place in places) for top, places in self.sets()}

    def name_vectors(self, named: Sequence[TopTokens]) -> dict[TopTokens, Floats]:
        """Of the tokens of each set, shape (tokens, d_model)."""
        return {top: self.vectors(names) for top, names in self.names().items() if top in named}

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Of texts that were read, shape (texts, d_model)."""
        place = {text: number for number, text in enumerate(self.told["texts"])}
        return self.tensors[NAMES][[place[text] for text in texts]].astype(float)

    def _of(self, rows: Sequence[str]) -> list[int]:
        place = {row: number for number, row in enumerate(self.told["rows"])}
        return [place[row] for row in rows]


def observed(lines: Sequence[Mapping[str, Any]]) -> ReadOutputs | None:
    """What the lines say, if there are any."""
    return ReadOutputs.of(lines) if lines else None


def stored(content: bytes | None) -> ReadOutputs | None:
    """What the file of a finished run says, if it has one."""
    return None if content is None else ReadOutputs.read(content)


def _layer(layer: Layer) -> str:
    return f"hidden {layer}"


def _stacked(lines: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float32]:
    return np.stack([unpacked(line[key]) for line in lines])
