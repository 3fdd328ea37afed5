"""Logits as functions of trained operations: values, gradients, frozen weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from promptkit.core.arrays import as_array
from promptkit.core.errors import TrainingError, Unsupported
from promptkit.core.interventions import InputOperation, Interventions
from promptkit.core.model import Differentiable, DifferentiableTextScores
from promptkit.core.requests import Classify, Read, Request
from promptkit.models.vision.operations import resize
from tests.models.vision.tiny import SIZE, Convolutional, convolutional, images, normalized, outputs_of, seeded, stacked
from tests.support.errors import refused

SHAPE = (3, SIZE, SIZE)


def watermark(values: torch.Tensor) -> InputOperation[torch.Tensor]:
    return InputOperation(name="add", arrays=(values,))


def requests(count: int, *names: str, classes: tuple[int, ...] = ()) -> list[Request]:
    """Images with operations: a watermark of zeros, and others without parameters."""
    arrays = {"add": (as_array(np.zeros(SHAPE)),)}
    operations = tuple(InputOperation(name=name, arrays=arrays.get(name, ())) for name in names)
    given = Interventions(operations=operations)
    return [Request(input=image, verb=Classify(classes=classes), interventions=given) for image in images(count, size=(9, 12))]


def noise() -> torch.Tensor:
    return (torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) - 0.5) / 4


@pytest.mark.parametrize("names", [("add",), ("invert", "add"), ("add", "invert")])
def test_scores_are_the_logits_of_requests_with_the_operations(names) -> None:
    model, asked = convolutional(), requests(3, *names)
    values = noise()
    scores = model.differentiable(asked).scores([2, 0, 0], Interventions(operations=(watermark(values),)))
    trained = {"add": (as_array(values.numpy()),)}
    operations = tuple(InputOperation(name=name, arrays=trained.get(name, ())) for name in names)
    given = Interventions(operations=operations)
    expected = outputs_of(model, [Request(input=request.input, verb=request.verb, interventions=given) for request in asked])
    for [logits], index in zip(scores, [2, 0, 0], strict=True):
        np.testing.assert_allclose(logits, expected[index].logits.numpy(), atol=1e-4)


def test_scores_are_those_of_the_requested_classes() -> None:
    model = convolutional()
    given = Interventions(operations=(watermark(noise()),))
    every = model.differentiable(requests(2, "add")).scores([0, 1], given)
    some = model.differentiable(requests(2, "add", classes=(3, 1))).scores([0, 1], given)
    assert all(torch.equal(all_classes[[3, 1]], chosen) for [all_classes], [chosen] in zip(every, some, strict=True))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_gradient_is_that_of_plain_pytorch(checkpointing) -> None:
    asked, module = requests(3, "add"), seeded(Convolutional())
    forward = convolutional().differentiable(asked, checkpointing=checkpointing)
    values, expected = noise().requires_grad_(), noise().requires_grad_()
    sum(logits[0] for [logits] in forward.scores([0, 1, 2], Interventions(operations=(watermark(values),)))).backward()
    pixels = (resize(stacked([request.image for request in asked]), (SIZE, SIZE)) + expected).clamp(0, 1)
    module(normalized(pixels))[:, 0].sum().backward()
    torch.testing.assert_close(values.grad, expected.grad, rtol=1e-4, atol=1e-5)


def test_only_the_operations_have_gradients_and_the_weights_are_frozen() -> None:
    model = convolutional()
    forward = model.differentiable(requests(2, "add"))
    before = forward.weights_hash()
    values = noise().requires_grad_()
    sum(logits.sum() for [logits] in forward.scores([0, 1], Interventions(operations=(watermark(values),)))).backward()
    assert values.grad is not None
    assert all(weight.grad is None for weight in model._classifier.module.parameters())
    assert forward.weights_hash() == before
    next(model._classifier.module.parameters()).data.add_(1)
    assert forward.weights_hash() != before


def test_the_batches_cover_the_chosen_requests() -> None:
    forward = convolutional(batch_size=2).differentiable(requests(5, "add"))
    assert forward.batches([4, 0, 3, 3, 1]) == [[4, 0], [3, 3], [1]]
    assert forward.costs == [1] * 5


def test_the_protocol_is_that_of_scores_without_embeddings() -> None:
    model = convolutional()
    assert isinstance(model, Differentiable)
    assert not isinstance(model.differentiable(requests(1, "add")), DifferentiableTextScores)


def test_operations_that_do_not_fit_are_refused() -> None:
    model = convolutional()
    forward = model.differentiable(requests(1, "add"))
    with refused(TrainingError, "wrong-operations", expected=("add",), operations=()):
        forward.scores([0], Interventions())
    with refused(TrainingError, "mixed-interventions", requests=2):
        model.differentiable([*requests(1, "add"), *requests(1, "invert")])
    with refused(Unsupported, "only-logits", requests=1):
        model.differentiable([Request(input=images(1)[0], verb=Read(hidden_layer=0))])


def test_lower_precision_stays_near_float32() -> None:
    given = Interventions(operations=(watermark(noise()),))
    [[half]], [[full]] = (
        convolutional().differentiable(requests(1, "add"), precision=precision).scores([0], given)
        for precision in ("bf16", "no")
    )
    np.testing.assert_allclose(half.float(), full, atol=0.05 * float(full.abs().max()))
