"""promptkit: repurpose a frozen pre-trained model. y = align(model(manipulate(x))).

Names are loaded when they are first used: importing promptkit imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from promptkit.core.version import __version__ as __version__

if TYPE_CHECKING:
    from promptkit.align import calibrate as calibrate
    from promptkit.align import extract as extract
    from promptkit.align import labelmap as labelmap
    from promptkit.align import probes as probes
    from promptkit.align import vote as vote
    from promptkit.align.choices import Choices as Choices
    from promptkit.align.verbalizer import Verbalizer as Verbalizer
    from promptkit.analysis.compare import compare as compare
    from promptkit.core.errors import PromptkitError as PromptkitError
    from promptkit.core.errors import Unsupported as Unsupported
    from promptkit.evaluation.evaluate import evaluate as evaluate
    from promptkit.evaluation.evaluate import evaluate_shard as evaluate_shard
    from promptkit.evaluation.merge import merge as merge
    from promptkit.inputs.text.template import Template as Template
    from promptkit.interpret.function_vectors import HeadEffects as HeadEffects
    from promptkit.interpret.function_vectors import head_effects as head_effects
    from promptkit.interpret.steering_vectors import extract_steering_vector as extract_steering_vector
    from promptkit.manipulate import cot as cot
    from promptkit.manipulate import demos as demos
    from promptkit.manipulate import instructions as instructions
    from promptkit.manipulate import order as order
    from promptkit.manipulate.learned.loreft import LoReFT as LoReFT
    from promptkit.manipulate.learned.prefix import Prefix as Prefix
    from promptkit.manipulate.learned.soft_prompt import SoftPrompt as SoftPrompt
    from promptkit.manipulate.learned.steering import SteeringVector as SteeringVector
    from promptkit.manipulate.learned.storage import load_manipulation as load_manipulation
    from promptkit.manipulate.learned.storage import save as save_manipulation  # noqa: F401 - the name that the library is used by
    from promptkit.manipulate.learned.trigger_tokens import TriggerTokens as TriggerTokens
    from promptkit.manipulate.prompt import Prompt as Prompt
    from promptkit.models.registry import load as load
    from promptkit.predictor.predictor import Predictor as Predictor
    from promptkit.runs.shard import Shard as Shard
    from promptkit.runs.run import Run as Run
    from promptkit.searches.instructions import search as search
    from promptkit.searches.result import SearchResult as SearchResult
    from promptkit.studies.baselines import baselines as baselines
    from promptkit.studies.run import study as study
    from promptkit.studies.study import Study as Study
    from promptkit.tasks.task import Task as Task
    from promptkit.tasks.task import load_task as task  # noqa: F401 - the name that the library is used by
    from promptkit.training.conversion import convert as convert
    from promptkit.training.optimizers.adamw import AdamW as AdamW
    from promptkit.training.optimizers.cma_es import CmaEs as CmaEs
    from promptkit.training.optimizers.hotflip import HotFlip as HotFlip
    from promptkit.training.optimizers.spsa import Spsa as Spsa
    from promptkit.training.trainer import train as train

_WHERE = {
    "calibrate": ("promptkit.align.calibrate", None),
    "extract": ("promptkit.align.extract", None),
    "labelmap": ("promptkit.align.labelmap", None),
    "probes": ("promptkit.align.probes", None),
    "vote": ("promptkit.align.vote", None),
    "cot": ("promptkit.manipulate.cot", None),
    "demos": ("promptkit.manipulate.demos", None),
    "instructions": ("promptkit.manipulate.instructions", None),
    "order": ("promptkit.manipulate.order", None),
    "Choices": ("promptkit.align.choices", "Choices"),
    "Verbalizer": ("promptkit.align.verbalizer", "Verbalizer"),
    "PromptkitError": ("promptkit.core.errors", "PromptkitError"),
    "Unsupported": ("promptkit.core.errors", "Unsupported"),
    "Run": ("promptkit.runs.run", "Run"),
    "evaluate": ("promptkit.evaluation.evaluate", "evaluate"),
    "evaluate_shard": ("promptkit.evaluation.evaluate", "evaluate_shard"),
    "search": ("promptkit.searches.instructions", "search"),
    "extract_steering_vector": ("promptkit.interpret.steering_vectors", "extract_steering_vector"),
    "HeadEffects": ("promptkit.interpret.function_vectors", "HeadEffects"),
    "head_effects": ("promptkit.interpret.function_vectors", "head_effects"),
    "SearchResult": ("promptkit.searches.result", "SearchResult"),
    "merge": ("promptkit.evaluation.merge", "merge"),
    "Shard": ("promptkit.runs.shard", "Shard"),
    "Prompt": ("promptkit.manipulate.prompt", "Prompt"),
    "Prefix": ("promptkit.manipulate.learned.prefix", "Prefix"),
    "SteeringVector": ("promptkit.manipulate.learned.steering", "SteeringVector"),
    "LoReFT": ("promptkit.manipulate.learned.loreft", "LoReFT"),
    "save_manipulation": ("promptkit.manipulate.learned.storage", "save"),
    "load_manipulation": ("promptkit.manipulate.learned.storage", "load_manipulation"),
    "SoftPrompt": ("promptkit.manipulate.learned.soft_prompt", "SoftPrompt"),
    "TriggerTokens": ("promptkit.manipulate.learned.trigger_tokens", "TriggerTokens"),
    "AdamW": ("promptkit.training.optimizers.adamw", "AdamW"),
    "Spsa": ("promptkit.training.optimizers.spsa", "Spsa"),
    "CmaEs": ("promptkit.training.optimizers.cma_es", "CmaEs"),
    "HotFlip": ("promptkit.training.optimizers.hotflip", "HotFlip"),
    "load": ("promptkit.models.registry", "load"),
    "Predictor": ("promptkit.predictor.predictor", "Predictor"),
    "convert": ("promptkit.training.conversion", "convert"),
    "compare": ("promptkit.analysis.compare", "compare"),
    "study": ("promptkit.studies.run", "study"),
    "Study": ("promptkit.studies.study", "Study"),
    "baselines": ("promptkit.studies.baselines", "baselines"),
    "Task": ("promptkit.tasks.task", "Task"),
    "task": ("promptkit.tasks.task", "load_task"),
    "train": ("promptkit.training.trainer", "train"),
    "Template": ("promptkit.inputs.text.template", "Template"),
}

__all__ = [  # noqa: PLE0604 - the table is the list
    *_WHERE,
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'promptkit' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    loaded = import_module(module)
    value = loaded if attribute is None else getattr(loaded, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
