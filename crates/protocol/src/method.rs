//! Traits that connect a method with its types.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};

/// A request that the client may send.
pub trait ClientRequest {
    /// Its name on the wire.
    const METHOD: &'static str;
    /// Whether it needs the capability `experimentalApi`.
    const EXPERIMENTAL: bool;
    /// Its parameters: `()` if it has none, `Option<_>` if they are optional.
    type Params: Params;
    /// Its response.
    type Response: DeserializeOwned + Send + 'static;

    /// Decodes the response. For the protocol's requests this crate instantiates the code, once.
    #[doc(hidden)]
    fn read_response(raw: &str) -> serde_json::Result<Self::Response> {
        serde_json::from_str(raw)
    }
}

/// A notification that the client may send.
pub trait ClientNotification {
    /// Its name on the wire.
    const METHOD: &'static str;
    /// Its parameters.
    type Params: Params;
}

/// A request that the server may send.
pub trait ServerRequestMethod {
    /// Its name on the wire.
    const METHOD: &'static str;
    /// Whether it needs the capability `experimentalApi`.
    const EXPERIMENTAL: bool;
    /// Its parameters.
    type Params: DeserializeOwned + Send + 'static;
    /// Its response.
    type Response: Serialize + Send + 'static;
}

/// A notification that the server may send.
pub trait ServerNotification {
    /// Its name on the wire.
    const METHOD: &'static str;
    /// Whether it needs the capability `experimentalApi`.
    const EXPERIMENTAL: bool;
    /// Its payload.
    type Params: DeserializeOwned + Send + 'static;
}

/// Parameters that the client sends.
pub trait Params: Serialize + Send {
    /// Whether the key `params` is omitted.
    #[doc(hidden)]
    fn is_omitted(&self) -> bool {
        false
    }

    /// Encodes the parameters. For the protocol's parameters this crate instantiates the code, once.
    #[doc(hidden)]
    fn write(&self) -> serde_json::Result<Box<RawValue>>
    where
        Self: Sized,
    {
        to_raw_value(self)
    }
}

/// No parameters: the key is omitted.
impl Params for () {
    fn is_omitted(&self) -> bool {
        true
    }
}

/// Optional parameters, with their key.
impl<T: Params> Params for Option<T> {
    fn is_omitted(&self) -> bool {
        self.is_none()
    }

    fn write(&self) -> serde_json::Result<Box<RawValue>> {
        match self {
            Some(params) => params.write(),
            None => to_raw_value(&()),
        }
    }
}
