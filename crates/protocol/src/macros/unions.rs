//! `tagged_union!`, `mixed_union!` and `shape_union!`.
//!
//! A payload is held `inline` or `boxed`; the generator decides by an estimate of its size.

/// Objects that a field with a constant distinguishes.
macro_rules! tagged_union {
    (
        $(#[$meta:meta])*
        $name:ident $tag:literal $($streamed:ident)? {
            $( $(#[$vmeta:meta])* $value:literal = $hold:ident $variant:ident($payload:ident); )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$vmeta])* $variant(held!($hold $payload)), )*
            /// A variant that this version does not know, with its whole JSON.
            Unrecognized(::serde_json::Value),
        }

        impl $name {
            #[doc = concat!("The value of `", $tag, "`.")]
            #[must_use]
            #[inline]
            pub fn tag(&self) -> &str {
                match self {
                    $( Self::$variant(_) => $value, )*
                    Self::Unrecognized(value) => value.get($tag).and_then(::serde_json::Value::as_str).unwrap_or(""),
                }
            }
        }

        impl $crate::read::Union for $name {
            const TABLE: $crate::read::UnionTable = $crate::read::UnionTable {
                name: stringify!($name),
                tag: $tag,
                values: &[$( $value ),*],
            };

            #[inline]
            #[allow(unused_assignments, unused_mut, unused_variables)]
            fn variant(
                &mut self,
                mut at: usize,
                rest: &mut dyn $crate::read::Rest,
            ) -> Result<(), $crate::read::Fail> {
                $(
                    if at == 0 {
                        let payload = <$payload as $crate::read::Object>::blank();
                        *self = Self::$variant(hold!($hold payload));
                        let Self::$variant(payload) = self else { return Ok(()) };
                        return $crate::read::read_payload::<$payload>(payload, rest);
                    }
                    at = at.wrapping_sub(1);
                )*
                Ok(())
            }

            #[inline]
            fn unrecognized(value: ::serde_json::Value) -> Self {
                Self::Unrecognized(value)
            }
        }

        union_deserialize! { $name $($streamed)? { $( $hold $variant($payload); )* } }

        impl $crate::write::Write for $name {
            #[inline]
            fn write(&self, writer: &mut dyn $crate::write::Writer) {
                match self {
                    $( Self::$variant(payload) => $crate::write::Write::write(as_held!($hold payload), writer), )*
                    Self::Unrecognized(value) => writer.json(value),
                }
            }
        }

        write_serialize! { $name }

        $(
            impl From<$payload> for $name {
                #[inline]
                fn from(payload: $payload) -> Self {
                    Self::$variant(hold!($hold payload))
                }
            }
        )*
    };
}

/// Strings, and objects with a single key.
macro_rules! mixed_union {
    (
        $(#[$meta:meta])*
        $name:ident
        strings { $( $(#[$smeta:meta])* $value:literal = $unit:ident; )* }
        keys { $( $(#[$kmeta:meta])* $key:literal = $hold:ident $variant:ident($payload:ty); )* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$smeta])* $unit, )*
            $( $(#[$kmeta])* $variant(held!($hold $payload)), )*
            /// A value that this version does not know, with its whole JSON.
            Unrecognized(::serde_json::Value),
        }

        impl From<&str> for $name {
            #[inline]
            fn from(value: &str) -> Self {
                match value {
                    $( $value => Self::$unit, )*
                    _ => Self::Unrecognized(::serde_json::Value::from(value)),
                }
            }
        }

        impl $crate::write::Write for $name {
            #[inline]
            fn write(&self, writer: &mut dyn $crate::write::Writer) {
                match self {
                    $( Self::$unit => writer.str($value), )*
                    $( Self::$variant(payload) => writer.object(&$crate::write::Member($key, as_held!($hold payload))), )*
                    Self::Unrecognized(value) => writer.json(value),
                }
            }
        }

        write_serialize! { $name }

        impl $crate::read::Mixed for $name {
            #[inline]
            fn knows(key: &str) -> bool {
                [$( $key ),*].contains(&key)
            }

            #[inline]
            #[allow(unused_variables)]
            fn key(
                &mut self,
                key: &str,
                reader: &mut dyn $crate::read::Reader,
            ) -> Result<(), $crate::read::Fail> {
                match key {
                    $(
                        $key => {
                            let mut payload = <$payload as $crate::read::Read>::blank();
                            $crate::read::Read::read(&mut payload, reader)?;
                            *self = Self::$variant(hold!($hold payload));
                            Ok(())
                        }
                    )*
                    _ => Ok(()),
                }
            }

            #[inline]
            fn unrecognized(value: ::serde_json::Value) -> Self {
                Self::Unrecognized(value)
            }
        }

        read_union! { $name mixed stringify!($name) }
        read_deserialize! { $name }
    };
}

/// Alternatives that their JSON shape distinguishes, tried in order.
macro_rules! shape_union {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$vmeta:meta])* $shape:ident $variant:ident($payload:ty) $( = $objects:expr )?; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$vmeta])* $variant($payload), )*
            /// JSON of a shape that this version does not know.
            Unrecognized(::serde_json::Value),
        }

        impl $crate::write::Write for $name {
            #[inline]
            fn write(&self, writer: &mut dyn $crate::write::Writer) {
                match self {
                    $( Self::$variant(payload) => $crate::write::Write::write(payload, writer), )*
                    Self::Unrecognized(value) => writer.json(value),
                }
            }
        }

        write_serialize! { $name }

        impl $crate::read::Read for $name {
            #[inline]
            fn blank() -> Self {
                Self::Unrecognized(::serde_json::Value::Null)
            }

            fn read(&mut self, reader: &mut dyn $crate::read::Reader) -> Result<(), $crate::read::Fail> {
                let value = reader.value()?;
                // First without unknown fields, then with them.
                for strict in [true, false] {
                    $(
                        if has_shape!($shape value strict $($objects)?) {
                            let mut payload = <$payload as $crate::read::Read>::blank();
                            $crate::read::from_value(&value, &mut payload)?;
                            *self = Self::$variant(payload);
                            return Ok(());
                        }
                    )*
                }
                *self = Self::Unrecognized(value);
                Ok(())
            }
        }

        read_deserialize! { $name }

        $(
            impl From<$payload> for $name {
                #[inline]
                fn from(payload: $payload) -> Self {
                    Self::$variant(payload)
                }
            }
        )*
    };
}

/// Reads a union with the shared decoder.
macro_rules! read_union {
    ($name:ident $method:ident $table:expr) => {
        impl $crate::read::Read for $name {
            #[inline]
            fn blank() -> Self {
                Self::Unrecognized(::serde_json::Value::Null)
            }

            #[inline]
            fn read(&mut self, reader: &mut dyn $crate::read::Reader) -> Result<(), $crate::read::Fail> {
                reader.$method($table, self)
            }
        }
    };
}

/// `Deserialize` of a tagged union.
macro_rules! union_deserialize {
    ($name:ident $variants:tt) => {
        read_union! { $name union const { &<$name as $crate::read::Union>::TABLE } }
        read_deserialize! { $name }
    };
    ($name:ident streamed { $( $hold:ident $variant:ident($payload:ident); )* }) => {
        read_union! { $name union const { &<$name as $crate::read::Union>::TABLE } }

        impl $crate::wire::StreamedUnion for $name {
            #[allow(unused_assignments)]
            fn from_map<'de, A: ::serde::de::MapAccess<'de>>(mut at: usize, map: A) -> Result<Self, A::Error> {
                $(
                    if at == 0 {
                        return <$payload as $crate::wire::FromMap>::from_map(map)
                            .map(|payload| Self::$variant(hold!($hold payload)));
                    }
                    at = at.wrapping_sub(1);
                )*
                Ok(Self::Unrecognized(::serde_json::Value::Null))
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::wire::read_streamed_union(deserializer)
            }
        }
    };
}

/// Whether a value has a shape.
macro_rules! has_shape {
    (string $value:ident $strict:ident) => {
        $value.is_string() && $strict
    };
    (list $value:ident $strict:ident) => {
        $value.is_array() && $strict
    };
    (object $value:ident $strict:ident) => {
        $value.is_object() && $strict
    };
    (object $value:ident $strict:ident $objects:expr) => {
        $crate::wire::fits_any($objects, &$value, $strict)
    };
}

/// How a payload is held.
macro_rules! held {
    (inline $ty:ty) => { $ty };
    (boxed $ty:ty) => { Box<$ty> };
}

/// A reference to a payload.
macro_rules! as_held {
    (inline $payload:ident) => {
        $payload
    };
    (boxed $payload:ident) => {
        &**$payload
    };
}

/// Puts a payload where it is held.
macro_rules! hold {
    (inline $value:ident) => {
        $value
    };
    (boxed $value:ident) => {
        Box::new($value)
    };
}

/// Texts that all variants of a tagged union have.
macro_rules! common_text {
    ($name:ident $variants:tt $( $kind:ident $field:ident = $wire:literal; )*) => {
        impl $name {
            $(
                #[doc = concat!("`", $wire, "` of any variant.")]
                #[must_use]
                #[inline]
                pub fn $field(&self) -> Option<&str> {
                    common_text!(@match self $variants $kind $field $wire)
                }
            )*
        }
    };
    (@match $this:ident { $($variant:ident)+ } req $field:ident $wire:literal) => {
        match $this {
            $( Self::$variant(payload) => Some(&payload.$field), )+
            Self::Unrecognized(value) => value.get($wire).and_then(::serde_json::Value::as_str),
        }
    };
    (@match $this:ident { $($variant:ident)+ } opt $field:ident $wire:literal) => {
        match $this {
            $( Self::$variant(payload) => payload.$field.as_deref(), )+
            Self::Unrecognized(value) => value.get($wire).and_then(::serde_json::Value::as_str),
        }
    };
}
