"""Logins that a user completes elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from openai_codex._annotations import import_late
from openai_codex._options import additional
from openai_codex._wait import wait

if TYPE_CHECKING:
    from openai_codex import _native as native
    from openai_codex.client import CodexClient
    from openai_codex.types import AccountLoginCompletedNotification, CancelLoginAccountResponse


class _AsyncLoginOwner(Protocol):
    """An async client, which keeps the runtime of its logins running."""

    async def close(self) -> None: ...


def _required(login: native.Login | None) -> native.Login:
    if login is None:
        raise ValueError("this handle was made by hand; only the client's login methods make handles that can wait")
    return login


@dataclass(slots=True)
class ChatgptLoginHandle:
    """A login with a ChatGPT account in a browser."""

    _client: CodexClient
    login_id: str
    auth_url: str
    """The address where the user logs in."""
    _login: native.Login | None = field(init=False, repr=False, compare=False, default=None)

    @additional("timeout")
    def wait(self, timeout: float | None = None) -> AccountLoginCompletedNotification:
        """Wait for the end of the login, at most ``timeout`` seconds. A failed login is a value with ``success=False``."""
        return _required(self._login).wait(timeout).wait()

    def cancel(self) -> CancelLoginAccountResponse:
        """Cancel the login. Its ``wait`` then returns without success."""
        return _required(self._login).cancel().wait()


@dataclass(slots=True)
class DeviceCodeLoginHandle:
    """A login with a ChatGPT account on any device, with a code."""

    _client: CodexClient
    login_id: str
    verification_url: str
    """The address where the user enters the code."""
    user_code: str
    _login: native.Login | None = field(init=False, repr=False, compare=False, default=None)

    @additional("timeout")
    def wait(self, timeout: float | None = None) -> AccountLoginCompletedNotification:
        """Wait for the end of the login, at most ``timeout`` seconds. A failed login is a value with ``success=False``."""
        return _required(self._login).wait(timeout).wait()

    def cancel(self) -> CancelLoginAccountResponse:
        """Cancel the login. Its ``wait`` then returns without success."""
        return _required(self._login).cancel().wait()


@dataclass(slots=True)
class AsyncChatgptLoginHandle:
    """A login with a ChatGPT account in a browser."""

    _codex: _AsyncLoginOwner
    login_id: str
    auth_url: str
    """The address where the user logs in."""
    _login: native.Login | None = field(init=False, repr=False, compare=False, default=None)

    @additional("timeout")
    async def wait(self, timeout: float | None = None) -> AccountLoginCompletedNotification:
        """Wait for the end of the login, at most ``timeout`` seconds. A failed login is a value with ``success=False``."""
        return await wait(_required(self._login).wait(timeout))

    async def cancel(self) -> CancelLoginAccountResponse:
        """Cancel the login. Its ``wait`` then returns without success."""
        return await wait(_required(self._login).cancel())


@dataclass(slots=True)
class AsyncDeviceCodeLoginHandle:
    """A login with a ChatGPT account on any device, with a code."""

    _codex: _AsyncLoginOwner
    login_id: str
    verification_url: str
    """The address where the user enters the code."""
    user_code: str
    _login: native.Login | None = field(init=False, repr=False, compare=False, default=None)

    @additional("timeout")
    async def wait(self, timeout: float | None = None) -> AccountLoginCompletedNotification:
        """Wait for the end of the login, at most ``timeout`` seconds. A failed login is a value with ``success=False``."""
        return await wait(_required(self._login).wait(timeout))

    async def cancel(self) -> CancelLoginAccountResponse:
        """Cancel the login. Its ``wait`` then returns without success."""
        return await wait(_required(self._login).cancel())


import_late(globals())
