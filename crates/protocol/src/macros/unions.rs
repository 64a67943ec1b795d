//! `tagged_union!`, `mixed_union!` and `shape_union!`.
//!
//! A payload is held `inline` or `boxed`; the generator decides by an estimate of its size.

/// Objects told apart by a field that holds a constant.
macro_rules! tagged_union {
    (
        $(#[$meta:meta])*
        $name:ident $tag:literal {
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

        impl $crate::wire::Union for $name {
            const NAME: &'static str = stringify!($name);
            const TAG: &'static str = $tag;

            fn is_known(tag: &str) -> bool {
                matches!(tag, $( $value )|*)
            }

            fn read<'de, A: ::serde::de::MapAccess<'de>>(
                tag: ::std::borrow::Cow<'de, str>,
                map: A,
            ) -> Result<Self, A::Error> {
                match &*tag {
                    $(
                        $value => <$payload as $crate::wire::Object>::read(map)
                            .map(|payload| Self::$variant(hold!($hold payload))),
                    )*
                    _ => $crate::wire::read_unrecognized(tag, map),
                }
            }

            fn unrecognized(value: ::serde_json::Value) -> Self {
                Self::Unrecognized(value)
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $( Self::$variant(payload) => payload.serialize(serializer), )*
                    Self::Unrecognized(value) => value.serialize(serializer),
                }
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::wire::read_union(deserializer)
            }
        }

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

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                #[allow(unused_imports)]
                use ::serde::ser::SerializeMap as _;
                match self {
                    $( Self::$unit => serializer.serialize_str($value), )*
                    $(
                        Self::$variant(payload) => {
                            let mut map = serializer.serialize_map(Some(1))?;
                            map.serialize_entry($key, payload)?;
                            map.end()
                        }
                    )*
                    Self::Unrecognized(value) => value.serialize(serializer),
                }
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct MixedVisitor;

                impl<'de> ::serde::de::Visitor<'de> for MixedVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str(concat!("a string or an object `", stringify!($name), "`"))
                    }

                    fn visit_str<E>(self, value: &str) -> Result<$name, E> {
                        Ok($name::from(value))
                    }

                    fn visit_map<A: ::serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let Some(key) = map.next_key::<$crate::wire::Key<'de>>()? else {
                            return Ok($name::Unrecognized(::serde_json::Value::Object($crate::JsonObject::new())));
                        };
                        match &*key.0 {
                            $(
                                $key => {
                                    let payload: $payload = map.next_value()?;
                                    $crate::wire::expect_end(&mut map, stringify!($name))?;
                                    Ok($name::$variant(hold!($hold payload)))
                                }
                            )*
                            _ => $crate::wire::read_unrecognized_key(key.0, map).map($name::Unrecognized),
                        }
                    }
                }

                deserializer.deserialize_any(MixedVisitor)
            }
        }
    };
}

/// Alternatives told apart by their JSON shape, tried in order.
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

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $( Self::$variant(payload) => payload.serialize(serializer), )*
                    Self::Unrecognized(value) => value.serialize(serializer),
                }
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = ::serde_json::Value::deserialize(deserializer)?;
                // First without unknown fields, then with them.
                for strict in [true, false] {
                    $(
                        if has_shape!($shape value strict $($objects)?) {
                            return $crate::wire::read_value(value).map(Self::$variant);
                        }
                    )*
                }
                Ok(Self::Unrecognized(value))
            }
        }

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
