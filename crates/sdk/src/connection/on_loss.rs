//! What a client does when it loses its runtime.

/// What the observers do when a connection is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum OnLoss {
    /// They end.
    #[default]
    End,
    /// They go on if the handshake was done, because the client can start another runtime.
    Restart,
    /// They go on in any case, because this is a restarted runtime.
    RestartAgain,
}
