"""The vision engine: logits and features equal those of plain PyTorch and do not depend on the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import promptkit as pk
from promptkit.core.arrays import as_array
from promptkit.core.errors import InputError, OutOfMemory, Unsupported
from promptkit.core.inputs import ImageInput
from promptkit.core.interventions import InputOperation, Interventions
from promptkit.core.requests import Classify, Read, Request, Score
from promptkit.models.vision.network import Classifier
from promptkit.models.vision.operations import resize
from tests.models.vision.tiny import (
    NAMES,
    SIZE,
    Convolutional,
    convolutional,
    images,
    loaded,
    logits_of,
    normalized,
    outputs_of,
    save_resnet,
    save_vit,
    seeded,
    stacked,
)
from tests.support.errors import refused

TOLERANCE = 1e-4


def test_logits_equal_those_of_the_plain_module() -> None:
    inputs = images(5)
    with torch.no_grad():
        expected = seeded(Convolutional())(normalized(stacked(inputs)))
    model = convolutional()
    np.testing.assert_allclose(logits_of(model, inputs), expected, atol=TOLERANCE)
    assert model.notes() == ()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model._classifier.module.modules())


@pytest.mark.parametrize("save", [save_vit, save_resnet])
def test_logits_equal_those_of_transformers(tmp_path, save) -> None:
    from transformers import AutoModelForImageClassification
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    folder, inputs = save(tmp_path), images(3)
    model = pk.load(f"vision:{folder}", device="cpu")
    processor, reference = AutoImageProcessor.from_pretrained(folder), AutoModelForImageClassification.from_pretrained(folder)
    levels = (stacked(inputs) * 255).round().to(torch.uint8)
    given = [ImageInput(pixels=as_array(image.numpy() / 255)) for image in levels]
    with torch.no_grad():
        expected = reference.eval()(**processor([image.numpy() for image in levels], return_tensors="pt")).logits
    np.testing.assert_allclose(logits_of(model, given), expected, atol=TOLERANCE)
    assert model.card.class_names == NAMES


def test_the_log_normalizer_is_that_of_all_classes() -> None:
    model, (image,) = convolutional(), images(1)
    every, some = outputs_of(model, [Request(input=image, verb=Classify(classes=classes)) for classes in ((), (2, 0))])
    assert np.exp(every.logprobs.numpy()).sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(some.logits.numpy(), every.logits.numpy()[[2, 0]])
    assert some.log_normalizer == every.log_normalizer


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_results_do_not_depend_on_the_batch(batch_size) -> None:
    inputs = images(7) + images(2, size=(9, 21), seed=1)
    np.testing.assert_allclose(
        logits_of(convolutional(batch_size=batch_size), inputs), logits_of(convolutional(), inputs), atol=TOLERANCE
    )


def test_images_of_any_size_are_resized() -> None:
    small = images(1, size=(7, 30))
    resized = [ImageInput(pixels=as_array(resize(stacked(small), (SIZE, SIZE))[0].numpy()))]
    np.testing.assert_allclose(logits_of(convolutional(), small), logits_of(convolutional(), resized), atol=TOLERANCE)


def test_operations_act_before_the_normalization() -> None:
    model, (image,) = convolutional(), images(1)
    invert = Interventions(operations=(InputOperation(name="invert"),))
    (output,) = outputs_of(model, [Request(input=image, verb=Classify(), interventions=invert)])
    inverted = ImageInput(pixels=as_array(1 - image.pixels.numpy()))
    np.testing.assert_allclose(output.logits.numpy(), logits_of(model, [inverted])[0], atol=TOLERANCE)


def test_features_are_those_that_the_output_layer_reads() -> None:
    model, inputs = convolutional(), images(3)
    module = seeded(Convolutional())
    with torch.no_grad():
        blocks = module.stem(normalized(stacked(inputs)))
        first = module.blocks[0](blocks).mean((2, 3))
        pooled = module.blocks(blocks).mean((2, 3))
    assert model.card.layers == ("blocks.0", "blocks.1", "blocks.2", "pooled")
    assert model.card.widths == (6, 8, 8, 8)
    for layer, expected in ((0, first), (-1, pooled), (3, pooled)):
        outputs = outputs_of(model, [Request(input=image, verb=Read(hidden_layer=layer)) for image in inputs])
        np.testing.assert_allclose(np.stack([output.hidden.numpy() for output in outputs]), expected, atol=TOLERANCE)


def test_requests_with_the_same_image_and_operations_share_a_forward_pass(monkeypatch) -> None:
    passes = []
    forward = Classifier.logits
    monkeypatch.setattr(Classifier, "logits", lambda self, pixels: passes.append(len(pixels)) or forward(self, pixels))
    first, second = images(2)
    invert = Interventions(operations=(InputOperation(name="invert"),))
    verbs = [Classify(), Classify(classes=(1,)), Read(hidden_layer=0), Read(hidden_layer=-1)]
    requests = [Request(input=image, verb=verb) for verb in verbs for image in (first, second)]
    outputs_of(convolutional(), [*requests, Request(input=first, verb=Classify(), interventions=invert)])
    assert sorted(passes) == [1, 2]


def test_the_batches_depend_only_on_the_set_of_requests() -> None:
    model = convolutional(batch_size=2)
    requests = [Request(input=image, verb=Classify()) for image in images(5)]
    backwards = requests[::-1]
    batches = [{requests[index] for index in batch} for batch in model.batches(requests)]
    assert batches == [{backwards[index] for index in batch} for batch in model.batches(backwards)]
    assert [len(batch) for batch in batches] == [2, 2, 1]


def test_a_resumed_run_computes_the_same_batches() -> None:
    model = convolutional(batch_size=2)
    requests = [Request(input=image, verb=Classify()) for image in images(5)]
    complete = list(model.answer(requests))
    done = complete[0][0]
    assert list(model.answer(requests, done)) == complete[1:]


def test_only_classes_and_features_of_images_are_answered() -> None:
    model, (image,) = convolutional(), images(1)
    gray = ImageInput(pixels=as_array(np.zeros((1, SIZE, SIZE))))
    for verb, kind, code in (
        (Read(hidden_layer=4), InputError, "no-such-layer"),
        (Read(hidden_layer=0, mean_from=0), Unsupported, "only-pooled-features"),
        (Read(top_m=3), Unsupported, "only-pooled-features"),
        (Classify(classes=(4,)), InputError, "no-such-class"),
        (Score(continuations=((1,),)), Unsupported, "cannot-score"),
    ):
        with refused(kind, code, model=model.name):
            outputs_of(model, [Request(input=image, verb=verb)])
    with refused(InputError, "wrong-channels", model=model.name):
        outputs_of(model, [Request(input=gray, verb=Classify())])


def test_an_unknown_operation_is_refused() -> None:
    wrong = Interventions(operations=(InputOperation(name="sharpen"),))
    with refused(Unsupported, "unknown-operation", operation="sharpen"):
        outputs_of(convolutional(), [Request(input=images(1)[0], verb=Classify(), interventions=wrong)])


def test_a_closed_model_loads_again() -> None:
    model, inputs = convolutional(), images(2)
    before = logits_of(model, inputs)
    model.close()
    np.testing.assert_array_equal(logits_of(model, inputs), before)


def test_lower_precision_stays_near_float32() -> None:
    inputs = images(3)
    half, full = logits_of(convolutional(dtype="bfloat16"), inputs), logits_of(convolutional(), inputs)
    np.testing.assert_allclose(half, full, atol=0.05 * np.abs(full).max())
    assert not np.array_equal(half, full)


def test_the_identity_depends_on_everything_that_changes_results() -> None:
    def identity(module: nn.Module, **changes: object) -> object:
        return loaded(module, **changes).identity()

    base = identity(seeded(Convolutional()))
    assert base == identity(seeded(Convolutional()))
    changed = seeded(Convolutional())
    changed.stem[1].running_mean += 1
    reordered = seeded(Convolutional())
    reordered.stem[2] = nn.GELU()
    others = [
        identity(changed),
        identity(reordered),
        identity(seeded(Convolutional()), size=20),
        identity(seeded(Convolutional()), normalization=((0.5,) * 3, (0.5,) * 3)),
        identity(seeded(Convolutional()), batch_size=3),
    ]
    assert all(base != other for other in others)


@pytest.mark.parametrize("failure", ["answer", "load"])
def test_a_lack_of_memory_is_reported(monkeypatch, failure) -> None:
    def fails(*arguments: object) -> None:
        raise torch.OutOfMemoryError

    model = convolutional()
    if failure == "load":
        monkeypatch.setattr(nn.Module, "to", fails)
    else:
        model.load()
        monkeypatch.setattr(Classifier, "logits", fails)
    with refused(OutOfMemory, "out-of-memory", model=model.name, device="cpu"):
        logits_of(model, images(1))
