"""The threads on which blocking functions run: how many there are, and that functions may wait for functions."""

import threading
import time

import pytest
from openai_codex import Codex, Sandbox, _pool
from openai_codex._pool import Pool
from openai_codex.testing import ModelReply, ScriptedModel


@pytest.fixture
def limits(monkeypatch):
    """Sets how many functions run at once, and how many threads there may be."""

    def set_limits(at_once: int, at_most: int, patience: float) -> None:
        monkeypatch.setattr(_pool, "AT_ONCE", at_once)
        monkeypatch.setattr(_pool, "AT_MOST", at_most)
        monkeypatch.setattr(_pool, "PATIENCE", patience)

    return set_limits


class Running:
    """Calls that a test ends, and how many of them run."""

    def __init__(self, pool: Pool, count: int) -> None:
        self.started = threading.Semaphore(0)
        self.ends = [threading.Event() for _ in range(count)]
        self.order: list[int] = []
        self.finished = threading.Semaphore(0)
        for number in range(count):
            pool.submit(lambda number=number: self._call(number))

    def _call(self, number: int) -> None:
        self.order.append(number)
        self.started.release()
        assert self.ends[number].wait(60)
        self.finished.release()

    def wait_started(self, count: int) -> None:
        for _ in range(count):
            assert self.started.acquire(timeout=60)

    def end(self) -> None:
        for end in self.ends:
            end.set()
        for _ in self.ends:
            assert self.finished.acquire(timeout=60)


def test_calls_beyond_the_limit_wait_in_order(limits):
    limits(2, 2, 60)
    running = Running(Pool(), 6)
    running.wait_started(2)
    assert not running.started.acquire(blocking=False)
    for number in range(4):
        # The call that ends makes room for the next one.
        running.ends[running.order[number]].set()
        running.wait_started(1)
    running.end()
    assert sorted(running.order[:2]) == [0, 1] and running.order[2:] == [2, 3, 4, 5]


def test_the_number_of_threads_grows_up_to_its_limit_while_no_call_returns(limits):
    limits(2, 5, 0.01)
    pool = Pool()
    running = Running(pool, 9)
    running.wait_started(5)
    assert pool._threads == 5 and not pool._has_reserve
    running.end()


def test_the_number_of_threads_does_not_grow_while_calls_return(limits):
    limits(1, 9, 60)
    pool = Pool()
    running = Running(pool, 50)
    running.end()
    assert running.order == list(range(50))
    assert pool._threads <= 1


def test_no_thread_is_left_when_nothing_runs(limits):
    limits(2, 5, 0.01)
    pool = Pool()
    threads: set[threading.Thread] = set()
    running = Running(pool, 9)
    running.wait_started(5)
    threads = {thread for thread in threading.enumerate() if thread.name == "codex-handler"}
    assert len(threads) >= 5
    running.end()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert pool._threads == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_call_that_raises_is_reported_and_the_next_one_runs(limits, monkeypatch):
    limits(1, 1, 60)
    reported = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_type))
    pool, ran = Pool(), threading.Event()
    pool.submit(lambda: print(1 / 0))
    pool.submit(ran.set)
    assert ran.wait(60)
    assert reported == [ZeroDivisionError]


def test_a_system_without_threads_is_an_error_and_runs_no_call_later(monkeypatch):
    def fail(_target) -> None:
        raise RuntimeError("can't start new thread")

    pool, ran = Pool(), []
    with monkeypatch.context() as patch:
        patch.setattr(_pool, "_start", fail)
        with pytest.raises(RuntimeError, match="new thread"):
            pool.submit(lambda: ran.append(1))
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(60) and ran == []


def test_a_function_may_run_a_turn_that_needs_the_same_function(limits, model: ScriptedModel, tmp_path):
    limits(1, 3, 0.05)
    inner_marker, outer_marker = tmp_path / "inner", tmp_path / "outer"
    model.reply_to("outer", ModelReply().escalate(f"touch {outer_marker}", "outer"))
    model.reply_to("inner", ModelReply().escalate(f"touch {inner_marker}", "inner"))
    model.fallback("done")

    def decide(request) -> str:
        if request.reason == "outer":
            codex.thread_start(sandbox=Sandbox.read_only).run("inner")
        return "accept"

    with Codex(model.config(), on_command_approval=decide) as codex:
        assert codex.thread_start(sandbox=Sandbox.read_only).run("outer").final_response == "done"
    assert inner_marker.exists() and outer_marker.exists()


def test_functions_may_wait_for_each_other(limits, codex: Codex, model: ScriptedModel, tmp_path):
    limits(1, 3, 0.05)
    together = threading.Barrier(3, timeout=60)

    def decide(_request) -> str:
        together.wait()
        return "accept"

    threads = [codex.thread_start(sandbox=Sandbox.read_only, on_command_approval=decide) for _ in range(3)]
    for number in range(3):
        model.reply_to(f"x{number}", ModelReply().escalate(f"touch {tmp_path / str(number)}", "the test wants it"))
    model.fallback("done")
    turns = [thread.turn(f"x{number}") for number, thread in enumerate(threads)]
    assert [turn.run().final_response for turn in turns] == ["done"] * 3
    assert all((tmp_path / str(number)).exists() for number in range(3))


def test_a_function_is_not_called_for_a_turn_that_has_ended(limits, codex: Codex, model: ScriptedModel, tmp_path):
    limits(1, 1, 60)
    received, first, go_on = [], threading.Event(), threading.Event()

    def decide(request) -> str:
        received.append(request.reason)
        first.set()
        assert go_on.wait(60)
        return "decline"

    model.reply_to("one", ModelReply().escalate(f"touch {tmp_path / 'one'}", "one"))
    model.reply_to("two", ModelReply().escalate(f"touch {tmp_path / 'two'}", "two"))
    model.fallback("done")
    one, two = (codex.thread_start(sandbox=Sandbox.read_only, on_command_approval=decide) for _ in range(2))
    running = one.turn("one")
    assert first.wait(60)
    waiting = two.turn("two")
    while not _pool._pool._calls:
        time.sleep(0.005)
    waiting.interrupt()
    assert waiting.run().status.value == "interrupted"
    go_on.set()
    assert running.run().final_response == "done"
    # A later request comes after the one that has ended.
    model.reply_to("three", ModelReply().escalate(f"touch {tmp_path / 'three'}", "three"))
    assert one.run("three").final_response == "done"
    assert received == ["one", "three"]
