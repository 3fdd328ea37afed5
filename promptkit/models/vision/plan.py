"""Plans which images are computed together: a pure function of the requests and the maximum size of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.core.arrays import Array
from promptkit.core.inputs import ImageInput
from promptkit.core.interventions import Interventions
from promptkit.core.requests import Request


def plan_batches(requests: Sequence[Request], batch_size: int) -> list[tuple[int, ...]]:
    """Returns the indices of the requests of each batch.

    Requests of a batch have the same interventions. Requests with the same image are in the same batch and share its forward
    pass. The order of the requests does not matter.

    Args:
        requests: The requests of the run.
        batch_size: The maximum number of different images of a batch.
    """
    groups: dict[Interventions[Array], dict[ImageInput, list[int]]] = {}
    for index, request in enumerate(requests):
        groups.setdefault(request.interventions, {}).setdefault(request.image, []).append(index)
    batches = []
    for interventions in sorted(groups, key=repr):
        images = groups[interventions]
        order = sorted(images, key=ImageInput.fingerprint)
        for start in range(0, len(order), batch_size):
            batches.append(tuple(index for image in order[start : start + batch_size] for index in images[image]))
    return batches
