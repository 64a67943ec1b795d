//! Presets for the protocol's sandbox modes and policies.

use openai_codex_protocol::types::{
    DangerFullAccessSandboxPolicy, ReadOnlySandboxPolicy, SandboxMode, SandboxPolicy,
    WorkspaceWriteSandboxPolicy,
};

/// What the agent's commands may do without an approval, as one of three presets.
///
/// Threads and turns use the same presets. [`ThreadStart::sandbox`](crate::ThreadStart::sandbox), resume and fork send the protocol's
/// [`SandboxMode`], and accept it directly. [`TurnStart::sandbox`](crate::TurnStart::sandbox) sends the protocol's [`SandboxPolicy`].
/// [`TurnStart::sandbox_policy`](crate::TurnStart::sandbox_policy) accepts a policy with writable roots and network access.
///
/// ```
/// use openai_codex::Sandbox;
/// use openai_codex::types::{SandboxMode, SandboxPolicy};
///
/// assert_eq!(SandboxMode::from(Sandbox::FullAccess).as_str(), "danger-full-access");
/// let policy = serde_json::to_value(SandboxPolicy::from(Sandbox::ReadOnly)).unwrap();
/// assert_eq!(policy, serde_json::json!({"type": "readOnly", "networkAccess": false}));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sandbox {
    /// Commands read what the user can read. They write nothing and use no network. An approval that was for more than its own command
    /// still counts; see [`approvals`](crate::guide::approvals).
    ///
    /// On the wire: `sandbox: "read-only"`; `sandboxPolicy: {"type": "readOnly", "networkAccess": false}`.
    ReadOnly,
    /// Commands also write to the thread's folder and to temporary folders. They use no network, unless the user's configuration
    /// allows it.
    ///
    /// A thread that starts, is forked or is loaded with this preset also gets what `sandbox_workspace_write` of the user's
    /// configuration says: network access, writable roots, and whether temporary folders are excluded. A turn with this preset
    /// has no network and has the temporary folders, but the runtime adds the writable roots of the configuration to it. Use
    /// [`ReadOnly`](Self::ReadOnly) where no such root may be written.
    ///
    /// On the wire: `sandbox: "workspace-write"`; `sandboxPolicy: {"type": "workspaceWrite", …}` with no further
    /// roots, no network, and `excludeSlashTmp` and `excludeTmpdirEnvVar` false.
    WorkspaceWrite,
    /// Commands run without a sandbox, with the user's permissions.
    ///
    /// On the wire: `sandbox: "danger-full-access"`; `sandboxPolicy: {"type": "dangerFullAccess"}`.
    FullAccess,
}

impl From<Sandbox> for SandboxMode {
    fn from(sandbox: Sandbox) -> Self {
        match sandbox {
            Sandbox::ReadOnly => Self::ReadOnly,
            Sandbox::WorkspaceWrite => Self::WorkspaceWrite,
            Sandbox::FullAccess => Self::DangerFullAccess,
        }
    }
}

impl From<Sandbox> for SandboxPolicy {
    fn from(sandbox: Sandbox) -> Self {
        match sandbox {
            Sandbox::ReadOnly => ReadOnlySandboxPolicy::new().network_access(false).into(),
            Sandbox::WorkspaceWrite => WorkspaceWriteSandboxPolicy::new()
                .network_access(false)
                .writable_roots(Vec::<String>::new())
                .exclude_slash_tmp(false)
                .exclude_tmpdir_env_var(false)
                .into(),
            Sandbox::FullAccess => DangerFullAccessSandboxPolicy::new().into(),
        }
    }
}

/// A value for a thread's `sandbox`: a [`Sandbox`] preset or the protocol's [`SandboxMode`].
///
/// A string is not a choice, because only the server would notice a misspelled one:
///
/// ```compile_fail
/// # fn program(codex: openai_codex::Codex) {
/// let _ = codex.thread_start().sandbox("workspace_write");
/// # }
/// ```
pub trait SandboxChoice: sealed::Sealed {
    /// The protocol's mode.
    #[doc(hidden)]
    fn into_mode(self) -> SandboxMode;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::options::sandbox::Sandbox {}
    impl Sealed for crate::options::sandbox::SandboxMode {}
}

impl SandboxChoice for Sandbox {
    fn into_mode(self) -> SandboxMode {
        self.into()
    }
}

impl SandboxChoice for SandboxMode {
    fn into_mode(self) -> SandboxMode {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, to_value};

    #[test]
    fn presets_have_the_protocols_shapes() {
        let presets = [
            (Sandbox::ReadOnly, "read-only", json!({"type": "readOnly", "networkAccess": false})),
            (
                Sandbox::WorkspaceWrite,
                "workspace-write",
                json!({
                    "type": "workspaceWrite", "networkAccess": false, "writableRoots": [],
                    "excludeSlashTmp": false, "excludeTmpdirEnvVar": false,
                }),
            ),
            (Sandbox::FullAccess, "danger-full-access", json!({"type": "dangerFullAccess"})),
        ];
        for (preset, mode, policy) in presets {
            assert_eq!(to_value(SandboxMode::from(preset)).unwrap(), mode);
            assert_eq!(to_value(SandboxPolicy::from(preset)).unwrap(), policy);
        }
    }
}
