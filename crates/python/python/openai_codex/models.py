"""Notifications, and the types that the protocol's schema does not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ._annotations import import_late

if TYPE_CHECKING:
    from ._pydantic_models import (
        InitializeResponse as InitializeResponse,
        ServerInfo as ServerInfo,
        UnknownVariant as UnknownVariant,
    )
    from .generated.notification_registry import KnownNotificationPayload
    from .generated.v2_all import (
        AccountLoginCompletedNotification as AccountLoginCompletedNotification,
        AccountRateLimitsUpdatedNotification as AccountRateLimitsUpdatedNotification,
        AccountUpdatedNotification as AccountUpdatedNotification,
        AgentMessageDeltaNotification as AgentMessageDeltaNotification,
        AppListUpdatedNotification as AppListUpdatedNotification,
        CommandExecutionOutputDeltaNotification as CommandExecutionOutputDeltaNotification,
        ConfigWarningNotification as ConfigWarningNotification,
        ContextCompactedNotification as ContextCompactedNotification,
        DeprecationNoticeNotification as DeprecationNoticeNotification,
        ErrorNotification as ErrorNotification,
        FileChangeOutputDeltaNotification as FileChangeOutputDeltaNotification,
        ItemCompletedNotification as ItemCompletedNotification,
        ItemStartedNotification as ItemStartedNotification,
        McpServerOauthLoginCompletedNotification as McpServerOauthLoginCompletedNotification,
        McpToolCallProgressNotification as McpToolCallProgressNotification,
        PlanDeltaNotification as PlanDeltaNotification,
        RawResponseItemCompletedNotification as RawResponseItemCompletedNotification,
        ReasoningSummaryPartAddedNotification as ReasoningSummaryPartAddedNotification,
        ReasoningSummaryTextDeltaNotification as ReasoningSummaryTextDeltaNotification,
        ReasoningTextDeltaNotification as ReasoningTextDeltaNotification,
        TerminalInteractionNotification as TerminalInteractionNotification,
        ThreadGoalClearedNotification as ThreadGoalClearedNotification,
        ThreadGoalUpdatedNotification as ThreadGoalUpdatedNotification,
        ThreadNameUpdatedNotification as ThreadNameUpdatedNotification,
        ThreadStartedNotification as ThreadStartedNotification,
        ThreadTokenUsageUpdatedNotification as ThreadTokenUsageUpdatedNotification,
        TurnCompletedNotification as TurnCompletedNotification,
        TurnDiffUpdatedNotification as TurnDiffUpdatedNotification,
        TurnPlanUpdatedNotification as TurnPlanUpdatedNotification,
        TurnStartedNotification as TurnStartedNotification,
        WindowsWorldWritableWarningNotification as WindowsWorldWritableWarningNotification,
    )

    NotificationPayload: TypeAlias = (
        "KnownNotificationPayload | RawResponseItemCompletedNotification | UnknownNotification"
    )

JsonScalar: TypeAlias = str | int | float | bool | None
JsonValue: TypeAlias = JsonScalar | dict[str, "JsonValue"] | list["JsonValue"]
JsonObject: TypeAlias = dict[str, JsonValue]


@dataclass(slots=True)
class UnknownNotification:
    """The parameters of a notification whose method is unknown, or which are not as its class says."""

    params: JsonObject


@dataclass(slots=True)
class Notification:
    """A notification of the server."""

    method: str
    payload: NotificationPayload

    if TYPE_CHECKING:

        @property
        def raw_params(self) -> bytes | None:
            """The JSON text of the parameters as the server sent it. None if the program made the notification."""


def _take_native() -> None:
    """Replaces the class above, which says what it looks like, by the native one, which builds its payload late."""
    global Notification
    import inspect

    from ._native import Notification as native

    native.__signature__ = inspect.signature(Notification)  # type: ignore[attr-defined]
    for name in ("__dataclass_fields__", "__dataclass_params__", "__annotations__"):
        setattr(native, name, getattr(Notification, name))
    Notification = native  # type: ignore[misc]


_take_native()

_PAYLOADS = frozenset(
    (
        "AccountLoginCompletedNotification",
        "AccountRateLimitsUpdatedNotification",
        "AccountUpdatedNotification",
        "AgentMessageDeltaNotification",
        "AppListUpdatedNotification",
        "CommandExecutionOutputDeltaNotification",
        "ConfigWarningNotification",
        "ContextCompactedNotification",
        "DeprecationNoticeNotification",
        "ErrorNotification",
        "FileChangeOutputDeltaNotification",
        "ItemCompletedNotification",
        "ItemStartedNotification",
        "McpServerOauthLoginCompletedNotification",
        "McpToolCallProgressNotification",
        "PlanDeltaNotification",
        "RawResponseItemCompletedNotification",
        "ReasoningSummaryPartAddedNotification",
        "ReasoningSummaryTextDeltaNotification",
        "ReasoningTextDeltaNotification",
        "TerminalInteractionNotification",
        "ThreadGoalClearedNotification",
        "ThreadGoalUpdatedNotification",
        "ThreadNameUpdatedNotification",
        "ThreadStartedNotification",
        "ThreadTokenUsageUpdatedNotification",
        "TurnCompletedNotification",
        "TurnDiffUpdatedNotification",
        "TurnPlanUpdatedNotification",
        "TurnStartedNotification",
        "WindowsWorldWritableWarningNotification",
    )
)


def _payload() -> Any:
    from .generated import notification_registry, v2_all

    known: Any = notification_registry.KnownNotificationPayload
    return known | v2_all.RawResponseItemCompletedNotification | UnknownNotification


_PYDANTIC_MODELS = frozenset(("InitializeResponse", "ServerInfo", "UnknownVariant"))


def __getattr__(name: str) -> Any:
    if name == "NotificationPayload":
        return globals().setdefault(name, _payload())
    if name in _PYDANTIC_MODELS:
        from . import _pydantic_models

        return getattr(_pydantic_models, name)
    if name in _PAYLOADS:
        from .generated import v2_all

        return getattr(v2_all, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "NotificationPayload", *_PYDANTIC_MODELS, *_PAYLOADS})


import_late(globals())
