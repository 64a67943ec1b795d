//! Compares sandbox policies by everything that they allow.

use openai_codex_protocol::types::{ReadOnlySandboxPolicy, SandboxPolicy};

/// What both policies allow. Neither of two policies may be the narrower one: the first may write more, and the second may use the
/// network.
pub(crate) fn common(named: &SandboxPolicy, current: &SandboxPolicy) -> SandboxPolicy {
    let network = uses_network(named) && uses_network(current);
    match (named, current) {
        (SandboxPolicy::ReadOnly(_), _) | (_, SandboxPolicy::ReadOnly(_)) => {
            ReadOnlySandboxPolicy::new().network_access(network).into()
        }
        (SandboxPolicy::WorkspaceWrite(named), SandboxPolicy::WorkspaceWrite(current)) => {
            let mut common = current.clone().network_access(network);
            let either = |named: Option<bool>, current: Option<bool>| {
                Some(named.unwrap_or(false) || current.unwrap_or(false))
            };
            common.exclude_slash_tmp = either(named.exclude_slash_tmp, current.exclude_slash_tmp);
            common.exclude_tmpdir_env_var =
                either(named.exclude_tmpdir_env_var, current.exclude_tmpdir_env_var);
            let roots = named.writable_roots.iter().flatten();
            let both =
                roots.filter(|root| current.writable_roots.iter().flatten().any(|other| other == *root));
            common.writable_roots = Some(both.cloned().collect());
            common.into()
        }
        (SandboxPolicy::WorkspaceWrite(one), _) | (_, SandboxPolicy::WorkspaceWrite(one)) => {
            one.clone().network_access(network).into()
        }
        (SandboxPolicy::DangerFullAccess(_), _) => current.clone(),
        _ if uses_network(named) && !network => current.clone(),
        _ => named.clone(),
    }
}

/// Unknown policies may allow anything.
fn uses_network(policy: &SandboxPolicy) -> bool {
    match policy {
        SandboxPolicy::ReadOnly(policy) => policy.network_access.unwrap_or(false),
        SandboxPolicy::WorkspaceWrite(policy) => policy.network_access.unwrap_or(false),
        SandboxPolicy::ExternalSandbox(policy) => {
            policy.network_access.as_ref().is_some_and(|access| access.as_str() == "enabled")
        }
        _ => true,
    }
}
