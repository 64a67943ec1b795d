//! Generates the modules that offer the classes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::facts::{PythonFacts, Shape};

/// `generated/__init__.py`
pub fn package() -> String {
    "\"\"\"The types of the protocol.\"\"\"\n".to_owned()
}

/// `generated/v2_all.py`
pub fn classes(facts: &PythonFacts) -> String {
    let mut out = format!(
        "\"\"\"The types of the protocol, under the names that version {} of the package openai-codex uses.\n\n\
         A class is made when it is first used: making all of them takes a second. `v2_all.pyi` shows them written out.\n\"\"\"\n\n\
         from __future__ import annotations\n\n\
         from typing import Any\n\n\
         from .._lazy_classes import make_class\n\n\
         _PYDANTIC = (\"BaseModel\", \"ConfigDict\", \"Field\", \"RootModel\")\n\n\
         _NAMES = frozenset((\n",
        facts.package
    );
    list(&mut out, facts.classes.keys());
    out.push_str(
        "))\n\n__all__ = sorted(_NAMES)  # pyright: ignore[reportUnsupportedDunderAll]\n\n\n\
         def __getattr__(name: str) -> Any:\n    \
             if name in _NAMES:\n        \
                 return make_class(name, globals())\n    \
             if name in _PYDANTIC:\n        \
                 import pydantic\n\n        \
                 return getattr(pydantic, name)\n    \
             raise AttributeError(f\"module {__name__!r} has no attribute {name!r}\")\n\n\n\
         def __dir__() -> list[str]:\n    \
             return sorted({*globals(), *_NAMES})\n",
    );
    out
}

/// `generated/notification_registry.py`
pub fn registry(facts: &PythonFacts) -> String {
    let payloads: BTreeSet<&String> = facts.notifications.values().collect();
    let with_field = |wire: &str| -> Vec<&String> {
        let has = |name: &&&String| match &facts.classes[**name] {
            Shape::Object { fields, .. } => fields.iter().any(|field| field.name == wire),
            _ => false,
        };
        payloads.iter().filter(has).copied().collect()
    };
    let mut out = "\"\"\"The class of each notification's parameters.\"\"\"\n\n\
         from __future__ import annotations\n\n\
         from typing import TYPE_CHECKING, Any\n\n\
         from .._annotations import import_late\n\
         from . import v2_all\n\n\
         if TYPE_CHECKING:\n    from typing import TypeAlias\n\n    from pydantic import BaseModel\n\n    from .v2_all import (\n"
        .to_owned();
    for name in &payloads {
        let _ = writeln!(out, "        {name} as {name},");
    }
    out.push_str("    )\n\n    KnownNotificationPayload: TypeAlias = (\n");
    for (index, name) in payloads.iter().enumerate() {
        let _ = writeln!(out, "        {}{name}", if index == 0 { "" } else { "| " });
    }
    out.push_str(
        "    )\n    NOTIFICATION_MODELS: dict[str, type[BaseModel]]\n    \
             DIRECT_TURN_ID_NOTIFICATION_TYPES: tuple[type[BaseModel], ...]\n    \
             NESTED_TURN_NOTIFICATION_TYPES: tuple[type[BaseModel], ...]\n\n_MODELS = {\n",
    );
    for (method, class) in &facts.notifications {
        let _ = writeln!(out, "    {method:?}: {class:?},");
    }
    out.push_str("}\n_DIRECT = (\n");
    list(&mut out, with_field("turnId").into_iter());
    out.push_str(")\n_NESTED = (\n");
    list(&mut out, with_field("turn").into_iter());
    out.push_str(
        ")\n_NAMES = frozenset(_MODELS.values())\n\n\n\
         def _classes(names: Any) -> tuple[Any, ...]:\n    \
             return tuple(getattr(v2_all, name) for name in names)\n\n\n\
         def _known_payload() -> Any:\n    \
             union, *others = _classes(sorted(_NAMES))\n    \
             for other in others:\n        \
                 union = union | other\n    \
             return union\n\n\n\
         _LAZY = {\n    \
             \"NOTIFICATION_MODELS\": lambda: {method: getattr(v2_all, name) for method, name in _MODELS.items()},\n    \
             \"DIRECT_TURN_ID_NOTIFICATION_TYPES\": lambda: _classes(_DIRECT),\n    \
             \"NESTED_TURN_NOTIFICATION_TYPES\": lambda: _classes(_NESTED),\n    \
             \"KnownNotificationPayload\": _known_payload,\n\
         }\n\n\n\
         def __getattr__(name: str) -> Any:\n    \
             if name in _LAZY:\n        \
                 value = globals()[name] = _LAZY[name]()\n        \
                 return value\n    \
             if name in _NAMES:\n        \
                 return getattr(v2_all, name)\n    \
             raise AttributeError(f\"module {__name__!r} has no attribute {name!r}\")\n\n\n\
         def __dir__() -> list[str]:\n    \
             return sorted({*globals(), *_LAZY, *_NAMES})\n\n\n\
         def notification_turn_id(payload: BaseModel) -> str | None:\n    \
             \"\"\"The turn that a payload belongs to, if it names one.\"\"\"\n    \
             names = {cls.__name__ for cls in type(payload).__mro__}\n    \
             turn_id: Any = None\n    \
             if not names.isdisjoint(_DIRECT):\n        \
                 turn_id = payload.turn_id  # type: ignore[attr-defined]\n    \
             elif not names.isdisjoint(_NESTED):\n        \
                 turn_id = payload.turn.id  # type: ignore[attr-defined]\n    \
             return turn_id if isinstance(turn_id, str) else None\n\n\n\
         import_late(globals())\n",
    );
    out
}

/// `types.py`
pub fn public_types(facts: &PythonFacts) -> String {
    let (generated, own): (Vec<&String>, Vec<&String>) =
        facts.types.iter().partition(|name| facts.classes.contains_key(*name));
    let mut out = "\"\"\"The types that programs name: results, settings and events.\"\"\"\n\n\
         from __future__ import annotations\n\n\
         from typing import TYPE_CHECKING, Any\n\n\
         if TYPE_CHECKING:\n    from .generated.v2_all import (\n"
        .to_owned();
    for name in &generated {
        let _ = writeln!(out, "        {name} as {name},");
    }
    out.push_str("    )\n    from .models import (\n");
    for name in &own {
        let _ = writeln!(out, "        {name} as {name},");
    }
    out.push_str("    )\n\n__all__ = [\n");
    list(&mut out, facts.types.iter());
    out.push_str("]\n\n_MODELS = frozenset((\n");
    list(&mut out, own.into_iter());
    out.push_str(
        "))\n_NAMES = frozenset(__all__)\n\n\n\
         def __getattr__(name: str) -> Any:\n    \
             if name not in _NAMES:\n        \
                 raise AttributeError(f\"module {__name__!r} has no attribute {name!r}\")\n    \
             from . import models\n    \
             from .generated import v2_all\n\n    \
             value = globals()[name] = getattr(models if name in _MODELS else v2_all, name)\n    \
             return value\n\n\n\
         def __dir__() -> list[str]:\n    \
             return sorted({*globals(), *_NAMES})\n",
    );
    out
}

fn list<'a>(out: &mut String, names: impl Iterator<Item = &'a String>) {
    for name in names {
        let _ = writeln!(out, "    {name:?},");
    }
}
