"""Logins and the account."""

import asyncio

import pytest
from auth_service import USER_CODE, AuthService
from openai_codex import (
    AsyncChatgptLoginHandle,
    AsyncCodex,
    AsyncDeviceCodeLoginHandle,
    ChatgptLoginHandle,
    Codex,
    DeviceCodeLoginHandle,
    InvalidRequestError,
    JsonRpcError,
    TransportClosedError,
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


@pytest.fixture
def service():
    with AuthService() as service:
        yield service


def test_a_login_with_a_code_ends_when_the_user_has_entered_it(service: AuthService, model: ScriptedModel):
    with Codex(service.config(model)) as codex:
        login = codex.login_chatgpt_device_code()
        assert isinstance(login, DeviceCodeLoginHandle)
        assert login.user_code == USER_CODE and login.verification_url.startswith(service.url)
        assert "_login" not in repr(login)
        with pytest.raises(CodexTimeoutError):
            login.wait(timeout=0.01)
        service.approve()
        end = login.wait()
        assert (end.login_id, end.success, end.error) == (login.login_id, True, None)
        assert login.wait(timeout=60) == end
        assert codex.account().account.root.email == "user@example.org"
        assert login.cancel().status.value == "notFound"


def test_a_login_with_a_code_is_canceled(service: AuthService, model: ScriptedModel):
    with Codex(service.config(model)) as codex:
        login = codex.login_chatgpt_device_code()
        assert login.cancel().status.value == "canceled"
        end = login.wait()
        assert (end.login_id, end.success) == (login.login_id, False) and end.error
        assert login.cancel().status.value == "notFound"
        assert codex.account().account is None


def test_a_login_with_a_code_replaces_another_one(service: AuthService, model: ScriptedModel):
    with Codex(service.config(model)) as codex:
        first, second = codex.login_chatgpt_device_code(), codex.login_chatgpt_device_code()
        assert first.login_id != second.login_id and not first.wait().success
        service.approve()
        assert second.wait().success


def test_a_login_with_a_code_ends_with_its_client(service: AuthService, model: ScriptedModel):
    codex = Codex(service.config(model))
    login = codex.login_chatgpt_device_code()
    codex.close()
    with pytest.raises(TransportClosedError):
        login.wait()


def test_an_async_login_with_a_code_is_waited_for_and_canceled(service: AuthService, model: ScriptedModel):
    async def main():
        async with AsyncCodex(service.config(model)) as codex:
            login = await codex.login_chatgpt_device_code()
            assert isinstance(login, AsyncDeviceCodeLoginHandle) and login.user_code == USER_CODE
            waiting = asyncio.create_task(login.wait())
            assert (await login.cancel()).status.value == "canceled"
            assert not (await waiting).success
            login = await codex.login_chatgpt_device_code()
            given_up = asyncio.create_task(login.wait())
            await asyncio.sleep(0)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            # The login continues.
            service.approve()
            assert (await login.wait()).success
            account = (await codex.account()).account
            assert account is not None and account.root.type == "chatgpt"

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
