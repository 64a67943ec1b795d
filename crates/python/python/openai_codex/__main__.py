"""`python -m openai_codex`: a first turn, the runtime's installation, and a check of what is there."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from openai_codex import Codex, CodexConfig, CodexError, Sandbox, __version__, _native


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m openai_codex", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    quickstart = commands.add_parser("quickstart", help="run a real turn; without an account, a scripted model answers")
    quickstart.add_argument("prompt", nargs="?", default="What is in this folder?")
    quickstart.add_argument("--offline", action="store_true", help="use the scripted model in any case")
    commands.add_parser("install-runtime", help="install the pinned runtime into your cache, with npm or pip")
    commands.add_parser("doctor", help="show which runtime a client starts, and whether it works")
    options = parser.parse_args(arguments)
    try:
        if options.command == "quickstart":
            return _quickstart(options.prompt, options.offline)
        if options.command == "install-runtime":
            print(_native.install_runtime())
            return 0
        return _doctor()
    except (CodexError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _quickstart(prompt: str, offline: bool) -> int:
    if not offline and _is_logged_in():
        return _turn(CodexConfig(), prompt)
    from openai_codex.testing import ModelReply, ScriptedModel

    if not offline:
        print("No account is logged in, so a scripted model answers. `codex login` logs in.\n", file=sys.stderr)
    with ScriptedModel() as model:
        model.reply(ModelReply.exec_command("ls"))
        model.reply("The command above really ran, in the sandbox. This text is scripted.")
        return _turn(model.config(), prompt)


def _is_logged_in() -> bool:
    with Codex() as codex:
        account = codex.account()
        return account.account is not None or not account.requires_openai_auth


def _turn(config: CodexConfig, prompt: str) -> int:
    """Run a turn in a temporary folder, in a read-only sandbox, and show what it does."""
    from openai_codex.generated.v2_all import (
        AgentMessageDeltaNotification,
        AgentMessageThreadItem,
        CommandExecutionThreadItem,
        ItemCompletedNotification,
        ThreadItem,
    )

    with tempfile.TemporaryDirectory() as folder, Codex(config) as codex:
        Path(folder, "hello.txt").write_text("Hello.\n")
        turn = codex.thread_start(cwd=folder, sandbox=Sandbox.read_only, ephemeral=True).turn(prompt)
        for event in turn.stream():
            match event.payload:
                case AgentMessageDeltaNotification(delta=text):
                    print(text, end="", flush=True)
                case ItemCompletedNotification(item=ThreadItem(root=CommandExecutionThreadItem() as command)):
                    print(f"$ {command.command}\n{command.aggregated_output or ''}", end="", flush=True)
                case ItemCompletedNotification(item=ThreadItem(root=AgentMessageThreadItem())):
                    print()
        result = turn.run()
        print(f"\n{result.status.value}, {len(result.items)} items", file=sys.stderr)
    return 0


def _doctor() -> int:
    print(f"openai_codex {__version__}, pinned runtime {_native.RUNTIME_VERSION}")
    print(f"Python {sys.version.split()[0]} at {sys.executable}")
    try:
        import codex_cli_bin  # type: ignore[import-not-found,unused-ignore]

        print(f"runtime of openai-codex-cli-bin: {codex_cli_bin.bundled_codex_path()}")
    except ImportError:
        print(f"openai-codex-cli-bin: not installed\nruntime: {_native.locate_runtime()}")
    print(f"home: {os.environ.get('CODEX_HOME', Path.home() / '.codex')}")
    with Codex() as codex:
        print(f"it started: {codex.metadata.userAgent}")
        account = codex.account()
        kind = account.account.root.type if account.account is not None else "none"
        print(f"account: {kind}{', which it needs' if kind == 'none' and account.requires_openai_auth else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
