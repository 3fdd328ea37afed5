"""The errors that a user can cause and fix.

Every message has three parts: what happened, what was given, and what to try. Code that handles an error reads its type,
its `code` and its `fields`, never the wording. The command line prints the message as one paragraph and exits with code 1.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from json import JSONDecodeError
from typing import Self

from promptkit.core.distribution import install_command


class PromptkitError(Exception):
    """Base class of every error that a user can fix.

    Attributes:
        code: A stable name of the problem in kebab case, such as `unknown-label`. Messages may change; codes do not.
        fields: The values that the problem is about, by name, such as `{"label": "maybe"}`.
    """

    def __init__(self, what: str, *, code: str, got: object = None, hint: str = "", **fields: object) -> None:
        """Creates an error.

        Args:
            what: What happened, in one sentence.
            code: The stable name of the problem, in kebab case.
            got: The value that was given; the message shows it after "Given:".
            hint: What to try, in one sentence.
            fields: The values that the problem is about.
        """
        parts = [_sentence(what)]
        if got is not None:
            parts.append(f"Given: {got}.")
        if hint:
            parts.append(_sentence(hint))
        super().__init__(" ".join(parts))
        self.code = code
        self.fields = fields

    def at(self, file: object, key: str) -> Self:
        """Returns this error with the key of a YAML file that it is about in its message, and as the field `place`.

        Args:
            file: The YAML file.
            key: The full path of the key, such as `grid.shots[1]`.
        """
        self.args = (f"{file}: {key} is invalid: {self}",)
        self.fields = {"file": str(file), **self.fields, "place": key}
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self.args, self.__dict__)


class InputError(PromptkitError):
    """A name, option, keyword or argument has a value that is not allowed."""


class TaskError(PromptkitError):
    """A task, its files or its rows cannot be read or used."""


class TemplateError(PromptkitError):
    """A template cannot be found, parsed or rendered."""


class ModelError(PromptkitError):
    """A model cannot be found or loaded, or it returned something that cannot be used."""


class ServerError(ModelError):
    """A model server cannot be reached or gave an unexpected response."""


class OutOfMemory(ModelError):
    """A single request needs more memory than is available."""


class RunError(PromptkitError):
    """A run folder cannot be read, written, compared or merged."""


class CheckpointError(PromptkitError):
    """Saved parameters or a training checkpoint cannot be read, written or used."""


class TrainingError(PromptkitError):
    """Training cannot start or continue."""


class Unsupported(PromptkitError):
    """A model, engine or aligner does not support what was requested of it."""


class MissingPackage(PromptkitError):
    """An optional package is not installed."""


def unknown(
    kind: str, name: str, known: Iterable[str], *, hint: str = "", error: type[PromptkitError] = InputError, **fields: object
) -> PromptkitError:
    """Returns the error for a name that does not exist, with the closest names that do.

    Args:
        kind: What the name should name, such as `calibration`. The error has the code `unknown-name`.
        name: The name that was given.
        known: The names that exist.
        hint: What else to try.
        error: The type of the error.
        fields: More values that the problem is about.
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    listing = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Available: {', '.join(names) or 'none'}."
    message = f"Unknown {kind}: {name!r}"
    return error(message, code="unknown-name", hint=f"{listing} {hint}".strip(), kind=kind, name=name, close=close, **fields)


def no_answer(purpose: str, **fields: object) -> ModelError:
    """Returns the error for a model's reply that names no label, where a score of each label is required.

    Args:
        purpose: What needs the scores, such as `The selector rerank`.
        fields: Further fields of the error.
    """
    return ModelError(
        f"{purpose} needs a score of every label, but a reply of the model names none of them",
        code="no-answer",
        hint="Use a model with log-probabilities (see docs/engines.md), or a method that needs no scores",
        purpose=purpose,
        **fields,
    )


def needs_single_label(purpose: str, **fields: object) -> Unsupported:
    """Returns the error for something that works on one label per row, where any number of labels can apply.

    Args:
        purpose: What needs one label, such as `The selector rerank`.
        fields: Further fields of the error.
    """
    return Unsupported(
        f"{purpose} needs a task in which each row has one label, and in this one any number of labels can apply",
        code="needs-single-label",
        hint="Use it on a task without multi_label",
        purpose=purpose,
        **fields,
    )


def _sentence(text: str) -> str:
    """Returns a text with a full stop or question mark at its end."""
    return text if text.endswith((".", "?")) else f"{text}."


def _restored(kind: type[PromptkitError], args: tuple[object, ...], attributes: dict[str, object]) -> PromptkitError:
    """Restores a pickled error without extending its message again."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


def json_reason(error: Exception) -> str:
    """Returns why a text is not JSON, without the decoder's line number, which counts from the start of that text."""
    return (
        f"{error.msg.removesuffix(' at')} at column {error.colno}"
        if isinstance(error, JSONDecodeError)
        else str(error) or "too deeply nested"
    )


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message that is not blank, or the name of its type if there is none."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def missing_extra(package: str, extra: str, purpose: str) -> MissingPackage:
    """Returns the error for an optional package that is not installed, with the command that installs it."""
    return MissingPackage(
        f"{purpose} needs the package {package}, which is not installed",
        code="missing-package",
        hint=f"Install it with: {install_command(extra)}",
        package=package,
        extra=extra,
    )
