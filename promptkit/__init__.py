"""promptkit: repurpose a frozen pre-trained model. y = align(model(manipulate(x))).

Names are loaded when they are first used: importing promptkit imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from promptkit.align import calibrate as calibrate
    from promptkit.align import extract as extract
    from promptkit.align import labelmap as labelmap
    from promptkit.align import learned as learned
    from promptkit.align import vote as vote
    from promptkit.align.choices import Choices as Choices
    from promptkit.align.verbalizer import Verbalizer as Verbalizer
    from promptkit.comparison import compare as compare
    from promptkit.conversion import convert as convert
    from promptkit.errors import PromptkitError as PromptkitError
    from promptkit.errors import Unsupported as Unsupported
    from promptkit.evaluation import evaluate as evaluate
    from promptkit.evaluation import evaluate_shard as evaluate_shard
    from promptkit.extraction import extract_shift as extract_shift
    from promptkit.found import Found as Found
    from promptkit.function_vectors import HeadEffects as HeadEffects
    from promptkit.function_vectors import head_effects as head_effects
    from promptkit.manipulate import cot as cot
    from promptkit.manipulate import demos as demos
    from promptkit.manipulate import instructions as instructions
    from promptkit.manipulate import order as order
    from promptkit.manipulate.low_rank import LowRankEdit as LowRankEdit
    from promptkit.manipulate.prefix import DeepPrefix as DeepPrefix
    from promptkit.manipulate.prompt import Prompt as Prompt
    from promptkit.manipulate.saved import load_manipulation as load_manipulation
    from promptkit.manipulate.saved import save as save_manipulation  # noqa: F401 - the name that the library is used by
    from promptkit.manipulate.shift import HiddenShift as HiddenShift
    from promptkit.manipulate.soft import SoftPrompt as SoftPrompt
    from promptkit.manipulate.tokens import TriggerTokens as TriggerTokens
    from promptkit.merging import merge as merge
    from promptkit.models.base import load as load
    from promptkit.optimize.adamw import AdamW as AdamW
    from promptkit.optimize.cma_es import CmaEs as CmaEs
    from promptkit.optimize.hotflip import HotFlip as HotFlip
    from promptkit.optimize.spsa import Spsa as Spsa
    from promptkit.predictor import Predictor as Predictor
    from promptkit.run import Run as Run
    from promptkit.searching import search as search
    from promptkit.store import Shard as Shard
    from promptkit.studies.controls import controls as controls
    from promptkit.studies.running import study as study
    from promptkit.studies.study import Study as Study
    from promptkit.tasks import Task as Task
    from promptkit.tasks import load_task as task  # noqa: F401 - the name that the library is used by
    from promptkit.template import Template as Template
    from promptkit.training import train as train

_WHERE = {
    "calibrate": ("promptkit.align.calibrate", None),
    "extract": ("promptkit.align.extract", None),
    "labelmap": ("promptkit.align.labelmap", None),
    "learned": ("promptkit.align.learned", None),
    "vote": ("promptkit.align.vote", None),
    "cot": ("promptkit.manipulate.cot", None),
    "demos": ("promptkit.manipulate.demos", None),
    "instructions": ("promptkit.manipulate.instructions", None),
    "order": ("promptkit.manipulate.order", None),
    "Choices": ("promptkit.align.choices", "Choices"),
    "Verbalizer": ("promptkit.align.verbalizer", "Verbalizer"),
    "PromptkitError": ("promptkit.errors", "PromptkitError"),
    "Unsupported": ("promptkit.errors", "Unsupported"),
    "Run": ("promptkit.run", "Run"),
    "evaluate": ("promptkit.evaluation", "evaluate"),
    "evaluate_shard": ("promptkit.evaluation", "evaluate_shard"),
    "search": ("promptkit.searching", "search"),
    "extract_shift": ("promptkit.extraction", "extract_shift"),
    "HeadEffects": ("promptkit.function_vectors", "HeadEffects"),
    "head_effects": ("promptkit.function_vectors", "head_effects"),
    "Found": ("promptkit.found", "Found"),
    "merge": ("promptkit.merging", "merge"),
    "Shard": ("promptkit.store", "Shard"),
    "Prompt": ("promptkit.manipulate.prompt", "Prompt"),
    "DeepPrefix": ("promptkit.manipulate.prefix", "DeepPrefix"),
    "HiddenShift": ("promptkit.manipulate.shift", "HiddenShift"),
    "LowRankEdit": ("promptkit.manipulate.low_rank", "LowRankEdit"),
    "save_manipulation": ("promptkit.manipulate.saved", "save"),
    "load_manipulation": ("promptkit.manipulate.saved", "load_manipulation"),
    "SoftPrompt": ("promptkit.manipulate.soft", "SoftPrompt"),
    "TriggerTokens": ("promptkit.manipulate.tokens", "TriggerTokens"),
    "AdamW": ("promptkit.optimize.adamw", "AdamW"),
    "Spsa": ("promptkit.optimize.spsa", "Spsa"),
    "CmaEs": ("promptkit.optimize.cma_es", "CmaEs"),
    "HotFlip": ("promptkit.optimize.hotflip", "HotFlip"),
    "load": ("promptkit.models.base", "load"),
    "Predictor": ("promptkit.predictor", "Predictor"),
    "convert": ("promptkit.conversion", "convert"),
    "compare": ("promptkit.comparison", "compare"),
    "study": ("promptkit.studies.running", "study"),
    "Study": ("promptkit.studies.study", "Study"),
    "controls": ("promptkit.studies.controls", "controls"),
    "Task": ("promptkit.tasks", "Task"),
    "task": ("promptkit.tasks", "load_task"),
    "train": ("promptkit.training", "train"),
    "Template": ("promptkit.template", "Template"),
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
