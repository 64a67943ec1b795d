//! Compares approval policies by what an agent may do under them.

use openai_codex_protocol::types::{AskForApproval, GranularAskForApproval};

/// What one bound allows, in comparison with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nothing that the other one does not allow.
    Within,
    /// All that the other one allows, and more.
    Wider,
    /// Something that the other one does not allow, and not all that the other one allows. Or one of them is unknown.
    Differs,
}

impl Scope {
    /// `exceeds`: whether the bound allows something that the other one does not. `is_exceeded`: the reverse.
    pub(crate) fn new(exceeds: bool, is_exceeded: bool) -> Self {
        match (exceeds, is_exceeded) {
            (false, _) => Self::Within,
            (true, false) => Self::Wider,
            (true, true) => Self::Differs,
        }
    }
}

/// What a policy allows.
#[derive(PartialEq)]
struct Allowed {
    /// Whether commands run in the sandbox without a request.
    runs_unasked: bool,
    /// The kinds of requests that the agent may make. A request that is approved exceeds the sandbox.
    requests: [bool; 5],
}

impl Allowed {
    /// `None` for a policy that this version does not know.
    fn of(policy: &AskForApproval) -> Option<Self> {
        let requests = match policy {
            AskForApproval::Never => [false; 5],
            AskForApproval::Untrusted | AskForApproval::OnRequest | AskForApproval::OnFailure => [true; 5],
            AskForApproval::Granular(GranularAskForApproval {
                mcp_elicitations,
                rules,
                sandbox_approval,
                request_permissions,
                skill_approval,
                ..
            }) => {
                let [permissions, skills] =
                    [request_permissions, skill_approval].map(|request| request.unwrap_or(false));
                [*mcp_elicitations, *rules, *sandbox_approval, permissions, skills]
            }
            _ => return None,
        };
        Some(Self { runs_unasked: !matches!(policy, AskForApproval::Untrusted), requests })
    }

    fn exceeds(&self, other: &Self) -> bool {
        let mut requests = self.requests.iter().zip(&other.requests);
        (self.runs_unasked && !other.runs_unasked) || requests.any(|(own, others)| *own && !others)
    }
}

/// Whether two policies are the same. A runtime returns a granular one with the kinds of requests that were left out.
pub(crate) fn is_same(policy: &AskForApproval, other: &AskForApproval) -> bool {
    match (policy, other) {
        (AskForApproval::Granular(_), AskForApproval::Granular(_)) => {
            Allowed::of(policy) == Allowed::of(other)
        }
        _ => policy == other,
    }
}

/// Compares what an agent may do under a policy with what it may do under another one.
pub(crate) fn compare(policy: &AskForApproval, other: &AskForApproval) -> Scope {
    match (Allowed::of(policy), Allowed::of(other)) {
        (Some(policy), Some(other)) => Scope::new(policy.exceeds(&other), other.exceeds(&policy)),
        _ if is_same(policy, other) => Scope::Within,
        _ => Scope::Differs,
    }
}

/// Whether an agent makes requests under a policy, so that it matters who decides about them.
pub(crate) fn makes_requests(policy: &AskForApproval) -> bool {
    Allowed::of(policy).is_none_or(|allowed| allowed.requests.contains(&true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_compared_by_what_they_allow() {
        use AskForApproval::{Never, OnFailure, OnRequest, Untrusted};
        let granular = |sandbox| AskForApproval::from(GranularAskForApproval::new(false, false, sandbox));
        let unknown = || AskForApproval::from("later");
        for (policy, other, scope) in [
            (Never, OnRequest, Scope::Within),
            (OnRequest, Never, Scope::Wider),
            (Untrusted, OnRequest, Scope::Within),
            (OnRequest, Untrusted, Scope::Wider),
            (OnRequest, OnFailure, Scope::Within),
            (Never, Untrusted, Scope::Differs),
            (Untrusted, Never, Scope::Differs),
            (granular(true), OnRequest, Scope::Within),
            (OnRequest, granular(true), Scope::Wider),
            (granular(false), Never, Scope::Within),
            (granular(true), granular(false), Scope::Wider),
            (granular(true), Untrusted, Scope::Differs),
            (unknown(), OnRequest, Scope::Differs),
            (unknown(), unknown(), Scope::Within),
        ] {
            assert_eq!(compare(&policy, &other), scope, "{policy:?}, {other:?}");
        }
        let returned = GranularAskForApproval::new(false, false, true).request_permissions(false);
        assert!(is_same(&granular(true), &returned.skill_approval(false).into()));
        assert!(!is_same(&granular(true), &granular(false)) && !is_same(&OnRequest, &granular(true)));
        assert!(makes_requests(&granular(true)) && makes_requests(&unknown()));
        assert!(!makes_requests(&granular(false)) && !makes_requests(&Never));
    }
}
