"""What notebooks show of results and of turns that run."""

import asyncio
import re
import sys
from html.parser import HTMLParser
from typing import Any

import pytest
from openai_codex import AsyncCodex, Codex, Sandbox, TurnResult
from openai_codex.notebook import progress
from openai_codex.testing import ModelReply, ScriptedModel
from openai_codex.typed_output import TypedResult

# Elements that load nothing and have no colors of their own.
HARMLESS = {"b", "code", "details", "div", "pre", "span", "summary"}


class Page(HTMLParser):
    """A page that is well-formed and fetches nothing."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in HARMLESS and [name for name, _ in attrs] in ([], ["style"])
        style = dict(attrs).get("style") or ""
        assert "url(" not in style and not re.search(r"#[0-9a-f]{3}|rgb|black|white(?!-)", style)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


NASTY = "<script>alert('x')</script> & \"more\""


@pytest.fixture
def result(codex: Codex, model: ScriptedModel, tmp_path) -> TurnResult:
    """A turn that ran two commands and wrote a file."""
    path = tmp_path / "new.txt"
    model.reply(ModelReply.exec_command(f"echo '<b>'; printf '%s' {tmp_path}").usage(1000, 20, cached=30))
    model.reply(ModelReply.exec_command("exit 3"))
    model.reply(ModelReply().apply_patch(f"*** Begin Patch\n*** Add File: {path}\n+<i>hello\n*** End Patch\n"))
    model.reply(NASTY)
    return codex.thread_start(cwd=str(tmp_path), sandbox=Sandbox.full_access).run("x")


def test_a_result_shows_what_ran_and_what_was_written(result: TurnResult, tmp_path):
    text = Page(result._repr_html_()).text
    assert NASTY in text
    assert "echo '<b>'" in text and f"<b>\n{tmp_path}" in text
    assert "exit code 3" in text
    assert f"add {tmp_path}/new.txt" in text and "<i>hello" in text
    assert re.search(r"completed · \d+\.\d s · [\d,]+ tokens in this thread: 1,000 in \(30 cached\), 20 out", text)


def test_a_result_of_later_runtimes_and_failures_is_shown():
    from openai_codex import _native
    from openai_codex.models import UnknownVariant

    item = {"type": "hologram", "id": "1", "tool": NASTY}
    turn = {"id": "t", "items": [item], "status": "paused", "error": {"message": NASTY}}
    params = _json({"threadId": "x", "turn": turn})
    built: Any = _native.build("TurnCompletedNotification", params).turn
    assert isinstance(built.items[0].root, UnknownVariant)
    result = TurnResult("t", built.status, built.error, None, None, None, None, built.items, None)
    text = Page(result._repr_html_()).text
    assert NASTY in text and "paused" in text


def _json(value: object) -> bytes:
    import json

    return json.dumps(value).encode()


def test_long_output_is_cut(result: TurnResult):
    command = next(item.root for item in result.items if item.root.type == "commandExecution")
    command.aggregated_output = "y" * 1_000_000
    html = result._repr_html_()
    assert len(html) < 50_000 and "more characters" in Page(html).text


def test_a_typed_result_shows_its_value(codex: Codex, model: ScriptedModel):
    model.reply('{"value": ["<b>"]}')
    result = codex.thread_start().run("x", output_type=list[str])
    assert isinstance(result, TypedResult)
    assert "['<b>']" in Page(result._repr_html_()).text


def test_handles_show_what_they_are(codex: Codex, model: ScriptedModel):
    pid = codex._client._native.runtime_pid
    assert repr(codex) == f"<Codex of process {pid}>"
    thread = codex.thread_start()
    assert repr(thread) == f"Thread(_client=<CodexClient of process {pid}>, id={thread.id!r})"
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate))
    assert repr(gate) == "<Gate, not reached>"
    turn = thread.turn("x")
    assert repr(turn) == f"TurnHandle(_client=<CodexClient of process {pid}>, thread_id={thread.id!r}, id={turn.id!r})"
    gate.wait_reached()
    assert repr(gate) == "<Gate, reached>"
    model.fallback("unused")
    model.reply("unused")
    assert repr(model) == f"<ScriptedModel at {model.base_url}, requests: 1, queued replies: 1>"
    assert repr(model.requests[0]) == "<RecordedRequest 'x'>"
    codex.close()
    assert repr(codex) == "<Codex not running>"
    model.close()
    assert repr(model) == "<ScriptedModel, closed>"


@pytest.fixture
def pages(monkeypatch, tmp_path):
    """What IPython shows: the first page, and each that replaces it."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.history import HistoryManager
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setattr(HistoryManager, "enabled", False)
    monkeypatch.setattr("openai_codex.notebook._PAUSE", 0)
    shell = InteractiveShell.instance()
    shell.display_pub = CapturingDisplayPublisher(parent=shell)
    yield shell.display_pub.outputs
    InteractiveShell.clear_instance()


def texts(pages: list[dict[str, Any]]) -> list[str]:
    assert [page["update"] for page in pages] == [False] + [True] * (len(pages) - 1)
    assert len({page["transient"]["display_id"] for page in pages}) == 1
    return [Page(page["data"]["text/html"]).text for page in pages]


def check_pages(pages: list[dict[str, Any]]) -> None:
    shown = texts(pages)
    assert "the turn starts" in shown[0]
    assert any("$ " in page and "echo hi" in page for page in shown)
    assert any(page == "he\nthe model writes (1 done)" for page in shown)
    assert shown[-1] == "hello\ncompleted (1 done)"
    assert pages[-1]["data"]["text/plain"] == "hello\ncompleted (1 done)"


def test_progress_shows_a_stream(pages, codex: Codex, model: ScriptedModel):
    model.reply(ModelReply.exec_command("echo hi"))
    model.reply(ModelReply().delta("he").delta("llo"))
    turn = codex.thread_start().turn("x")
    assert [event.method for event in progress(turn)][-1] == "turn/completed"
    check_pages(pages)
    assert turn.run().final_response == "hello"


def test_progress_shows_an_async_stream(pages, model: ScriptedModel):
    async def main() -> None:
        async with AsyncCodex(model.config()) as codex:
            model.reply(ModelReply.exec_command("echo hi"))
            model.reply(ModelReply().delta("he").delta("llo"))
            turn = await (await codex.thread_start()).turn("x")
            assert [event.method async for event in progress(turn)][-1] == "turn/completed"

    asyncio.run(main())
    check_pages(pages)


def test_progress_says_that_its_stream_was_left(pages, codex: Codex, model: ScriptedModel):
    model.reply("hello")
    turn = codex.thread_start().turn("x")
    stream = progress(turn)
    next(stream)
    stream.close()
    assert texts(pages)[-1] == "the stream was left"
    assert turn.run().final_response == "hello"


@pytest.mark.parametrize("shell", [None, "TerminalInteractiveShell"])
def test_progress_is_the_stream_alone_elsewhere(codex: Codex, model: ScriptedModel, monkeypatch, shell: str | None):
    class IPython:
        @staticmethod
        def get_ipython() -> object:
            return type(shell, (), {})() if shell is not None else None

    monkeypatch.setitem(sys.modules, "IPython", IPython)
    model.reply("hello")
    turn = codex.thread_start().turn("x")
    assert [event.method for event in progress(turn)][-1] == "turn/completed"
