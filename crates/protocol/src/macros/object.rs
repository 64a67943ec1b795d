//! `object!`: a struct with its wire names.
//!
//! The mode is `sent` (has a constructor and setters), `received` or `streamed` (received, with a decoder of its own).
//!
//! A field reads `kind setter name: Type = "wireName";`. The kind is
//!
//! - `req`: has to be there;
//! - `null`: has to be there, may be null;
//! - `opt`: may be left out, null reads as left out;
//! - `any`: may be left out, arbitrary JSON, null is a value;
//! - `dbl`: may be left out, and null means something of its own.
//!
//! The setter is `into` (takes `impl Into<Type>`), `plain` (takes the type) or `list` (a list of the type).

macro_rules! object {
    (
        $mode:ident
        $(#[$meta:meta])*
        $name:ident $(= $tag:literal $tag_value:literal)?
        required { $( $(#[$rmeta:meta])* $rkind:ident $rset:ident $rfield:ident: $rty:ty = $rwire:literal; )* }
        optional { $( $(#[$ometa:meta])* $okind:ident $oset:ident $ofield:ident: $oty:ty = $owire:literal; )* }
        $( one_of { $($alternative:ident)+ } )?
    ) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $( $(#[$rmeta])* pub $rfield: field_type!($rkind $rset $rty), )*
            $( $(#[$ometa])* pub $ofield: field_type!($okind $oset $oty), )*
            /// Fields that this version does not know.
            pub extra: $crate::Extra,
        }

        impl $crate::read::Object for $name {
            const TABLE: $crate::read::ObjectTable = $crate::read::ObjectTable::new(
                stringify!($name),
                &[ $( $rwire, )* $( $owire, )* ],
                &[ $( is_required!($rkind), )* ],
            );

            #[inline]
            fn blank() -> Self {
                Self {
                    $( $rfield: $crate::read::Read::blank(), )*
                    $( $ofield: None, )*
                    extra: $crate::Extra::new(),
                }
            }

            // Macros cannot number fields. The compiler turns the countdown into a jump table.
            #[inline]
            #[allow(unused_assignments, unused_mut, unused_variables)]
            fn field(
                &mut self,
                mut at: usize,
                reader: &mut dyn $crate::read::Reader,
            ) -> Result<(), $crate::read::Fail> {
                $(
                    if at == 0 {
                        return $crate::read::Read::read(&mut self.$rfield, reader);
                    }
                    at = at.wrapping_sub(1);
                )*
                $(
                    if at == 0 {
                        return put_optional!($okind self.$ofield, reader);
                    }
                    at = at.wrapping_sub(1);
                )*
                Ok(())
            }

            #[inline]
            fn extra(&mut self) -> &mut $crate::Extra {
                &mut self.extra
            }

            $(
                #[inline]
                fn lacks(&self) -> Option<&'static str> {
                    ($( self.$alternative.is_none() )&&+)
                        .then_some(concat!($("`", stringify!($alternative), "` "),+))
                }
            )?
        }

        impl $crate::read::Read for $name {
            #[inline]
            fn blank() -> Self {
                <Self as $crate::read::Object>::blank()
            }

            #[inline]
            fn read(&mut self, reader: &mut dyn $crate::read::Reader) -> Result<(), $crate::read::Fail> {
                reader.object(const { &<Self as $crate::read::Object>::TABLE }, self)
            }
        }

        impl $crate::write::Members for $name {
            #[inline]
            fn each(&self, object: &mut dyn $crate::write::ObjectWriter) {
                $( object.member($tag, &$tag_value); )?
                $( object.member($rwire, &self.$rfield); )*
                $(
                    if let Some(value) = &self.$ofield {
                        object.member($owire, value);
                    }
                )*
                $crate::write::Members::each(&self.extra, object);
            }
        }

        impl $crate::write::Write for $name {
            #[inline]
            fn write(&self, writer: &mut dyn $crate::write::Writer) {
                writer.object(self);
            }
        }

        write_serialize! { $name }
        object_deserialize! {
            $mode $name $($tag)?
            { $( $rkind $rfield = $rwire; )* }
            { $( $okind $ofield = $owire; )* }
        }
        builder! {
            $mode $name
            { $( $rkind $rset $rfield: $rty = $rwire; )* }
            { $( $okind $oset $ofield: $oty = $owire; )* }
        }
    };
}

/// `Deserialize` of an object. A union reads its variants.
macro_rules! object_deserialize {
    (streamed $name:ident $tag:literal $required:tt $optional:tt) => {
        from_map! { $name $required $optional }
    };
    (streamed $name:ident $required:tt $optional:tt) => {
        from_map! { $name $required $optional }

        impl<'de> ::serde::Deserialize<'de> for $name {
            #[inline]
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::wire::read_streamed(deserializer)
            }
        }
    };
    ($mode:ident $name:ident $tag:literal $required:tt $optional:tt) => {
        impl $crate::wire::FromMap for $name {
            const NAME: &'static str = stringify!($name);

            #[inline]
            fn from_map<'de, A: ::serde::de::MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
                $crate::read::from_map(map)
            }
        }
    };
    ($mode:ident $name:ident $required:tt $optional:tt) => {
        read_deserialize! { $name }
    };
}

/// The fastest decoder of an object, which costs the most compile time: each format instantiates it for each object.
macro_rules! from_map {
    (
        $name:ident
        { $( $rkind:ident $rfield:ident = $rwire:literal; )* }
        { $( $okind:ident $ofield:ident = $owire:literal; )* }
    ) => {
        impl $crate::wire::FromMap for $name {
            const NAME: &'static str = stringify!($name);

            fn from_map<'de, A: ::serde::de::MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
                $( let mut $rfield = None; )*
                $( let mut $ofield = None; )*
                let mut extra = $crate::Extra::new();
                while let Some(key) = map.next_key::<$crate::wire::Key<'de>>()? {
                    match &*key.0 {
                        $( $rwire => $rfield = Some(map.next_value()?), )*
                        $( $owire => $ofield = read_optional!($okind map), )*
                        _ => $crate::wire::read_extra(&mut extra, key.0, &mut map)?,
                    }
                }
                Ok(Self {
                    $( $rfield: required!($rkind $rfield $rwire), )*
                    $( $ofield, )*
                    extra,
                })
            }
        }
    };
}

/// `Deserialize` through the shared decoder.
macro_rules! read_deserialize {
    ($name:ident) => {
        impl<'de> ::serde::Deserialize<'de> for $name {
            #[inline]
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::read::deserialize(deserializer)
            }
        }
    };
}

/// `Serialize` through the shared encoder.
macro_rules! write_serialize {
    ($name:ident) => {
        impl ::serde::Serialize for $name {
            #[inline]
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::write::serialize(self, serializer)
            }
        }
    };
}

/// Whether the decoder rejects an object without the field.
macro_rules! is_required {
    (null) => {
        false
    };
    (req) => {
        true
    };
}

/// Reads an optional field in the shared decoder.
macro_rules! put_optional {
    (opt $this:ident.$field:ident, $reader:ident) => {
        $crate::read::Read::read(&mut $this.$field, $reader)
    };
    ($kind:ident $this:ident.$field:ident, $reader:ident) => {
        $crate::read::Take::take(&mut $this.$field, $reader)
    };
}

/// Type of a field.
macro_rules! field_type {
    (req list $ty:ty) => { Vec<$ty> };
    (req $set:ident $ty:ty) => { $ty };
    (dbl $set:ident $ty:ty) => { Option<Option<$ty>> };
    ($kind:ident list $ty:ty) => { Option<Vec<$ty>> };
    ($kind:ident $set:ident $ty:ty) => { Option<$ty> };
}

/// Reads an optional field of a streamed object.
macro_rules! read_optional {
    (opt $map:ident) => {
        $map.next_value()?
    };
    ($kind:ident $map:ident) => {
        Some($map.next_value()?)
    };
}

/// The value of a required field.
macro_rules! required {
    (null $field:ident $wire:literal) => {
        $field.unwrap_or_default()
    };
    (req $field:ident $wire:literal) => {
        match $field {
            Some(value) => value,
            None => return Err($crate::wire::missing($wire)),
        }
    };
}

/// Constructor and setters of what the client sends.
macro_rules! builder {
    (received $($rest:tt)*) => {};
    (streamed $($rest:tt)*) => {};
    (
        sent $name:ident
        { $( $rkind:ident $rset:ident $rfield:ident: $rty:ty = $rwire:literal; )* }
        { $( $okind:ident $oset:ident $ofield:ident: $oty:ty = $owire:literal; )* }
    ) => {
        impl $name {
            /// With the required fields; everything else is left out.
            #[must_use]
            #[inline]
            #[allow(clippy::too_many_arguments, clippy::new_without_default)]
            pub fn new($( $rfield: argument!($rkind $rset $rty) ),*) -> Self {
                Self {
                    $( $rfield: converted!($rkind $rset $rfield), )*
                    $( $ofield: None, )*
                    extra: $crate::Extra::new(),
                }
            }

            $( setter! { $okind $oset $ofield: $oty = $owire } )*
        }
    };
}

/// Type of the argument for a field.
macro_rules! argument {
    (null $set:ident $ty:ty) => { Option<$ty> };
    ($kind:ident into $ty:ty) => { impl Into<$ty> };
    ($kind:ident list $ty:ty) => { impl IntoIterator<Item = impl Into<$ty>> };
    ($kind:ident plain $ty:ty) => { $ty };
}

/// The field's value from its argument.
macro_rules! converted {
    (null $set:ident $value:ident) => {
        $value
    };
    ($kind:ident into $value:ident) => {
        $value.into()
    };
    ($kind:ident list $value:ident) => {
        $value.into_iter().map(Into::into).collect()
    };
    ($kind:ident plain $value:ident) => {
        $value
    };
}

/// One setter.
macro_rules! setter {
    (dbl $set:ident $field:ident: $ty:ty = $wire:literal) => {
        #[doc = concat!("Sets `", $wire, "`.")]
        #[must_use]
        #[inline]
        pub fn $field(mut self, value: argument!(dbl $set $ty)) -> Self {
            self.$field = Some(Some(converted!(dbl $set value)));
            self
        }
    };
    ($kind:ident $set:ident $field:ident: $ty:ty = $wire:literal) => {
        #[doc = concat!("Sets `", $wire, "`.")]
        #[must_use]
        #[inline]
        pub fn $field(mut self, value: argument!($kind $set $ty)) -> Self {
            self.$field = Some(converted!($kind $set value));
            self
        }
    };
}

/// `Debug` without the secrets.
macro_rules! redacted_debug {
    ($name:ident shown { $($field:ident)* } secret { $($secret:ident)+ }) => {
        impl ::std::fmt::Debug for $name {
            #[inline]
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($name))
                    $( .field(stringify!($field), &self.$field) )*
                    $( .field(stringify!($secret), &format_args!("<redacted>")) )+
                    .field("extra", &self.extra)
                    .finish()
            }
        }
    };
}

/// Setters that send null, of doubly optional fields.
macro_rules! clear {
    ($name:ident $( $clear:ident = $field:ident $wire:literal; )+) => {
        impl $name {
            $(
                #[doc = concat!("Sends null as `", $wire, "`, which is not the same as leaving it out.")]
                #[must_use]
                #[inline]
                pub fn $clear(mut self) -> Self {
                    self.$field = Some(None);
                    self
                }
            )+
        }
    };
}
