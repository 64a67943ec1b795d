"""Exceptions: their tree, their values, pickling, and retries."""

import copy
import pickle

import pytest
from openai_codex import (
    Codex,
    CodexConfig,
    CodexError,
    CodexRpcError,
    InternalRpcError,
    InvalidParamsError,
    InvalidRequestError,
    JsonRpcError,
    MethodNotFoundError,
    ParseError,
    RetryLimitExceededError,
    ServerBusyError,
    TransportClosedError,
    errors,
    is_retryable_error,
    retry_on_overload,
)

OVERLOAD = {"errorInfo": [{"codex_error_info": "Server_Overloaded"}]}


@pytest.mark.parametrize(
    ("code", "message", "data", "cls"),
    [
        (-32700, "m", None, ParseError),
        (-32600, "m", None, InvalidRequestError),
        (-32601, "m", None, MethodNotFoundError),
        (-32602, "m", None, InvalidParamsError),
        (-32603, "m", OVERLOAD, InternalRpcError),
        (-32050, "m", OVERLOAD, ServerBusyError),
        (-32050, "m", None, CodexRpcError),
        (-32001, "m", None, ServerBusyError),
        (-32050, "Retry Limit exceeded", None, RetryLimitExceededError),
        (-32099, "too many failed attempts", OVERLOAD, RetryLimitExceededError),
        (-1, "m", None, JsonRpcError),
        (7, "m", OVERLOAD, JsonRpcError),
    ],
)
def test_codes_decide_the_class(code, message, data, cls):
    error = errors.map_jsonrpc_error(code, message, data)
    assert type(error) is cls
    assert str(error) == f"JSON-RPC error {code}: {message}"
    assert (error.code, error.message, error.data) == (code, message, data)
    assert is_retryable_error(error) == (data is OVERLOAD or isinstance(error, ServerBusyError))


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("Closed", TransportClosedError),
        # The connection was lost while a turn started.
        ("Uncertain", TransportClosedError),
        ("TurnLost", errors.TurnLostError),
        ("Timeout", errors.CodexTimeoutError),
        ("of a later client", CodexError),
    ],
)
def test_kinds_decide_the_class(kind: str, cls: type[CodexError]):
    error = errors._from_native(kind, "what happened", None, "turn/start", "t", None, False)
    assert type(error) is cls
    assert (error.kind, error.detail, error.method, error.thread_id) == (kind, "what happened", "turn/start", "t")


def every_class():
    pending, found = [CodexError], []
    while pending:
        cls = pending.pop()
        found.append(cls)
        pending.extend(cls.__subclasses__())
    return found


@pytest.mark.parametrize("cls", every_class())
def test_exceptions_pickle_and_copy(cls):
    error = cls(-1, "m", {"a": 1}) if issubclass(cls, JsonRpcError) else cls("m")
    error.method = "turn/start"
    error.detail = "more"
    for copied in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(copied) is cls
        assert (str(copied), copied.args, vars(copied)) == (str(error), error.args, vars(error))


def test_a_missing_program_is_a_file_not_found_error():
    with pytest.raises(FileNotFoundError, match="/no/such/codex") as caught:
        Codex(CodexConfig(codex_bin="/no/such/codex"))
    assert isinstance(caught.value, CodexError)


def test_a_program_that_is_not_a_runtime_fails_the_start():
    with pytest.raises(CodexError):
        Codex(CodexConfig(launch_args_override=("/bin/false",)))


def test_errors_of_the_runtime_have_their_code_and_method(codex: Codex):
    with pytest.raises(InvalidRequestError) as caught:
        codex.thread_resume("00000000-0000-0000-0000-000000000000")
    assert caught.value.code == -32600
    assert caught.value.method == "thread/resume"
    assert str(caught.value) == f"JSON-RPC error -32600: {caught.value.message}"


def test_calls_after_close_fail_and_close_does_not(codex: Codex):
    thread = codex.thread_start()
    codex.close()
    codex.close()
    for call in (codex.thread_list, lambda: thread.run("x"), lambda: codex.thread_start()):
        with pytest.raises(TransportClosedError):
            call()


def test_a_failed_turn_raises_with_what_it_produced(codex: Codex, model):
    from openai_codex.testing import ModelReply

    model.reply(ModelReply.failed("boom from mock model"))
    with pytest.raises(RuntimeError, match=r"^boom from mock model$") as caught:
        codex.thread_start().run("x")
    result = caught.value.turn
    assert result.status.value == "failed"
    assert result.error.message == "boom from mock model"
    assert result.items
    copied = pickle.loads(pickle.dumps(caught.value))
    assert copied.turn == result


class Busy:
    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "done"


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("openai_codex.retry.time.sleep", slept.append)
    return slept


def test_overloads_are_retried_with_growing_pauses(pauses):
    op = Busy(5, ServerBusyError(-32001, "busy"))
    assert retry_on_overload(op, max_attempts=6, jitter_ratio=0) == "done"
    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0]


def test_pauses_vary_by_the_jitter(pauses):
    retry_on_overload(Busy(1, ServerBusyError(-32001, "busy")), initial_delay_s=1.0, jitter_ratio=0.5)
    assert 0.5 <= pauses[0] <= 1.5


def test_the_last_error_is_raised(pauses):
    op = Busy(9, RetryLimitExceededError(-32001, "retry limit"))
    with pytest.raises(RetryLimitExceededError):
        retry_on_overload(op)
    assert op.calls == 3


@pytest.mark.parametrize("error", [ValueError("no"), InvalidRequestError(-32600, "no")])
def test_other_errors_are_raised_at_once(pauses, error):
    op = Busy(1, error)
    with pytest.raises(type(error)):
        retry_on_overload(op)
    assert (op.calls, pauses) == (1, [])


def test_no_attempt_is_an_error():
    with pytest.raises(ValueError, match="max_attempts"):
        retry_on_overload(lambda: None, max_attempts=0)
