//! Lines of the method table.

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestInfo {
    /// Its name on the wire.
    pub method: &'static str,
    /// Whether it needs the capability `experimentalApi`.
    pub experimental: bool,
    /// Name of the type of its parameters, if it has any.
    pub params: Option<&'static str>,
    /// Name of the type of its answer.
    pub response: &'static str,
}

impl RequestInfo {
    pub(crate) const fn new(
        method: &'static str,
        experimental: bool,
        params: Option<&'static str>,
        response: &'static str,
    ) -> Self {
        Self { method, experimental, params, response }
    }
}

/// A notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotificationInfo {
    /// Its name on the wire.
    pub method: &'static str,
    /// Whether it needs the capability `experimentalApi`.
    pub experimental: bool,
    /// Name of the type of its payload, if it has any.
    pub params: Option<&'static str>,
    /// How two of them may become one; `None` where they must not.
    pub merge: Option<MergeKey>,
}

impl NotificationInfo {
    pub(crate) const fn new(
        method: &'static str,
        experimental: bool,
        params: Option<&'static str>,
        merge: Option<MergeKey>,
    ) -> Self {
        Self { method, experimental, params, merge }
    }
}

/// Two deltas of a method whose key fields are equal are one delta with the concatenated text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergeKey {
    /// Wire name of the field in `params` that holds the text.
    pub text: &'static str,
    /// Wire names of the fields in `params` that, with the method, tell one stream from another.
    pub key: &'static [&'static str],
}

impl MergeKey {
    pub(crate) const fn new(text: &'static str, key: &'static [&'static str]) -> Self {
        Self { text, key }
    }
}
