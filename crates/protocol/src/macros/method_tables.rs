//! What the tables of methods expand to: for each method a marker type, which connects its name with its types.

macro_rules! is_experimental {
    (stable) => {
        false
    };
    (experimental) => {
        true
    };
}

macro_rules! marker {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {}
    };
}

/// A function whose code is made in this crate, or in the crates that use it.
macro_rules! compiled {
    (here $function:item) => {
        $function
    };
    (where_used $function:item) => {
        #[inline]
        $function
    };
}

macro_rules! client_requests {
    ($( $(#[$meta:meta])* $stability:ident $place:ident $name:ident = $method:literal ($params:ty) -> $response:ty; )*) => {
        $(
            marker! { $(#[$meta])* $name }

            impl $crate::ClientRequest for $name {
                const METHOD: &'static str = $method;
                const EXPERIMENTAL: bool = is_experimental!($stability);
                type Params = $params;
                type Response = $response;

                compiled! { $place
                    fn read_response(raw: &str) -> ::serde_json::Result<$response> {
                        $crate::read::from_text(raw)
                    }
                }
            }
        )*
    };
}

macro_rules! params {
    ($place:ident $name:ident) => {
        impl $crate::Params for $name {
            compiled! { $place
                fn write(&self) -> ::serde_json::Result<Box<::serde_json::value::RawValue>> {
                    $crate::write::to_raw_value(self)
                }
            }
        }
    };
}

macro_rules! client_notifications {
    ($( $(#[$meta:meta])* $stability:ident $name:ident = $method:literal ($params:ty); )*) => {
        $(
            marker! { $(#[$meta])* $name }

            impl $crate::ClientNotification for $name {
                const METHOD: &'static str = $method;
                type Params = $params;
            }
        )*
    };
}

macro_rules! server_requests {
    ($( $(#[$meta:meta])* $stability:ident $name:ident = $method:literal ($params:ty) -> $response:ty; )*) => {
        $(
            marker! { $(#[$meta])* $name }

            impl $crate::ServerRequestMethod for $name {
                const METHOD: &'static str = $method;
                const EXPERIMENTAL: bool = is_experimental!($stability);
                type Params = $params;
                type Response = $response;
            }
        )*
    };
}

macro_rules! server_notifications {
    ($( $(#[$meta:meta])* $stability:ident $name:ident = $method:literal ($params:ty); )*) => {
        $(
            marker! { $(#[$meta])* $name }

            impl $crate::ServerNotification for $name {
                const METHOD: &'static str = $method;
                const EXPERIMENTAL: bool = is_experimental!($stability);
                type Params = $params;
            }
        )*
    };
}
