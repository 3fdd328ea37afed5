"""Turns the records of a run into the data that calibrations are fitted on.

A fit sees model outputs and labels of the fit part. It never sees the label of an evaluated row, or of a row with the same
inputs as a row of the evaluated split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.chain import Chain
from promptkit.core.alignment import ContentFreeInput, FitData, Outputs, PerClass
from promptkit.core.answer_record import is_answered
from promptkit.core.errors import no_answer
from promptkit.core.output_reader import OutputReader
from promptkit.evaluation.fit_rows import draw_per_class
from promptkit.evaluation.read_outputs import ReadOutputs
from promptkit.evaluation.requirements import combine_needs
from promptkit.runs.row_ids import ContentFreeRow, FitRow, Premise, context_of
from promptkit.runs.schema import RowRecord, answered

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

UNKNOWN = -1
"""Replaces the index of a label that no fit may see, and of a context that no evaluated row has."""


def collect_fit_data(
    chains: Sequence[Chain], samples: Sequence[RowRecord], support: Sequence[RowRecord], read_outputs: ReadOutputs | None = None
) -> tuple[FitData, Integers]:
    """Returns the data for fitting calibrations if all rows have the same labels.

    Args:
        chains: The branches of the run.
        samples: Records of the evaluated rows that have an answer. Their labels are not read.
        support: Records of the further rows. Rows of the fit part without an answer are left out.
        read_outputs: What was read at the answer slots, if anything.

    Returns:
        The data, and the index of the label of each row of the fit part, shape (rows,); -1 for an unknown label.

    Raises:
        ModelError: A content-free input or the premise has no answer.
    """
    reader, needs = chains[0].reader, combine_needs(chains)
    labels = reader.labels
    by_id = {record["id"]: record for record in support}
    contexts = {context: index for index, context in enumerate(dict.fromkeys(context_of(row["demos"]) for row in samples))}
    fit = [record for record in answered(support) if FitRow.parse(record["id"])]
    data = FitData(
        items=_outputs(samples, reader, contexts, read_outputs),
        rows=_outputs(fit, reader, contexts, read_outputs),
        content_free={content: _content_free(content, contexts, by_id, reader) for content in needs.content_free},
        premise=reader.label_scores(_all_answered([by_id[str(Premise())]])) if needs.premise else None,
        labels=labels,
        labeled={per_class: _labeled(per_class, fit) for per_class in needs.labeled},
        names={} if read_outputs is None else read_outputs.names(),
        name_vectors={} if read_outputs is None else read_outputs.name_vectors(needs.named_tokens),
        label_vectors=read_outputs.vectors([*reader.label_words().values()]) if read_outputs and needs.named_tokens else None,
    )
    return data, np.array([labels.index(record["gold"]) if "gold" in record else UNKNOWN for record in fit], int)


def collect_choice_data(reader: OutputReader, samples: Sequence[RowRecord], support: Sequence[RowRecord]) -> FitData:
    """Returns the data for fitting calibrations if rows have different choices.

    Args:
        reader: The first aligner.
        samples: Records of the evaluated rows that have an answer.
        support: Records of the further rows: the premise of each row, or none.

    Raises:
        ModelError: A premise has no answer.
    """
    by_id = {record["id"]: record for record in support}
    premises = _all_answered([by_id[str(Premise(row=row["id"]))] for row in samples]) if support else []
    return FitData(
        items=Outputs(logprobs=reader.label_scores(samples), context=np.arange(len(samples))),
        rows=Outputs(logprobs=np.empty((0, 0)), context=np.empty(0, int)),
        content_free={},
        premise=reader.label_scores(premises) if premises else None,
    )


def _outputs(
    records: Sequence[RowRecord], reader: OutputReader, contexts: Mapping[str, int], read_outputs: ReadOutputs | None
) -> Outputs:
    ids = [record["id"] for record in records]
    return Outputs(
        logprobs=reader.label_scores(records),
        context=np.array([contexts.get(context_of(record["demos"]), UNKNOWN) for record in records], int),
        tokens={} if read_outputs is None else read_outputs.tokens(ids),
        hidden={} if read_outputs is None else read_outputs.hidden(ids),
    )


def _content_free(
    content: ContentFreeInput, contexts: Mapping[str, int], by_id: Mapping[str, RowRecord], reader: OutputReader
) -> Floats:
    records = [by_id[str(ContentFreeRow(content=content, context=context))] for context in contexts]
    return reader.label_scores(_all_answered(records))


def _all_answered(records: Sequence[RowRecord]) -> Sequence[RowRecord]:
    """Returns the records of content-free inputs or premises; raises ModelError if one of them has no answer."""
    for record in records:
        if not is_answered(record):
            raise no_answer("A calibration on content-free inputs or a premise", row=record["id"])
    return records


def _labeled(per_class: PerClass, fit: Sequence[RowRecord]) -> Integers:
    """Indices of the drawn rows among the rows of the fit part."""
    known = [(index, record) for index, record in enumerate(fit) if "gold" in record]
    pairs = [(record["id"].removeprefix(FitRow.PREFIX), record["gold"]) for _, record in known]
    return np.array([known[place][0] for place in draw_per_class(per_class, pairs)], int)
