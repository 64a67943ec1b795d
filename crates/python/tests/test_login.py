"""Logins and the account."""

import asyncio

import pytest
from openai_codex import (
    AsyncChatgptLoginHandle,
    AsyncCodex,
    ChatgptLoginHandle,
    Codex,
    InvalidRequestError,
    JsonRpcError,
)
from openai_codex.errors import CodexError, CodexTimeoutError
from openai_codex.testing import ScriptedModel


def test_a_login_in_the_browser_is_canceled(codex: Codex):
    login = codex.login_chatgpt()
    assert isinstance(login, ChatgptLoginHandle)
    assert login.login_id and "redirect_uri=http" in login.auth_url
    assert login.cancel().status.value == "canceled"
    end = login.wait()
    assert (end.login_id, end.success) == (login.login_id, False)
    assert login.wait() == end
    assert login.cancel().status.value == "notFound"
    assert "_login" not in repr(login)


def test_a_login_that_takes_too_long_continues(codex: Codex):
    login = codex.login_chatgpt()
    with pytest.raises(CodexTimeoutError):
        login.wait(timeout=0.01)
    login.cancel()
    assert not login.wait(timeout=60).success


def test_an_async_login_in_the_browser_is_canceled(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            login = await codex.login_chatgpt()
            assert isinstance(login, AsyncChatgptLoginHandle)
            waiting = asyncio.create_task(login.wait())
            assert (await login.cancel()).status.value == "canceled"
            assert not (await waiting).success
            assert not (await login.wait(timeout=60)).success

    asyncio.run(main())


def test_an_api_key_is_used_until_the_logout(model: ScriptedModel):
    model.add_config("model_providers.scripted.requires_openai_auth = true")
    model.fallback("ok")
    with Codex(model.config()) as codex:
        assert codex.account().account is None
        codex.login_api_key("sk-test-key")
        assert codex.account().account.root.type == "apiKey"
        codex.thread_start().run("x")
        assert ("authorization", "Bearer sk-test-key") in model.requests[-1].headers
        codex.logout()
        assert codex.account().account is None


def test_a_blank_key_is_refused_and_no_error_repeats_a_key(codex: Codex):
    with pytest.raises(ValueError):
        codex.login_api_key("  ")
    with pytest.raises(CodexError) as caught:
        codex._client.request("account/login/start", {"type": "sk-secret"}, response_model=None)
    assert isinstance(caught.value, InvalidRequestError | JsonRpcError)
