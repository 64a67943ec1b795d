"""Clients that lose the connection to a server that runs by itself."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from openai_codex import Codex, CodexConfig
from openai_codex.client import ConnectionPolicy, Endpoint
from openai_codex.errors import InvalidInputError, TransportClosedError
from openai_codex.events import ConnectionLost, Reconnected, Reconnecting
from openai_codex.testing import ModelReply, ScriptedModel
from test_endpoints import serving


class Relay:
    """Passes connections on to a server, until it cuts them."""

    def __init__(self, server: str):
        self.server = server.removeprefix("ws://").split(":")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.sockets: list[socket.socket] = []
        self.cuts_next_request = False
        self.threads = [self.run(self.accept)]

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self, target: Any, *arguments: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments)
        thread.start()
        return thread

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection((self.server[0], int(self.server[1])))
                self.sockets += [client, server]
                self.threads += [self.run(self.requests, client, server), self.run(self.copy, server, client)]

    def requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self.cuts_next_request:
                    self.cuts_next_request = False
                    self.shut(client)
                    break
                server.sendall(data)
        self.shut(server)

    def copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        self.shut(target)

    @staticmethod
    def shut(end: socket.socket) -> None:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Cuts the connections of now. The client connects again at once: a connection that begins meanwhile stays."""
        for end in tuple(self.sockets):
            self.shut(end)

    def close(self) -> None:
        self.shut(self.listener)
        self.threads[0].join()
        self.cut()
        for thread in self.threads:
            thread.join()
        for end in (self.listener, *self.sockets):
            end.close()


@contextmanager
def relayed(model: ScriptedModel) -> Iterator[Relay]:
    with serving(model) as url:
        relay = Relay(url)
        try:
            yield relay
        finally:
            relay.close()


def half_then_cut(model: ScriptedModel, codex: Codex, relay: Relay) -> Any:
    """A turn that has written half of its message when the connection is cut, and the rest of its events."""
    gate = model.gate()
    model.reply(ModelReply().delta("one ").delta("two ").pause(gate).delta("three ").delta("four"))
    events = codex.events()
    turn = codex.thread_start().turn("x")
    gate.wait_reached()
    stream = turn.stream()
    for event in stream:
        if event.method == "item/agentMessage/delta" and event.payload.delta == "two ":
            break
    relay.cut()
    lost = next(event for event in events if isinstance(event, ConnectionLost))
    again = next(event for event in events if isinstance(event, Reconnecting))
    assert (again.attempt, again.pause, again.reason) == (1, 0.0, lost.reason)
    assert next(event for event in events if isinstance(event, Reconnected)).attempt == 1
    gate.release()
    deltas = [event.payload for event in stream if event.method == "item/agentMessage/delta"]
    return turn, deltas


def test_a_stream_goes_on_after_the_connection_was_lost(model: ScriptedModel):
    with relayed(model) as relay, Codex(CodexConfig(connect=Endpoint.websocket(relay.url))) as codex:
        turn, deltas = half_then_cut(model, codex, relay)
        assert "".join(delta.delta for delta in deltas) == "three four"
        assert turn.run().final_response == "one two three four"


def test_a_live_stream_goes_on_with_the_next_delta(model: ScriptedModel):
    policy = ConnectionPolicy(gap_policy="live")
    with relayed(model) as relay:
        config = CodexConfig(connect=Endpoint.websocket(relay.url), connection_policy=policy)
        with Codex(config) as codex:
            turn, deltas = half_then_cut(model, codex, relay)
            assert [delta.delta for delta in deltas] == ["three ", "four"]
            assert turn.run().final_response == "one two three four"


def test_a_client_that_never_connects_again_fails_its_calls(model: ScriptedModel):
    policy = ConnectionPolicy(max_attempts=0)
    with relayed(model) as relay:
        config = CodexConfig(connect=Endpoint.websocket(relay.url), connection_policy=policy)
        with Codex(config) as codex:
            gate = model.gate()
            model.reply(ModelReply().delta("one ").pause(gate))
            turn = codex.thread_start().turn("x")
            gate.wait_reached()
            relay.cut()
            with pytest.raises(TransportClosedError) as caught:
                turn.run()
            assert caught.value.turn is not None and caught.value.turn.id == turn.id
            with pytest.raises(TransportClosedError):
                codex.models()


def test_a_start_without_a_response_is_uncertain_and_can_be_looked_up(model: ScriptedModel):
    policy = ConnectionPolicy(start_grace=0)
    with relayed(model) as relay:
        config = CodexConfig(connect=Endpoint.websocket(relay.url), connection_policy=policy)
        with Codex(config) as codex:
            model.fallback("hello")
            thread = codex.thread_start()
            thread.run("x")
            relay.cuts_next_request = True
            with pytest.raises(TransportClosedError) as caught:
                thread.run("y")
            assert caught.value.kind == "Uncertain" and caught.value.client_message_id is not None
            # The relay has not passed the start on.
            assert thread.find_turn(caught.value.client_message_id) is None
            assert thread.run("z").final_response == "hello"


@pytest.mark.parametrize("bad", [{"jitter": 2.0}, {"jitter": -1.0}])
def test_an_unusable_policy_is_refused(bad: dict[str, Any]):
    endpoint = Endpoint.websocket("ws://127.0.0.1:1")
    with pytest.raises(InvalidInputError, match="connection policy"):
        Codex(CodexConfig(connect=endpoint, connection_policy=ConnectionPolicy(**bad)))
