//! What a client does when its runtime is lost.

/// What becomes of the observers when a connection ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum OnLoss {
    /// They end with it.
    #[default]
    End,
    /// They go on if the handshake was done: the client can start another runtime.
    Restart,
    /// They go on, whatever happens: this is another runtime already.
    RestartAgain,
}
