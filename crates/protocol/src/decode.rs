//! Decodes messages.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::read::{self, Read};
use crate::wire::Key;
use crate::{ClientRequest, DecodeError};

/// Decodes the response to a client request.
///
/// # Errors
/// `raw` is not a valid `R::Response`. The error names the method and the path.
pub fn decode_response<R: ClientRequest>(raw: &str) -> Result<R::Response, DecodeError> {
    R::read_response(raw).map_err(|error| DecodeError::new(R::METHOD, "result", raw, &error))
}

/// Decodes `params` alone.
pub(crate) fn decode_params<T: Read>(method: &str, params: Option<&RawValue>) -> Result<T, DecodeError> {
    let Some(params) = params.map(RawValue::get) else {
        return Err(DecodeError::without_text(method, "params", "they are missing"));
    };
    read::from_text(params).map_err(|error| DecodeError::new(method, "params", params, &error))
}

/// A type that can be read from a value, by code that this crate instantiates once.
#[doc(hidden)]
pub trait FromValue: Sized {
    /// `None` if the value is not one of the type.
    fn from_value(value: &Value) -> Option<Self>;
}

impl<T: Read> FromValue for T {
    fn from_value(value: &Value) -> Option<Self> {
        let mut target = T::blank();
        read::from_value(value, &mut target).ok().map(|()| target)
    }
}

/// The content of a frame, independent of its types.
#[derive(Default)]
pub(crate) struct RawFrame {
    pub(crate) method: Option<String>,
    pub(crate) params: Option<Box<RawValue>>,
}

impl RawFrame {
    /// Empty if the frame is not a JSON object.
    #[cold]
    pub(crate) fn read(frame: &str) -> Self {
        serde_json::from_str(frame).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for RawFrame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;

        impl<'de> Visitor<'de> for RawVisitor {
            type Value = RawFrame;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawFrame, A::Error> {
                let mut frame = RawFrame::default();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    match &*key.0 {
                        "method" => frame.method = Some(map.next_value()?),
                        "params" => frame.params = Some(map.next_value()?),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(frame)
            }
        }

        deserializer.deserialize_map(RawVisitor)
    }
}
