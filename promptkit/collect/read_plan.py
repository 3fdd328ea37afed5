"""Plans what is read in addition to answers: for every row, and for inputs that needs define."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from promptkit.collect.read_records import READ_PLAN, ReadQuery, input_read_id, known_record, row_read_id
from promptkit.core.caller import by_caller
from promptkit.core.errors import InputError
from promptkit.core.need_context import InputRead, KnownRead, NeedContext, PromptedRow, ReadField, RowRead
from promptkit.core.needs import Needs, by_kind
from promptkit.core.records import InputTensorRecord, ReadPlanRecord, ReadRecord, record_head
from promptkit.core.requests import Read, Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRequest:
    """A read request for every row. It combines the reads of several needs where one request can answer them."""

    verb: Verb
    tensors: Mapping[str, RowRead]
    """The stored parts of the answer, by the name of the tensor."""

    @property
    def widths(self) -> dict[ReadField, int]:
        """The number of stored values of each field."""
        return {read.field: read.width for read in self.tensors.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """What is read for every row, and for inputs that needs define."""

    metadata: Mapping[str, object]
    """The metadata of needs, which is stored with the tensors."""
    rows: Sequence[RowRequest]
    inputs: Sequence[InputRead]
    known: Sequence[KnownRead]

    def records(self, fold: int = 0) -> list[ReadPlanRecord | ReadRecord]:
        """Returns the first records of `outputs.jsonl`: the plan and the numbers known already; empty without reads.

        Args:
            fold: The fold that the plan is for, from 1; 0 without folds.
        """
        if not (self.rows or self.inputs or self.known):
            return []
        plan: ReadPlanRecord = {
            **record_head(READ_PLAN, fold),
            "metadata": {**self.metadata},
            "rows": {
                tensor: (number, read.field)
                for number, request in enumerate(self.rows)
                for tensor, read in request.tensors.items()
            },
            "inputs": self._input_tensors(),
        }
        return [plan, *(known_record(read, fold) for read in self.known)]

    def _input_tensors(self) -> dict[str, InputTensorRecord]:
        tensors: dict[str, InputTensorRecord] = {}
        reads: list[InputRead | KnownRead] = [*self.inputs, *self.known]
        for read in reads:
            tensors.setdefault(read.tensor, InputTensorRecord(field=read.field, keys=[]))["keys"].append(read.key)
        return tensors

    def queries(self, rows: Sequence[PromptedRow], fold: int = 0) -> list[ReadQuery]:
        """Returns the read requests for rows, and for inputs that needs define.

        Args:
            rows: The evaluated rows and the selected rows of the fit part.
            fold: The fold, from 1; 0 without folds.

        Raises:
            InputError: If the prompts are channel prompts, which have no answer slot (`channel-prompt`).
        """
        if self.rows and any(any(row.rendered.label_token_counts) for row in rows):
            raise InputError(
                "Channel prompts begin with the answer, so they have no answer slot for hidden states or tokens",
                code="channel-prompt",
                hint="Leave out "
                + by_caller(command="--score channel", python="channel=True")
                + ", or the aligners that read hidden states or tokens",
                option="channel",
            )
        of_rows = [
            ReadQuery(
                id=row_read_id(number, row.id),
                request=row.rendered.request(request.verb),
                widths=request.widths,
                fold=fold,
                row=row.id,
            )
            for number, request in enumerate(self.rows)
            for row in rows
        ]
        of_inputs = [
            ReadQuery(id=input_read_id(read.tensor, read.key), request=read.request, widths={read.field: read.width}, fold=fold)
            for read in self.inputs
        ]
        return [*of_rows, *of_inputs]


def plan_reads(needs: Needs, need_context: NeedContext) -> ReadPlan:
    """Returns what is read for the needs of all calibrations. Needs may query the model while they plan it.

    Args:
        needs: The needs of all calibrations.
        need_context: What the needs may use.
    """
    rows: list[RowRead] = []
    inputs: list[InputRead] = []
    known: list[KnownRead] = []
    for kind, group in by_kind(needs):
        reads = kind.reads(group, need_context)
        need_context = need_context.with_metadata(reads.metadata)
        rows += reads.rows
        inputs += reads.inputs
        known += reads.known
    return ReadPlan(metadata=need_context.metadata, rows=combine_reads(rows), inputs=inputs, known=known)


def combine_reads(reads: Sequence[RowRead]) -> list[RowRequest]:
    """Returns as few requests as the reads allow; one request reads tokens and one hidden state."""
    requests: list[RowRequest] = []
    for read in reads:
        for place, request in enumerate(requests):
            verb = combined_verb(request.verb, read.verb)
            if verb is not None:
                requests[place] = RowRequest(verb=verb, tensors={**request.tensors, read.tensor: read})
                break
        else:
            requests.append(RowRequest(verb=read.verb, tensors={read.tensor: read}))
    return requests


def combined_verb(one: Verb, other: Verb) -> Verb | None:
    """Returns a request that answers both requests, or None if no single request can."""
    if one == other:
        return one
    if not (isinstance(one, Read) and isinstance(other, Read)):
        return None
    tokens, states = (one, other) if one.hidden_layer is None else (other, one)
    only_tokens = tokens.hidden_layer is None and tokens.mean_from is None
    only_state = not (states.token_ids or states.top_m) and states.mean_from is None
    return replace(tokens, hidden_layer=states.hidden_layer) if only_tokens and only_state else None
