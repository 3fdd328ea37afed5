"""The configuration of a prediction, which `promptkit predict` and a YAML file spell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from promptkit.config.model import EngineOptions
from promptkit.config.options import Options
from promptkit.config.values import Metavar, RelativePath

if TYPE_CHECKING:
    from promptkit.display.progress import Progress
    from promptkit.predictor.stream import PredictedFile


class PredictConfig(EngineOptions, Options):
    """The configuration of a prediction.

    `PredictConfig(predictor="tickets-predictor", data="new.csv", threshold=0.8).run("answers.csv")` equals
    `promptkit predict tickets-predictor new.csv --threshold 0.8 -o answers.csv`.
    """

    noun = "prediction"
    example = "It names a saved predictor and a data file"

    predictor: Annotated[str, RelativePath(), Metavar("PREDICTOR")]
    """Folder of a saved predictor, or hf://USER/NAME."""
    data: Annotated[Path, Metavar("DATA")]
    """File with the rows to predict (csv, tsv, jsonl, parquet, xlsx)."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Abstain from rows whose likeliest label has a probability below this."""
    risk: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Abstain from as few rows as possible, so that at most this share of the answers is wrong, with 95% confidence."""
    sets: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Give each row a set of labels that contains the right one with at least this probability."""
    prefix: str = ""
    """Begin the names of the new columns with this, for a file that has such columns already."""
    model: str | None = None
    """Model, if it is elsewhere than when the predictor was saved; it must have the same weights."""

    def run(self, output: str | Path, *, progress: Progress | Literal[False] | None = None) -> PredictedFile:
        """Predicts the rows and writes them to a file, as `promptkit predict` does.

        Args:
            output: A .csv, .tsv or .jsonl file.
            progress: Called with the number of predicted rows and the number of all rows.

        Raises:
            PromptkitError: The predictor cannot be loaded, or the file cannot be read or written.
        """
        from promptkit.core.paths import expanded
        from promptkit.predictor.stream import predict_file
        from promptkit.tuning.baseline_predictor import load_predictor

        predictor = load_predictor(self.predictor, model=self.model, settings=self.own_settings())
        rule = predictor.rule(threshold=self.threshold, risk=self.risk, sets=self.sets)
        source, target = expanded(self.data), expanded(output)
        return predict_file(predictor, source, target, rule=rule, prefix=self.prefix, progress=progress)
