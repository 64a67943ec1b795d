//! Entries of the method table.

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestInfo {
    /// Its name on the wire.
    pub method: &'static str,
    /// Whether it needs the capability `experimentalApi`.
    pub experimental: bool,
    /// The name of its parameter type, if it has parameters.
    pub params: Option<&'static str>,
    /// The name of its response type.
    pub response: &'static str,
    /// The first of [`RUNTIMES`](crate::table::RUNTIMES) that has it. `None` if the oldest has it.
    pub since: Option<&'static str>,
    /// The last of [`RUNTIMES`](crate::table::RUNTIMES) that has it. `None` if the newest has it.
    pub until: Option<&'static str>,
    /// The top-level parameters that only some of the runtimes with this method have.
    pub fields: &'static [FieldInfo],
}

impl RequestInfo {
    pub(crate) const fn new(
        method: &'static str,
        experimental: bool,
        params: Option<&'static str>,
        response: &'static str,
    ) -> Self {
        Self { method, experimental, params, response, since: None, until: None, fields: &[] }
    }

    pub(crate) const fn runtimes(self, since: Option<&'static str>, until: Option<&'static str>) -> Self {
        Self { since, until, ..self }
    }

    pub(crate) const fn fields(self, fields: &'static [FieldInfo]) -> Self {
        Self { fields, ..self }
    }
}

/// A parameter that only some runtimes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldInfo {
    /// Its name on the wire.
    pub name: &'static str,
    /// The first of [`RUNTIMES`](crate::table::RUNTIMES) that has it, or with `exact` the first version of all. `None`
    /// if the oldest has it.
    pub since: Option<&'static str>,
    /// The last of [`RUNTIMES`](crate::table::RUNTIMES) that has it. `None` if the newest has it.
    pub until: Option<&'static str>,
    /// Whether `since` is the first version of all that supports it. Without a known version a runtime does not count
    /// as supporting it.
    pub exact: bool,
}

impl FieldInfo {
    pub(crate) const fn new(
        name: &'static str,
        since: Option<&'static str>,
        until: Option<&'static str>,
    ) -> Self {
        Self { name, since, until, exact: false }
    }

    pub(crate) const fn exact(name: &'static str, since: &'static str) -> Self {
        Self { name, since: Some(since), until: None, exact: true }
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
    /// The name of its payload type, if it has a payload.
    pub params: Option<&'static str>,
    /// How to coalesce two of them. `None` if they must not be coalesced.
    pub merge: Option<MergeKey>,
    /// The first of [`RUNTIMES`](crate::table::RUNTIMES) that has it. `None` if the oldest has it.
    pub since: Option<&'static str>,
    /// The last of [`RUNTIMES`](crate::table::RUNTIMES) that has it. `None` if the newest has it.
    pub until: Option<&'static str>,
}

impl NotificationInfo {
    pub(crate) const fn new(
        method: &'static str,
        experimental: bool,
        params: Option<&'static str>,
        merge: Option<MergeKey>,
    ) -> Self {
        Self { method, experimental, params, merge, since: None, until: None }
    }

    pub(crate) const fn runtimes(self, since: Option<&'static str>, until: Option<&'static str>) -> Self {
        Self { since, until, ..self }
    }
}

/// Two deltas of a method with equal key fields are one delta with the concatenated text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergeKey {
    /// The wire name of the field in `params` that contains the text.
    pub text: &'static str,
    /// The wire names of the fields in `params` that, with the method, identify a stream.
    pub key: &'static [&'static str],
}

impl MergeKey {
    pub(crate) const fn new(text: &'static str, key: &'static [&'static str]) -> Self {
        Self { text, key }
    }
}
