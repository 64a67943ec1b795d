//! The requests about the account: login, logout, and rate limits.

use std::sync::Arc;

use openai_codex_protocol::types::{
    ApiKeyLoginAccountParams, ChatgptDeviceCodeLoginAccountParams, ChatgptLoginAccountParams,
    GetAccountRateLimitsResponse, LoginAccountParams, LoginAccountResponse,
};
use openai_codex_protocol::{ClientRequest, methods};

use crate::account::handles::{AsyncChatgptLoginHandle, AsyncDeviceCodeLoginHandle};
use crate::account::login::Login;
use crate::codec::{decode, encode};
use crate::error::{Error, ErrorKind, Result};
use crate::session::supervisor::ClientCore;

pub(crate) async fn api_key(core: &Arc<ClientCore>, key: String) -> Result<()> {
    if key.trim().is_empty() {
        return Err(Error::invalid_input("the API key is blank; pass a key")
            .with_method(methods::AccountLoginStart::METHOD));
    }
    let params = LoginAccountParams::from(ApiKeyLoginAccountParams::new(key));
    let session = core.session().await?;
    match session.call::<methods::AccountLoginStart>(&params, None).await? {
        LoginAccountResponse::ApiKey(_) => Ok(()),
        _ => Err(other_login()),
    }
}

pub(crate) async fn chatgpt(core: &Arc<ClientCore>) -> Result<AsyncChatgptLoginHandle> {
    let (started, login) = start(core, ChatgptLoginAccountParams::new().into()).await?;
    match started {
        LoginAccountResponse::Chatgpt(started) => {
            Ok(AsyncChatgptLoginHandle::new(login(started.login_id), started.auth_url))
        }
        _ => Err(other_login()),
    }
}

pub(crate) async fn device_code(core: &Arc<ClientCore>) -> Result<AsyncDeviceCodeLoginHandle> {
    let (started, login) = start(core, ChatgptDeviceCodeLoginAccountParams::new().into()).await?;
    match started {
        LoginAccountResponse::ChatgptDeviceCode(started) => Ok(AsyncDeviceCodeLoginHandle::new(
            login(started.login_id),
            started.verification_url,
            started.user_code,
        )),
        _ => Err(other_login()),
    }
}

/// Starts a login. Returns the server's response, and a function that makes the `Login` from its id.
async fn start(
    core: &Arc<ClientCore>,
    params: LoginAccountParams,
) -> Result<(LoginAccountResponse, impl FnOnce(String) -> Login)> {
    let session = core.session().await?;
    let params = encode(methods::AccountLoginStart::METHOD, &params)?.unwrap_or_default();
    let (response, ended) = session.start_login(&params).await?;
    let response = decode::<methods::AccountLoginStart>(&response.await?, None)
        .map_err(|error| session.connection.redact(error))?;
    Ok((response, move |id| Login { session, id, ended }))
}

fn other_login() -> Error {
    Error::new(ErrorKind::Decode, "the response is for another kind of login than the request")
        .with_method(methods::AccountLoginStart::METHOD)
}

pub(crate) async fn logout(core: &Arc<ClientCore>) -> Result<()> {
    core.session().await?.call::<methods::AccountLogout>(&(), None).await.map(drop)
}

pub(crate) async fn rate_limits(core: &Arc<ClientCore>) -> Result<GetAccountRateLimitsResponse> {
    core.session().await?.call::<methods::AccountRateLimitsRead>(&None, None).await
}
