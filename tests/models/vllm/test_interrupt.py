"""Ctrl-C is heard, whatever swallows it, and leaves no process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from promptkit.models.vllm import interrupt as interrupting
from promptkit.models.vllm.capture import captured
from promptkit.models.vllm.interrupt import interruptible


def test_an_interrupt_that_is_swallowed_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupting, "REPEAT_AFTER", 0.01)
    handler = signal.getsignal(signal.SIGINT)
    swallowed = 0

    def work() -> None:
        nonlocal swallowed
        while True:
            try:
                if not swallowed:
                    os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
            except KeyboardInterrupt:
                swallowed += 1
                if swallowed == 3:
                    raise

    with pytest.raises(KeyboardInterrupt), interruptible():
        work()
    assert swallowed == 3
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_error_that_an_interrupt_has_caused_is_the_interrupt() -> None:
    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            raise RuntimeError("the engine is dead") from None

    with pytest.raises(KeyboardInterrupt), interruptible():
        work()


def test_processes_begun_inside_end_with_an_exception_and_others_do_not() -> None:
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


def test_what_is_written_while_it_is_captured_is_kept_and_its_reason_found(capfd: pytest.CaptureFixture[str]) -> None:
    with captured() as log:
        os.write(1, b"INFO loading\nValueError: no room for 4 tokens\n")
        os.write(2, b"RuntimeError: Engine core initialization failed. See root cause above.\n")
        assert log.last_error() == "no room for 4 tokens"
    os.write(1, b"seen")
    assert capfd.readouterr() == ("seen", "")
