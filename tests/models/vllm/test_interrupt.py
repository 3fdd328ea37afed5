"""Tests that Ctrl-C always ends the work and leaves no process, and of the captured log."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from promptkit.models.vllm import interrupt as interrupt_module
from promptkit.models.vllm.capture import captured
from promptkit.models.vllm.interrupt import interruptible


def test_an_interrupt_that_is_ignored_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt_module, "REPEAT_AFTER", 0.01)
    handler = signal.getsignal(signal.SIGINT)
    ignored = 0

    def work() -> None:
        nonlocal ignored
        while True:
            try:
                if not ignored:
                    os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
            except KeyboardInterrupt:
                ignored += 1
                if ignored == 3:
                    raise

    with pytest.raises(KeyboardInterrupt), interruptible():
        work()
    assert ignored == 3
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_error_caused_by_an_interrupt_becomes_the_interrupt() -> None:
    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            raise RuntimeError("the engine is dead") from None

    with pytest.raises(KeyboardInterrupt), interruptible():
        work()


def test_an_exception_ends_the_processes_started_inside_and_no_others() -> None:
    context = multiprocessing.get_context("spawn")
    before, inside = (context.Process(target=time.sleep, args=(60,)) for _ in range(2))
    before.start()

    def work() -> None:
        inside.start()
        raise RuntimeError

    with pytest.raises(RuntimeError), interruptible():
        work()
    assert not inside.is_alive()
    assert before.is_alive()
    before.kill()
    before.join()


def test_captured_output_is_stored_and_its_last_error_found(capfd: pytest.CaptureFixture[str]) -> None:
    with captured() as log:
        os.write(1, b"INFO loading\nValueError: no room for 4 tokens\n")
        os.write(2, b"RuntimeError: Engine core initialization failed. See root cause above.\n")
        assert log.last_error() == "no room for 4 tokens"
    os.write(1, b"after")
    assert capfd.readouterr() == ("after", "")
