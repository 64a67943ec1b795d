//! Messages without a type.

use std::fmt;

use serde::ser::SerializeMap;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::DecodeError;

/// Writes parameters unchanged, and nothing if there are none.
pub(crate) fn write_raw<M: SerializeMap>(map: &mut M, params: Option<&RawValue>) -> Result<(), M::Error> {
    params.map_or(Ok(()), |params| map.serialize_entry("params", params))
}

macro_rules! raw_message {
    ($(#[$meta:meta])* $name:ident { $( $(#[$fmeta:meta])* $field:ident: $ty:ty, )* }) => {
        $(#[$meta])*
        #[derive(Clone)]
        #[non_exhaustive]
        pub struct $name {
            /// The method.
            pub method: String,
            /// The parameters, unchanged.
            pub params: Option<Box<RawValue>>,
            $( $(#[$fmeta])* pub $field: $ty, )*
        }

        impl $name {
            /// Creates it from a method, its parameters and the rest.
            #[must_use]
            pub fn new(method: impl Into<String>, params: Option<Box<RawValue>> $(, $field: $ty)*) -> Self {
                Self { method: method.into(), params $(, $field)* }
            }

            /// The parameters as a value.
            #[must_use]
            pub fn value(&self) -> Option<Value> {
                self.params.as_ref().and_then(|params| serde_json::from_str(params.get()).ok())
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.method == other.method
                    && self.params.as_ref().map(|params| params.get()) == other.params.as_ref().map(|params| params.get())
                    $( && self.$field == other.$field )*
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("method", &self.method)
                    .field("params", &self.params.as_ref().map(|params| params.get()))
                    $( .field(stringify!($field), &self.$field) )*
                    .finish()
            }
        }
    };
}

raw_message! {
    /// A notification with a method that this version does not know.
    UnknownNotification {}
}

raw_message! {
    /// A notification with a known method whose payload cannot be decoded.
    UndecodableNotification {
        /// The place and the reason.
        error: DecodeError,
    }
}

raw_message! {
    /// A server request with a method that this version does not know.
    UnknownRequest {}
}

raw_message! {
    /// A server request with a known method whose parameters cannot be decoded.
    UndecodableRequest {
        /// The place and the reason.
        error: DecodeError,
    }
}
