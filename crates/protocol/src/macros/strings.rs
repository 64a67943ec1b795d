//! `string_enum!`: one of some strings, or one that this version does not know.

macro_rules! string_enum {
    (
        $(#[$meta:meta])*
        $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $value:literal; )* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$vmeta])* $variant, )*
            /// A value that this version does not know.
            Unrecognized(String),
        }

        impl $name {
            /// The value on the wire.
            #[must_use]
            #[inline]
            pub fn as_str(&self) -> &str {
                match self {
                    $( Self::$variant => $value, )*
                    Self::Unrecognized(value) => value,
                }
            }

            #[inline]
            fn known(value: &str) -> Option<Self> {
                match value {
                    $( $value => Some(Self::$variant), )*
                    _ => None,
                }
            }
        }

        impl From<&str> for $name {
            #[inline]
            fn from(value: &str) -> Self {
                match Self::known(value) {
                    Some(known) => known,
                    None => Self::Unrecognized(value.to_owned()),
                }
            }
        }

        impl From<String> for $name {
            #[inline]
            fn from(value: String) -> Self {
                match Self::known(&value) {
                    Some(known) => known,
                    None => Self::Unrecognized(value),
                }
            }
        }

        impl ::std::fmt::Display for $name {
            #[inline]
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::write::Write for $name {
            #[inline]
            fn write(&self, writer: &mut dyn $crate::write::Writer) {
                writer.str(self.as_str());
            }
        }

        write_serialize! { $name }

        impl $crate::read::Read for $name {
            #[inline]
            fn blank() -> Self {
                Self::Unrecognized(String::new())
            }

            #[inline]
            fn read(&mut self, reader: &mut dyn $crate::read::Reader) -> Result<(), $crate::read::Fail> {
                reader.text(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(&*$crate::wire::Key::deserialize(deserializer)?.0))
            }
        }
    };
}
