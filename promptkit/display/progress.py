"""The progress of long computations on standard error: a bar in a terminal or notebook, otherwise a line every 30 seconds."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, Literal, NoReturn, Protocol, TextIO, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

INTERVAL = 30.0
"""Seconds between two lines."""
DELAY = 1.0
"""Seconds after which a bar is shown, so that a finished run shows none."""


class Bar:
    """The progress of one computation, shown on standard error from the first update.

    Args:
        hidden: Whether nothing is shown.
        unit: What is counted.
        clock: Returns the time in seconds.
    """

    def __init__(self, *, hidden: bool = False, unit: str = "row", clock: Callable[[], float] = time.monotonic) -> None:
        self._hidden, self._unit, self._clock = hidden, unit, clock
        self._bar: tqdm[NoReturn] | None = None
        self._lines: Lines | None = None

    def __call__(self, done: int, total: int, message: str = "") -> None:
        """Shows the progress.

        Args:
            done: The number of finished units.
            total: The number of all units.
            message: A text to show after it.
        """
        if self._hidden:
            return
        if self._bar is None and self._lines is None:
            self._begin(done, total)
        if self._bar is not None:
            self._bar.set_postfix_str(message, refresh=False)
            self._bar.update(done - self._bar.n)
        elif self._lines is not None:
            self._lines.show(done, total, message)

    def _begin(self, done: int, total: int) -> None:
        if not (sys.stderr.isatty() or in_notebook()):
            self._lines = Lines(done, unit=self._unit, clock=self._clock, stream=sys.stderr)
            return
        from tqdm import tqdm

        self._bar = tqdm(total=total, initial=done, unit=self._unit, file=sys.stderr, delay=DELAY)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


class Lines:
    """Writes the progress as a line at most every `INTERVAL` seconds.

    Args:
        done: The number of units that were finished before.
        unit: What is counted.
        clock: Returns the time in seconds.
        stream: Where the lines are written.
    """

    def __init__(self, done: int, *, unit: str, clock: Callable[[], float], stream: TextIO) -> None:
        self._first, self._unit, self._clock, self._stream = done, unit, clock, stream
        self._started = self._written = clock()

    def show(self, done: int, total: int, message: str = "") -> None:
        """Writes a line if the last one was written long enough ago."""
        now = self._clock()
        if now - self._written < INTERVAL:
            return
        self._written = now
        rate = (done - self._first) / (now - self._started)
        left = f", {_duration((total - done) / rate)} left" if rate > 0 else ""
        text = f"{done}/{total} {self._unit}s, {rate:.2g} {self._unit}s/s{left}" + (f", {message}" if message else "")
        self._stream.write(f"{text}\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    """Returns a duration in the two largest units that it has, such as `2 h 5 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def in_notebook() -> bool:
    """Returns whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


Progress = Callable[[int, int], None]
"""Called with the number of finished units, such as rows, steps or runs, and the number of all units."""


class State(Protocol):
    """The state of a long computation."""

    @property
    def done(self) -> int:
        """The number of finished units."""
        ...

    @property
    def total(self) -> int:
        """The number of all units."""
        ...


S = TypeVar("S", bound=State)


class Display(ABC, Generic[S]):
    """Shows the whole state of a computation, such as the table of a study, where a function gets two numbers only."""

    @abstractmethod
    def __call__(self, state: S) -> None:
        """Shows the state."""


def state_reporter(progress: Progress | Display[S] | Literal[False]) -> Callable[[S], None]:
    """Returns the function that a computation calls with its state.

    Args:
        progress: A function of the number of finished units and of all units, or a display; False to show nothing.
    """
    if isinstance(progress, Display):
        return progress
    report = progress or _nothing
    return lambda state: report(state.done, state.total)


@contextmanager
def reporting(progress: Progress | Literal[False] | None) -> Iterator[Progress]:
    """Context manager that shows how many rows are done.

    Args:
        progress: A function to call instead of showing it; False to show nothing.
    """
    if progress is None:
        with Bar(unit="row") as bar:
            yield bar
    else:
        yield progress or _nothing


def _nothing(done: int, total: int) -> None:
    pass
