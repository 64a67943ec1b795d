//! What a stream does about text that it has missed.

/// What a stream does about the deltas that the server sent while the connection was lost.
///
/// The server does not send them again. So the text of an item that was being written then has a hole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapPolicy {
    /// The stream returns no further delta of such an item until the server has completed it. Then it returns one delta with the
    /// rest of the text, and `item/completed`. The deltas put together are the text of the item.
    #[default]
    Repair,
    /// The stream goes on with the next delta. The first delta after a hole has the additional field `gap`. The text is whole only in
    /// `item/completed`.
    Live,
}
