//! What a client does when it loses its runtime.

/// Whether a connection can outlive its transport: only that to an endpoint can. If the program has no endpoints, the compiler leaves
/// out the code behind this constant, a twentieth of the crate's.
pub(crate) const CAN_OUTLIVE_TRANSPORTS: bool = cfg!(any(test, fuzzing, feature = "endpoints"));

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
