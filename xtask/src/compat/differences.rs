//! The differences that are known, with what explains them. `cargo xtask compat` fails where they are not those it sees.

use super::Run;
use super::behaviours::row_of;

/// Why some tests fail with some runtimes.
pub(crate) struct Difference {
    /// The versions.
    pub(crate) versions: &'static [&'static str],
    /// The tests, by the beginnings of their names.
    pub(crate) tests: &'static [&'static str],
    /// The explanation, a footnote of the table.
    pub(crate) why: &'static str,
    /// Whether it is only the tests that cannot be done: then nothing is known of the behaviour.
    pub(crate) unseen: bool,
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real_runtime::joining"],
        why: "Before 0.148.0 a `turn/start` on a busy thread is answered with a new id that no notification ever names: the \
              input becomes part of the turn that runs, and is lost if that one is interrupted first. A handle of that id would \
              wait for ever, so the SDK refuses the second turn with `UnsupportedByRuntime` and sends nothing. \
              `TurnHandle::steer` adds input to a running turn with every version.",
        unseen: false,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &[
            "surface_turns::an_external_message",
            "surface_turns::the_model_sees_an_external_message",
            "surface_turns::the_runtime_cuts_a_long_external_message",
        ],
        why: "`toolOutput` of `turn/start` came with 0.151.0, and an older runtime ignores it without a word. The SDK refuses \
              an external message with `UnsupportedByRuntime` before anything is sent; `turn_trigger` and \
              `service_tier_for_turn` too.",
        unseen: false,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["surface_threads::a_thread_is_resumed_without_its_turns"],
        why: "`include_turns` of a resume or a fork is offered from 0.151.0 on, as in the reference SDK, and is otherwise \
              refused with `UnsupportedByRuntime`. Leave it out: the answer then holds the turns.",
        unseen: false,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["surface_threads::the_items_of_a_thread"],
        why: "0.133.0 has no `thread/items/list`, and 0.144.4 answers that it is not supported yet. \
              `thread.read().include_turns(true)` brings the items with their turns, with every version.",
        unseen: false,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real_runtime::builders"],
        why: "The tests begin with a page of `thread/items/list`, which 0.133.0 and 0.144.4 do not have. Which options these \
              runtimes refuse in pairs was not seen.",
        unseen: true,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["surface_threads::the_approval_mode_of_a_thread_is_kept_by_its_fork"],
        why: "Before 0.149.0 a fork does not take over the approval policy of its thread but has the configured one: the fork \
              of a thread with `ApprovalMode::DenyAll` may ask again. Say `.approval_mode(…)` when forking. A resume keeps it \
              with every version.",
        unseen: false,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real_runtime::trust::instructions_of_a_folder"],
        why: "0.133.0 and 0.144.4 give the model the `AGENTS.md` of a folder that they are told not to trust; 0.154.0 and newer do \
              not. Nothing else that the folder brings is used: the tests of the row above hold with every version.",
        unseen: false,
    },
    Difference {
        versions: &["0.169.0", "0.171.0"],
        tests: &["real_runtime::trust::a_fork_has_the_default_sandbox"],
        why: "With 0.169.0 and newer a fork has the sandbox of its thread; only where that one is `WorkspaceWrite`, and nobody has decided \
              about the folder, the fork is read-only. With the older ones set it again when forking: the default may write \
              more than the thread could.",
        unseen: false,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &[
            "real_runtime::login::a_person",
            "real_runtime::login::a_login_of_any_kind",
            "real_runtime::login::a_login_with_a_code",
            "real_runtime::login::a_closed_client",
            "real_runtime::login::the_account_is_there",
        ],
        why: "0.133.0 and 0.144.4 ask no other service than OpenAI's, and the tests have a stand-in for it. What these runtimes \
              do once a person has logged in was not seen.",
        unseen: true,
    },
    Difference {
        versions: &["0.154.0"],
        tests: &["real_runtime::login::the_account_is_there"],
        why: "0.154.0 tells the end of a login before it has the account: asked at once, `account()` mostly says that there is \
              none. Wait for `Notification::AccountUpdated`, which follows.",
        unseen: false,
    },
];

/// The footnote that explains a failure.
pub(crate) fn explanation(version: &str, test: &str) -> Option<usize> {
    DIFFERENCES.iter().position(|difference| {
        difference.versions.contains(&version)
            && difference.tests.iter().any(|beginning| test.starts_with(beginning))
    })
}

/// What is seen but not explained, and what is explained but not seen.
pub(crate) fn problems(runs: &[Run]) -> Vec<String> {
    let mut problems = Vec::new();
    for Run { version, outcome } in runs {
        for program in &outcome.unfinished {
            problems.push(format!("runtime {version}: `{program}` did not come to its end"));
        }
        for test in outcome.driven.iter().filter(|test| row_of(test).is_none()) {
            problems.push(format!("`{test}` has no row in xtask/src/compat/behaviours.rs"));
        }
        for (test, said) in outcome.failed.iter().filter(|(test, _)| explanation(version, test).is_none()) {
            problems.push(format!(
                "runtime {version}: `{test}` fails, and xtask/src/compat/differences.rs does not say why: {said}"
            ));
        }
        for difference in DIFFERENCES.iter().filter(|difference| difference.versions.contains(version)) {
            let seen = |beginning: &str| outcome.failed.keys().any(|test| test.starts_with(beginning));
            for beginning in difference.tests.iter().filter(|beginning| !seen(beginning)) {
                problems.push(format!(
                    "runtime {version}: no test `{beginning}…` fails, but xtask/src/compat/differences.rs explains one"
                ));
            }
        }
    }
    problems.dedup();
    problems
}

#[cfg(test)]
mod tests {
    use super::super::suite::Outcome;
    use super::*;
    use crate::versions::VERSIONS;

    #[test]
    fn what_is_explained_can_be_seen() {
        for difference in DIFFERENCES {
            assert!(
                difference.versions.iter().all(|version| VERSIONS.contains(version)),
                "{:?}",
                difference.versions
            );
            for test in difference.tests {
                assert!(row_of(test).is_some(), "{test}");
            }
        }
    }

    #[test]
    fn only_what_is_seen_and_explained_is_no_problem() {
        let joining = "real_runtime::joining::both".to_owned();
        let run = |version, failed: &[&String]| {
            let failed = failed.iter().map(|test| ((*test).clone(), "no".to_owned())).collect();
            Run { version, outcome: Outcome { failed, ..Outcome::default() } }
        };
        assert!(problems(&[run("0.163.0", &[])]).is_empty());
        let unexplained = problems(&[run("0.163.0", &[&joining])]);
        assert!(unexplained[0].contains("does not say why: no"), "{unexplained:?}");
        let unseen = problems(&[run("0.133.0", &[])]);
        assert!(unseen.iter().any(|problem| problem.contains("`real_runtime::joining…`")), "{unseen:?}");
        let seen = problems(&[run("0.133.0", &[&joining])]);
        assert!(!seen.iter().any(|problem| problem.contains("joining")), "{seen:?}");
    }
}
