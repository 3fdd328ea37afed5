"""The kinds of language models that the hf engine runs: what each supports, how it reads prompts, and its forward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.core.capabilities import Capabilities
from promptkit.core.errors import ModelError, PromptkitError, Unsupported, first_line
from promptkit.core.formats import EncoderDecoderFormat, InputFormat, MaskedFormat
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.hf.architecture import architecture_of
from promptkit.models.hf.causal_lm import CausalLM
from promptkit.models.hf.checked import CheckResults
from promptkit.models.hf.encoder_decoder import EncoderDecoderForward
from promptkit.models.hf.encoder_decoder_lm import EncoderDecoderLM
from promptkit.models.hf.forward import Forward
from promptkit.models.hf.masked import MaskedForward
from promptkit.models.hf.masked_lm import MaskedLM
from promptkit.models.hf.padded import PaddedForward
from promptkit.models.hf.verify import check_probe, packed_forward
from promptkit.models.registry import ENGINES

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Warn = Callable[[str], None]
"""Receives the reason why a model runs without shared prefixes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardOptions:
    """The settings of a forward pass."""

    packed: bool
    """Whether to share prefixes if the model supports it."""
    batch_tokens: int
    """Maximum number of tokens that are computed at once."""
    warn: Warn
    """Called if prefixes should be shared and the model does not support it."""
    checks: CheckResults
    """The known results of checks of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend(ABC):
    """One kind of language model. Nothing is loaded."""

    config: PretrainedConfig
    """The configuration of the model, of all its modalities."""
    name: str
    """The name of the model in error messages."""

    description: ClassVar[str]
    """The kind of the model, with an article."""
    auto: ClassVar[str]
    """The class of transformers that loads the weights with the output head."""
    capabilities: ClassVar[Capabilities]
    """What models of this kind support."""

    @abstractmethod
    def format(self, tokenizer: TransformersTokenizer) -> InputFormat | None:
        """Returns how the model reads prompts; None for a causal model."""

    @abstractmethod
    def forward(self, model: PreTrainedModel, tokenizer: TransformersTokenizer, options: ForwardOptions) -> Forward:
        """Returns the forward pass of a loaded model.

        Args:
            model: The model of transformers.
            tokenizer: Its tokenizer.
            options: The settings of the forward pass.
        """

    @property
    def layers(self) -> int:
        """The number of layers whose hidden states are read at the answer."""
        return int(self.config.get_text_config().num_hidden_layers)

    def longest(self, tokenizer: TransformersTokenizer) -> int | None:
        """Returns an upper bound of the context length that the configuration does not state; None if there is none."""
        return None


class CausalBackend(Backend):
    """A causal language model, whose answers continue the prompt."""

    description = "a causal language model"
    auto = "AutoModelForCausalLM"
    capabilities = ENGINES["hf"].kinds["causal"]

    def format(self, tokenizer: TransformersTokenizer) -> None:
        """Returns None."""
        return

    def forward(self, model: PreTrainedModel, tokenizer: TransformersTokenizer, options: ForwardOptions) -> Forward:
        """Returns a packed forward pass if the model supports it, and otherwise a padded one."""
        causal_lm = CausalLM(model)
        options.checks.passes("causal", lambda: check_probe(causal_lm, self.name))
        if options.packed:
            forward, reason = packed_forward(causal_lm, batch_tokens=options.batch_tokens, checks=options.checks)
            if forward is not None:
                return forward
            options.warn(reason)
        return PaddedForward(causal_lm, batch_tokens=options.batch_tokens)


class EncoderDecoderBackend(Backend):
    """An encoder-decoder, whose answers are separate texts, as in T5 and BART."""

    description = EncoderDecoderFormat.description
    auto = "AutoModelForSeq2SeqLM"
    capabilities = ENGINES["hf"].kinds["encoder-decoder"]

    def format(self, tokenizer: TransformersTokenizer) -> EncoderDecoderFormat:
        """Returns the tokens that the tokenizer adds after prompts and targets."""
        return EncoderDecoderFormat(after=tokenizer.frame[1], target_end=tokenizer.target_frame[1])

    def forward(self, model: PreTrainedModel, tokenizer: TransformersTokenizer, options: ForwardOptions) -> Forward:
        """Returns the forward pass of encoder and decoder."""
        encoder_decoder = EncoderDecoderLM(model, target_start=tokenizer.target_frame[0])
        forward = EncoderDecoderForward(encoder_decoder, padding=tokenizer.padding, batch_tokens=options.batch_tokens)
        options.checks.passes("split", lambda: forward.check_split(self.name))
        forward.check_padding(options.checks)
        return forward

    @property
    def layers(self) -> int:
        """The number of layers of the decoder."""
        named = (getattr(self.config, name, None) for name in ("num_decoder_layers", "decoder_layers"))
        stated = next((number for number in named if number is not None), None)
        return int(self.config.get_text_config(decoder=True).num_hidden_layers if stated is None else stated)


class MaskedBackend(Backend):
    """A masked language model, which predicts an answer's tokens at a mask in the prompt, as in BERT and RoBERTa."""

    description = MaskedFormat.description
    auto = "AutoModelForMaskedLM"
    capabilities = ENGINES["hf"].kinds["masked"]

    def format(self, tokenizer: TransformersTokenizer) -> MaskedFormat:
        """Returns the mask token, and the tokens that the tokenizer adds after prompts."""
        return MaskedFormat(after=tokenizer.frame[1], mask=self._mask(tokenizer), takes_space=tokenizer.mask_takes_space)

    def forward(self, model: PreTrainedModel, tokenizer: TransformersTokenizer, options: ForwardOptions) -> Forward:
        """Returns the forward pass that scores tokens at masks."""
        forward = MaskedForward(
            MaskedLM(model), mask=self._mask(tokenizer), padding=tokenizer.padding, batch_tokens=options.batch_tokens
        )
        forward.check_padding(options.checks)
        return forward

    def longest(self, tokenizer: TransformersTokenizer) -> int | None:
        """Returns the number of positions in the position embedding that tokens can use."""
        import torch
        import transformers

        auto = getattr(transformers, self.auto)
        try:
            with torch.device("meta"):
                model = auto.from_config(self.config, trust_remote_code=False)
        except Exception:  # the code of a model may fail in any way; loading the weights reports it
            return None
        tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
        offsets = [
            table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
            for table in tables
            if isinstance(table, torch.nn.Embedding)
        ]
        return min(offsets, default=None)

    def _mask(self, tokenizer: TransformersTokenizer) -> int:
        if tokenizer.mask is None:
            raise ModelError(
                f"The tokenizer of the masked language model {self.name} has no mask token",
                code="no-mask-token",
                hint="Set mask_token in its tokenizer_config.json",
                model=self.name,
            )
        return tokenizer.mask


BACKENDS: dict[str, type[Backend]] = {
    "causal": CausalBackend,
    "encoder-decoder": EncoderDecoderBackend,
    "masked": MaskedBackend,
}
"""The backend of each kind of architecture."""


@contextmanager
def reporting_failure(name: str, on: str = "a few tokens") -> Iterator[None]:
    """Context manager that reports a failure of the model's code while a small input checks it at load.

    Args:
        name: The model as the user named it.
        on: The input.

    Raises:
        ModelError: If the code fails with an error that is neither promptkit's nor a lack of memory.
    """
    import torch

    try:
        yield
    except (PromptkitError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        reason = first_line(error)
        raise ModelError(
            f"The model {name} fails on {on}: {reason}",
            code="failing-model",
            hint="Check its config.json, or use another model",
            model=name,
            reason=reason,
        ) from error


def backend_of(config: PretrainedConfig, name: str) -> Backend:
    """Returns the backend for the configuration of a model, of all its modalities.

    Raises:
        Unsupported: If it is not the configuration of a language model.
    """
    architecture = architecture_of(config)
    if architecture.kind not in BACKENDS:
        raise Unsupported(
            f"The model {name} is not a language model that can be scored: {architecture.reason}",
            code="unsupported-architecture",
            hint="Use a causal, an encoder-decoder or a masked language model",
            model=name,
            model_type=str(config.model_type),
        )
    return BACKENDS[architecture.kind](config=config, name=name)
