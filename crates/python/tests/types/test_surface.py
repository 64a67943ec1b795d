"""The modules with types have the names, fields and defaults of the published package."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai_codex.generated.v2_all
import openai_codex.types
import pytest
from openai_codex import models
from openai_codex.generated import notification_registry
from random_values import FACTS

# The tests also use them in ways that type checkers refuse.
v2_all: Any = openai_codex.generated.v2_all
types: Any = openai_codex.types

ROOT = Path(__file__).parents[4]


def facts_of_this_package() -> Any:
    script = ROOT / "xtask/src/codegen/python/package_facts.py"
    spec = importlib.util.spec_from_file_location("package_facts", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return json.loads(module.pretty(module.facts(FACTS["package"])))


def test_the_package_has_the_types_of_the_vendored_facts() -> None:
    ours = facts_of_this_package()
    assert ours["classes"].keys() == FACTS["classes"].keys()
    for name, facts in FACTS["classes"].items():
        assert ours["classes"][name] == facts, name
    assert ours == FACTS


def test_the_public_list_of_types_is_that_of_the_published_package() -> None:
    assert types.__all__ == FACTS["types"]
    for name in types.__all__:
        assert getattr(types, name) is getattr(models, name, None) or getattr(types, name) is getattr(v2_all, name)
    assert set(types.__all__) <= set(dir(types))


def test_nothing_else_is_an_attribute_of_types() -> None:
    for name in ("AgentMessageDeltaNotification", "CodexClient", "nothing"):
        with pytest.raises(AttributeError):
            getattr(types, name)


def test_classes_live_in_the_module_of_the_published_package() -> None:
    for name in FACTS["classes"]:
        cls = getattr(v2_all, name)
        assert (cls.__module__, cls.__qualname__) == ("openai_codex.generated.v2_all", name)
        assert cls is getattr(v2_all, name)
    for name in ("Notification", "UnknownNotification", "InitializeResponse", "ServerInfo", "UnknownVariant"):
        assert getattr(models, name).__module__ == "openai_codex.models"


def test_a_star_import_gives_all_classes() -> None:
    namespace: dict[str, Any] = {}
    exec("from openai_codex.generated.v2_all import *", namespace)
    assert set(FACTS["classes"]) <= namespace.keys()
    assert set(FACTS["classes"]) <= set(dir(v2_all))
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = v2_all.Nothing


def test_the_registry_has_the_class_of_each_notification() -> None:
    registry = notification_registry.NOTIFICATION_MODELS
    assert {method: cls.__name__ for method, cls in registry.items()} == FACTS["notifications"]
    assert notification_registry.NOTIFICATION_MODELS is registry
    assert v2_all.AgentMessageDeltaNotification in notification_registry.DIRECT_TURN_ID_NOTIFICATION_TYPES
    nested = notification_registry.NESTED_TURN_NOTIFICATION_TYPES
    assert nested == (v2_all.TurnCompletedNotification, v2_all.TurnStartedNotification)


def test_a_payload_names_its_turn() -> None:
    turn_id = notification_registry.notification_turn_id
    delta = v2_all.AgentMessageDeltaNotification(delta="", item_id="i", thread_id="t", turn_id="u")
    turn = v2_all.Turn(id="u2", items=[], status="completed")
    assert turn_id(delta) == "u"
    assert turn_id(v2_all.TurnStartedNotification(thread_id="t", turn=turn)) == "u2"
    assert turn_id(v2_all.ThreadArchivedNotification(thread_id="t")) is None


def run(program: str) -> list[str]:
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return output.stdout.split()


def test_importing_the_modules_imports_no_pydantic() -> None:
    program = (
        "import sys, openai_codex.types, openai_codex.models, openai_codex.generated.v2_all,"
        " openai_codex.generated.notification_registry\nprint('pydantic' in sys.modules)"
    )
    assert run(program) == ["False"]


def test_a_class_is_made_with_only_those_that_it_mentions() -> None:
    program = (
        "from openai_codex.generated import v2_all\nv2_all.TurnError\n"
        "print(*(name for name in v2_all.__all__ if name in vars(v2_all)))"
    )
    made = set(run(program))
    assert "TurnError" in made and "CodexErrorInfo" in made
    assert "Turn" not in made and "ThreadItem" not in made and len(made) < 20


def test_threads_that_need_a_class_get_the_same_one() -> None:
    program = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from openai_codex.generated import v2_all
barrier = Barrier(8)
def get(_):
    barrier.wait()
    return id(v2_all.Thread), id(v2_all.ThreadItem)
with ThreadPoolExecutor(8) as pool:
    print(len(set(pool.map(get, range(8)))))
"""
    assert run(program) == ["1"]


def test_the_classes_of_a_usual_turn_are_made_ahead() -> None:
    program = """
from openai_codex import _lazy_classes, _native
from openai_codex.generated import v2_all
_lazy_classes.prepare()
made = set(vars(v2_all))
turn = b'{"id":"u","items":[{"type":"agentMessage","id":"i","text":"t"}],"status":"completed","error":null}'
params = b'{"threadId":"t","turn":' + turn + b"}"
_native.notification("item/agentMessage/delta", b'{"delta":"d","itemId":"i","threadId":"t","turnId":"u"}').payload.delta
for method in ("turn/started", "turn/completed"):
    print(_native.notification(method, params).payload.turn.id)
print(len(set(vars(v2_all)) - made))
"""
    assert run(program) == ["u", "u", "0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_makes_a_class_that_its_parent_was_making() -> None:
    program = """
import os, signal, threading, warnings
from openai_codex import _lazy_classes, _native
warnings.simplefilter("ignore")
making, forked = threading.Event(), threading.Event()
make = _lazy_classes._MAKERS["model"]
def wait_for_fork(*arguments):
    making.set()
    assert forked.wait(60)
    return make(*arguments)
_lazy_classes._MAKERS["model"] = wait_for_fork
text = b'{"delta":"d","itemId":"i","threadId":"t","turnId":"u"}'
thread = threading.Thread(target=_native.build, args=("AgentMessageDeltaNotification", text))
thread.start()
assert making.wait(60)
child = os.fork()
if child == 0:
    signal.alarm(30)
    _lazy_classes._MAKERS["model"] = make
    os._exit(0 if _native.build("AgentMessageDeltaNotification", text).delta == "d" else 1)
forked.set()
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(program) == ["0"]
