"""Repurposes frozen pre-trained models: y = align(model(manipulate(x))).

Every name is imported on first use, so that `import promptkit` is fast and imports neither torch nor NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from promptkit.core.version import __version__ as __version__

if TYPE_CHECKING:
    from promptkit import metrics as metrics
    from promptkit.align import aligners as aligners
    from promptkit.align import calibrate as calibrate
    from promptkit.align import extract as extract
    from promptkit.align import labelmap as labelmap
    from promptkit.align import probes as probes
    from promptkit.align import vote as vote
    from promptkit.align.choices import Choices as Choices
    from promptkit.align.classes import Classes as Classes
    from promptkit.align.multi_label import MultiLabel as MultiLabel
    from promptkit.align.verbalizer import Verbalizer as Verbalizer
    from promptkit.analysis.compare import compare as compare
    from promptkit.analysis.image_views import view_images as view_images
    from promptkit.analysis.label_maps import label_maps as label_maps
    from promptkit.config.evaluation import EvalConfig as EvalConfig
    from promptkit.config.predict import PredictConfig as PredictConfig
    from promptkit.config.rerun import rerun as rerun
    from promptkit.config.study import StudyConfig as StudyConfig
    from promptkit.config.train import TrainConfig as TrainConfig
    from promptkit.config.tune import TuneConfig as TuneConfig
    from promptkit.config.tune_data import tune as tune
    from promptkit.core.errors import CheckpointError as CheckpointError
    from promptkit.core.errors import InputError as InputError
    from promptkit.core.errors import MissingPackage as MissingPackage
    from promptkit.core.errors import ModelError as ModelError
    from promptkit.core.errors import OutOfMemory as OutOfMemory
    from promptkit.core.errors import PromptkitError as PromptkitError
    from promptkit.core.errors import RunError as RunError
    from promptkit.core.errors import ServerError as ServerError
    from promptkit.core.errors import TaskError as TaskError
    from promptkit.core.errors import TemplateError as TemplateError
    from promptkit.core.errors import TrainingError as TrainingError
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
    from promptkit.manipulate import modifiers as manipulations  # noqa: F401 - a public name
    from promptkit.manipulate import order as order
    from promptkit.manipulate.image.affine import Affine as Affine
    from promptkit.manipulate.image.autocontrast import Autocontrast as Autocontrast
    from promptkit.manipulate.image.border import Border as Border
    from promptkit.manipulate.image.filter import Filter as Filter
    from promptkit.manipulate.image.invert import Invert as Invert
    from promptkit.manipulate.image.mask import SampleMask as SampleMask
    from promptkit.manipulate.image.place import Place as Place
    from promptkit.manipulate.image.processor import ImageProcessor as ImageProcessor
    from promptkit.manipulate.image.watermark import Watermark as Watermark
    from promptkit.manipulate.learned.conversion import convert as convert
    from promptkit.manipulate.learned.loreft import LoReFT as LoReFT
    from promptkit.manipulate.learned.prefix import Prefix as Prefix
    from promptkit.manipulate.learned.soft_prompt import SoftPrompt as SoftPrompt
    from promptkit.manipulate.learned.steering import SteeringVector as SteeringVector
    from promptkit.manipulate.learned.storage import load_manipulation as load_manipulation
    from promptkit.manipulate.learned.storage import save as save_manipulation  # noqa: F401 - a public name
    from promptkit.manipulate.learned.trigger_tokens import TriggerTokens as TriggerTokens
    from promptkit.manipulate.prompt import Prompt as Prompt
    from promptkit.models import registry as engines  # noqa: F401 - a public name
    from promptkit.models.registry import load as load
    from promptkit.models.vision import operations as operations
    from promptkit.models.vision.module import load_module as load_module
    from promptkit.predictor.decide.drift import Drift as Drift
    from promptkit.predictor.out_of_fold import OutOfFold as OutOfFold
    from promptkit.predictor.predictions import Prediction as Prediction
    from promptkit.predictor.predictions import Predictions as Predictions
    from promptkit.predictor.predictor import Predictor as Predictor
    from promptkit.predictor.sklearn_classifier import PromptClassifier as PromptClassifier
    from promptkit.reports.report import report as report
    from promptkit.runs.run import Run as Run
    from promptkit.runs.shard import Shard as Shard
    from promptkit.searches.instructions import search as search
    from promptkit.searches.result import SearchResult as SearchResult
    from promptkit.studies.baselines import baselines as baselines
    from promptkit.studies.learning_curve import learning_curve as learning_curve
    from promptkit.studies.run import study as study
    from promptkit.studies.study import Study as Study
    from promptkit.tasks.images.from_arrays import image_task as image_task
    from promptkit.tasks.load import task as task
    from promptkit.tasks.task import Task as Task
    from promptkit.training import optimizers as optimizers
    from promptkit.training.config import TrainingConfig as TrainingConfig
    from promptkit.training.optimizers.adamw import AdamW as AdamW
    from promptkit.training.optimizers.cma_es import CmaEs as CmaEs
    from promptkit.training.optimizers.hotflip import HotFlip as HotFlip
    from promptkit.training.optimizers.spsa import Spsa as Spsa
    from promptkit.training.result import TrainingResult as TrainingResult
    from promptkit.training.trainer import train as train
    from promptkit.tuning.result import Tuned as Tuned

_MODULES = {
    "calibrate": "promptkit.align.calibrate",
    "aligners": "promptkit.align.aligners",
    "cot": "promptkit.manipulate.cot",
    "demos": "promptkit.manipulate.demos",
    "engines": "promptkit.models.registry",
    "extract": "promptkit.align.extract",
    "instructions": "promptkit.manipulate.instructions",
    "labelmap": "promptkit.align.labelmap",
    "manipulations": "promptkit.manipulate.modifiers",
    "metrics": "promptkit.metrics",
    "operations": "promptkit.models.vision.operations",
    "optimizers": "promptkit.training.optimizers",
    "order": "promptkit.manipulate.order",
    "probes": "promptkit.align.probes",
    "vote": "promptkit.align.vote",
}
"""Public modules: name -> module."""
_ATTRIBUTES = {
    "Affine": ("promptkit.manipulate.image.affine", "Affine"),
    "Autocontrast": ("promptkit.manipulate.image.autocontrast", "Autocontrast"),
    "Border": ("promptkit.manipulate.image.border", "Border"),
    "Filter": ("promptkit.manipulate.image.filter", "Filter"),
    "Invert": ("promptkit.manipulate.image.invert", "Invert"),
    "SampleMask": ("promptkit.manipulate.image.mask", "SampleMask"),
    "Place": ("promptkit.manipulate.image.place", "Place"),
    "Watermark": ("promptkit.manipulate.image.watermark", "Watermark"),
    "AdamW": ("promptkit.training.optimizers.adamw", "AdamW"),
    "baselines": ("promptkit.studies.baselines", "baselines"),
    "Choices": ("promptkit.align.choices", "Choices"),
    "Classes": ("promptkit.align.classes", "Classes"),
    "CmaEs": ("promptkit.training.optimizers.cma_es", "CmaEs"),
    "compare": ("promptkit.analysis.compare", "compare"),
    "convert": ("promptkit.manipulate.learned.conversion", "convert"),
    "Drift": ("promptkit.predictor.decide.drift", "Drift"),
    "EvalConfig": ("promptkit.config.evaluation", "EvalConfig"),
    "evaluate": ("promptkit.evaluation.evaluate", "evaluate"),
    "evaluate_shard": ("promptkit.evaluation.evaluate", "evaluate_shard"),
    "extract_steering_vector": ("promptkit.interpret.steering_vectors", "extract_steering_vector"),
    "head_effects": ("promptkit.interpret.function_vectors", "head_effects"),
    "HeadEffects": ("promptkit.interpret.function_vectors", "HeadEffects"),
    "HotFlip": ("promptkit.training.optimizers.hotflip", "HotFlip"),
    "ImageProcessor": ("promptkit.manipulate.image.processor", "ImageProcessor"),
    "image_task": ("promptkit.tasks.images.from_arrays", "image_task"),
    "label_maps": ("promptkit.analysis.label_maps", "label_maps"),
    "learning_curve": ("promptkit.studies.learning_curve", "learning_curve"),
    "load": ("promptkit.models.registry", "load"),
    "MultiLabel": ("promptkit.align.multi_label", "MultiLabel"),
    "load_manipulation": ("promptkit.manipulate.learned.storage", "load_manipulation"),
    "load_module": ("promptkit.models.vision.module", "load_module"),
    "LoReFT": ("promptkit.manipulate.learned.loreft", "LoReFT"),
    "merge": ("promptkit.evaluation.merge", "merge"),
    "OutOfFold": ("promptkit.predictor.out_of_fold", "OutOfFold"),
    "PredictConfig": ("promptkit.config.predict", "PredictConfig"),
    "Prediction": ("promptkit.predictor.predictions", "Prediction"),
    "Predictions": ("promptkit.predictor.predictions", "Predictions"),
    "Predictor": ("promptkit.predictor.predictor", "Predictor"),
    "Prefix": ("promptkit.manipulate.learned.prefix", "Prefix"),
    "Prompt": ("promptkit.manipulate.prompt", "Prompt"),
    "PromptClassifier": ("promptkit.predictor.sklearn_classifier", "PromptClassifier"),
    "PromptkitError": ("promptkit.core.errors", "PromptkitError"),
    "InputError": ("promptkit.core.errors", "InputError"),
    "TaskError": ("promptkit.core.errors", "TaskError"),
    "TemplateError": ("promptkit.core.errors", "TemplateError"),
    "ModelError": ("promptkit.core.errors", "ModelError"),
    "ServerError": ("promptkit.core.errors", "ServerError"),
    "OutOfMemory": ("promptkit.core.errors", "OutOfMemory"),
    "RunError": ("promptkit.core.errors", "RunError"),
    "CheckpointError": ("promptkit.core.errors", "CheckpointError"),
    "TrainingError": ("promptkit.core.errors", "TrainingError"),
    "MissingPackage": ("promptkit.core.errors", "MissingPackage"),
    "report": ("promptkit.reports.report", "report"),
    "rerun": ("promptkit.config.rerun", "rerun"),
    "Run": ("promptkit.runs.run", "Run"),
    "save_manipulation": ("promptkit.manipulate.learned.storage", "save"),
    "search": ("promptkit.searches.instructions", "search"),
    "SearchResult": ("promptkit.searches.result", "SearchResult"),
    "Shard": ("promptkit.runs.shard", "Shard"),
    "SoftPrompt": ("promptkit.manipulate.learned.soft_prompt", "SoftPrompt"),
    "Spsa": ("promptkit.training.optimizers.spsa", "Spsa"),
    "SteeringVector": ("promptkit.manipulate.learned.steering", "SteeringVector"),
    "study": ("promptkit.studies.run", "study"),
    "StudyConfig": ("promptkit.config.study", "StudyConfig"),
    "Study": ("promptkit.studies.study", "Study"),
    "Task": ("promptkit.tasks.task", "Task"),
    "task": ("promptkit.tasks.load", "task"),
    "Template": ("promptkit.inputs.text.template", "Template"),
    "TrainConfig": ("promptkit.config.train", "TrainConfig"),
    "train": ("promptkit.training.trainer", "train"),
    "TrainingConfig": ("promptkit.training.config", "TrainingConfig"),
    "TrainingResult": ("promptkit.training.result", "TrainingResult"),
    "tune": ("promptkit.config.tune_data", "tune"),
    "TuneConfig": ("promptkit.config.tune", "TuneConfig"),
    "Tuned": ("promptkit.tuning.result", "Tuned"),
    "TriggerTokens": ("promptkit.manipulate.learned.trigger_tokens", "TriggerTokens"),
    "Unsupported": ("promptkit.core.errors", "Unsupported"),
    "view_images": ("promptkit.analysis.image_views", "view_images"),
    "Verbalizer": ("promptkit.align.verbalizer", "Verbalizer"),
}
"""Public classes and functions: name -> module and attribute."""

__all__ = [  # noqa: PLE0604 - the tables are the list
    *_MODULES,
    *_ATTRIBUTES,
    "__version__",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        value: object = import_module(_MODULES[name])
    elif name in _ATTRIBUTES:
        module, attribute = _ATTRIBUTES[name]
        value = getattr(import_module(module), attribute)
    else:
        raise AttributeError(f"module 'promptkit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
