//! Decodes messages as a method's types and encodes them again.

use std::fmt::Debug;

use openai_codex_protocol::{
    ClientNotification, ClientRequest, Notification, Params, ServerNotification, ServerRequest,
    ServerRequestMethod, decode_response,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

/// The JSON of the parameters and of the response. `None` if there is none.
pub(crate) type Message = (Option<String>, Option<String>);

/// A message after decoding and encoding.
pub(crate) struct Outcome {
    pub(crate) params: Option<Value>,
    pub(crate) answer: Option<Value>,
    /// The `Debug` form of the values in between.
    pub(crate) debug: String,
}

/// Decodes and encodes a message.
pub(crate) type Trip = fn(&Message) -> Result<Outcome, String>;

fn params<T: DeserializeOwned + Serialize>(text: Option<&String>) -> Result<T, String> {
    serde_json::from_str(text.map_or("null", String::as_str)).map_err(|error| format!("params: {error}"))
}

fn written(params: &impl Params) -> Option<Value> {
    (!params.is_omitted()).then(|| value(params))
}

fn value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("our types can be written")
}

pub(crate) fn client_request<M>(message: &Message) -> Result<Outcome, String>
where
    M: ClientRequest<Params: DeserializeOwned + Debug, Response: Serialize + Debug>,
{
    let params: M::Params = params(message.0.as_ref())?;
    let response = message.1.as_ref().map(|text| decode_response::<M>(text)).transpose();
    let response = response.map_err(|error| error.to_string())?;
    let debug = format!("{params:?} {response:?}");
    Ok(Outcome { params: written(&params), answer: response.as_ref().map(value), debug })
}

pub(crate) fn client_notification<M>(message: &Message) -> Result<Outcome, String>
where
    M: ClientNotification<Params: DeserializeOwned + Debug>,
{
    let params: M::Params = params(message.0.as_ref())?;
    let debug = format!("{params:?}");
    Ok(Outcome { params: written(&params), answer: None, debug })
}

pub(crate) fn server_request<M>(message: &Message) -> Result<Outcome, String>
where
    M: ServerRequestMethod<Params: Serialize, Response: DeserializeOwned + Debug>,
{
    let by_marker: M::Params = params(message.0.as_ref())?;
    let raw =
        RawValue::from_string(message.0.clone().unwrap_or_default()).map_err(|error| error.to_string())?;
    let request = ServerRequest::decode(M::METHOD, Some(&raw));
    if matches!(request, ServerRequest::Unknown(_) | ServerRequest::Undecodable(_)) {
        return Err(format!("{request:?}"));
    }
    let mut debug = format!("{request:?}");
    let mut request = value(&request);
    assert_eq!(request["method"], M::METHOD);
    assert_eq!(request["params"], value(&by_marker), "the sum and the marker read differently");
    let response = message.1.as_ref().map(|text| serde_json::from_str::<M::Response>(text)).transpose();
    let response = response.map_err(|error| format!("response: {error}"))?;
    debug.push_str(&format!("{response:?}"));
    Ok(Outcome { params: Some(request["params"].take()), answer: response.as_ref().map(value), debug })
}

pub(crate) fn notification<M>(message: &Message) -> Result<Outcome, String>
where
    M: ServerNotification<Params: Serialize>,
{
    let by_marker: M::Params = params(message.0.as_ref())?;
    let text = message.0.clone().unwrap_or_default();
    let frame = format!(r#"{{"method":"{}","params":{text},"emittedAtMs":1}}"#, M::METHOD);
    let notification = Notification::decode_frame(&frame);
    if matches!(notification, Notification::Unknown(_) | Notification::Undecodable(_)) {
        return Err(format!("{notification:?}"));
    }
    let raw = RawValue::from_string(text).map_err(|error| error.to_string())?;
    assert_eq!(
        Notification::decode(M::METHOD, Some(&raw)),
        notification,
        "frame and parameters read differently"
    );
    let mut written = value(&notification);
    assert_eq!(written["method"], M::METHOD);
    assert_eq!(written["params"], value(&by_marker), "the sum and the marker read differently");
    for (id, field, owner) in
        [(notification.thread_id(), "threadId", "thread"), (notification.turn_id(), "turnId", "turn")]
    {
        let params = &written["params"];
        let expected = params[field].as_str().or_else(|| params[owner]["id"].as_str());
        assert_eq!(id, expected, "{field} of {}", M::METHOD);
    }
    let debug = format!("{notification:?}");
    Ok(Outcome { params: Some(written["params"].take()), answer: None, debug })
}
