//! The traits that tie a method to its types.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A request that the client may send.
pub trait ClientRequest {
    /// Its name on the wire.
    const METHOD: &'static str;
    /// Whether it needs the capability `experimentalApi`.
    const EXPERIMENTAL: bool;
    /// Its parameters: `()` when there are none, `Option<_>` when they may be left out.
    type Params: Params;
    /// The answer.
    type Response: DeserializeOwned + Send + 'static;
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
    /// The answer.
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

/// Parameters of what the client sends.
pub trait Params: Serialize + Send {
    /// Whether the key `params` is left out.
    #[doc(hidden)]
    fn is_omitted(&self) -> bool {
        false
    }
}

/// No parameters: the key is left out.
impl Params for () {
    fn is_omitted(&self) -> bool {
        true
    }
}

/// Parameters that may be left out, with their key.
impl<T: Params> Params for Option<T> {
    fn is_omitted(&self) -> bool {
        self.is_none()
    }
}
