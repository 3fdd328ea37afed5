"""Plans what is read at the answer slot in addition to scores: log-probabilities of tokens, and hidden states.

All rows share one set of tokens: the likeliest tokens of the labeled rows. The model is queried for these tokens first, while
the requests are planned, and then for their log-probabilities and the hidden states of every row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp

from promptkit.core.alignment import Layer, Needs, PerClass, TopTokens
from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.core.inputs import TextInput
from promptkit.core.manipulation import Ask
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Read, ReadOutput
from promptkit.evaluation.fit_rows import draw_per_class
from promptkit.inputs.text.encoding import encode_text
from promptkit.runs.records import Query
from promptkit.runs.row_ids import READ_PLAN, FitRow, ReadRow, TextRow
from promptkit.runs.schema import ReadPlanRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """What is read of every row, and the texts whose hidden states are read."""

    token_ids: tuple[int, ...]
    """Ids of the tokens of all sets, ascending."""
    names: tuple[str, ...]
    """The text of each token, all different."""
    sets: Mapping[TopTokens, tuple[int, ...]]
    """Set of tokens -> their positions in `token_ids`, the likeliest first."""
    layers: Mapping[Layer, int]
    """Layer, as aligners specify it -> the model's number of that layer."""
    texts: tuple[str, ...]
    """The texts whose hidden states are read."""

    @property
    def verbs(self) -> tuple[Read, ...]:
        """The read requests of each row: one for each layer; the first one also reads the tokens."""
        layers: Sequence[int | None] = [*self.layers.values()] or ([None] if self.token_ids else [])
        return tuple(Read(token_ids=() if i else self.token_ids, hidden_layer=layer) for i, layer in enumerate(layers))

    def records(self) -> list[ReadPlanRecord]:
        """Returns the record that starts `outputs.jsonl`, or nothing if nothing is read."""
        if not (self.verbs or self.texts):
            return []
        return [
            {
                "id": READ_PLAN,
                "token_ids": list(self.token_ids),
                "names": list(self.names),
                "sets": [(top.size, top.rows.rows, top.rows.seed, list(places)) for top, places in self.sets.items()],
                "layers": list(self.layers),
                "texts": list(self.texts),
            }
        ]

    def queries(self, rows: Sequence[Query], ask: Ask) -> list[Query]:
        """Returns the read requests of the rows, and the requests of the texts.

        Args:
            rows: Queries of the evaluated rows and of the further rows. Only the fit part of the latter is read.
            ask: The model.

        Raises:
            InputError: If the prompts are channel prompts, which have no answer slot (`channel-prompt`).
        """
        read_rows = [row for row in rows if row.file == "samples" or FitRow.parse(row.id)]
        if self.verbs and any(any(row.rendered.label_token_counts) for row in read_rows):
            raise InputError(
                "Channel prompts begin with the answer, so they have no answer slot for hidden states or tokens",
                code="channel-prompt",
                hint="Leave out --score channel, or the aligners that read hidden states or tokens",
                option="channel",
            )
        queries = [
            Query(
                file="outputs",
                id=str(ReadRow(number=number, record=row.id)),
                example=row.example,
                rendered=row.rendered,
                verb=verb,
            )
            for number, verb in enumerate(self.verbs)
            for row in read_rows
        ]
        return [*queries, *(_text_query(text, ask) for text in self.texts)]


def plan_reads(needs: Needs, ask: Ask, rows: Sequence[Query], label_words: Sequence[str]) -> ReadPlan:
    """Returns the plan for the needs of all calibrations, after querying the model for the likeliest tokens.

    Args:
        needs: The needs of all calibrations.
        ask: The model.
        rows: Queries of the evaluated rows and of the further rows.
        label_words: The word of each label.
    """
    sets = {top: _likeliest_tokens(ask, top.size, _labeled_rows(top.rows, rows)) for top in needs.tokens}
    token_ids = tuple(sorted({token for tokens in sets.values() for token in tokens}))
    positions = {token: position for position, token in enumerate(token_ids)}
    names = _token_names(ask, token_ids)
    named = [names[positions[token]] for top in needs.named_tokens for token in sets.get(top, ())]
    return ReadPlan(
        token_ids=token_ids,
        names=names,
        sets={top: tuple(positions[token] for token in tokens) for top, tokens in sets.items()},
        layers={layer: _layer_number(layer, ask.card.layers) for layer in needs.layers},
        texts=tuple(dict.fromkeys([*named, *label_words])) if needs.named_tokens else (),
    )


def _labeled_rows(per_class: PerClass, rows: Sequence[Query]) -> list[Rendered]:
    labeled = [(fit.row, row.gold.label, row.rendered) for row in rows if row.gold and (fit := FitRow.parse(row.id))]
    drawn = draw_per_class(per_class, [(row_id, label) for row_id, label, _ in labeled])
    return [labeled[index][2] for index in drawn]


def _likeliest_tokens(ask: Ask, most: int, rows: Sequence[Rendered]) -> list[int]:
    """The tokens of greatest mean probability, where only a row's `most` likeliest tokens have a probability above 0."""
    sums: dict[int, float] = {}
    for output in ask([row.request(Read(top_m=most)) for row in rows]):
        assert isinstance(output, ReadOutput)
        for token, logprob in output.top:
            sums[token] = sums.get(token, 0.0) + exp(logprob)
    return sorted(sums, key=lambda token: (-sums[token], token))[:most]


def _token_names(ask: Ask, ids: Sequence[int]) -> tuple[str, ...]:
    """The text of each token, or its spelling in the vocabulary if several tokens have the same text."""
    tokenizer = ask.card.tokenizer
    texts = [tokenizer.decode([token]) for token in ids]
    counts = Counter(texts)
    return tuple(text if counts[text] == 1 else tokenizer.name(token) for text, token in zip(texts, ids, strict=True))


def _layer_number(layer: Layer, layers: int) -> int:
    if isinstance(layer, float) and 0 < layer < 1:
        return max(1, round(layer * layers))
    if isinstance(layer, float) or not -layers - 1 <= layer <= layers:
        raise InputError(
            f"The model has no layer {layer}",
            code="unknown-layer",
            hint=f"0 is the embedding, 1 to {layers} are the layers, -1 is the normalized output of the last layer, and a "
            "number between 0 and 1, such as 0.5, is a fraction of the depth",
            layer=layer,
            model_layers=layers,
        )
    return layer


def _text_query(text: str, ask: Ask) -> Query:
    """Requests the mean hidden state of the text's tokens, without the tokens that the tokenizer inserts before every text."""
    tokenizer = ask.card.tokenizer
    ids = encode_text(text or " ", ask.card)
    rendered = Rendered(
        input=TextInput(ids=ids),
        pieces=(),
        demos=(),
        demo_labels=(),
        dropped=(),
        targets=(),
        continuations=(),
        rescored_tokens=0,
    )
    return Query(
        file="outputs",
        id=str(TextRow(text=text)),
        example=Example(id=text, inputs={}),
        rendered=rendered,
        verb=Read(hidden_layer=-1, mean_from=len(tokenizer.bos)),
    )
