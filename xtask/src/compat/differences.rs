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
    /// What the failures say.
    pub(crate) sort: Sort,
}

/// What the failures of a difference say.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Sort {
    /// The runtime lacks the behaviour.
    Lacking,
    /// The tests fail with this runtime at times, by the order in which it tells things.
    AtTimes,
    /// It is only the tests that cannot be done: nothing is known of the behaviour.
    Unseen,
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &[
            "real_runtime::joining",
            "real_runtime::bounds::a_bound_of_a_turn_that_would_join",
            "real_runtime::limits::a_joined_call",
        ],
        why: "Before 0.148.0 a `turn/start` on a busy thread is answered with a new id that no notification ever names: the \
              input becomes part of the turn that runs, and is lost if that one is interrupted first. A handle of that id would \
              wait for ever, so the SDK refuses the second turn with `UnsupportedByRuntime` and sends nothing. \
              `TurnHandle::steer` adds input to a running turn with every version.",
        sort: Sort::Lacking,
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
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["surface_threads::a_thread_is_resumed_without_its_turns"],
        why: "`include_turns` of a resume or a fork is offered from 0.151.0 on, as in the reference SDK, and is otherwise \
              refused with `UnsupportedByRuntime`. Leave it out: the answer then holds the turns.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &[
            "surface_threads::the_items_of_a_thread",
            "real_runtime::unloaded::everything_that_is_asked",
        ],
        why: "0.133.0 has no `thread/items/list`, and the SDK refuses it with `UnsupportedByRuntime`; 0.144.4 answers that it is \
              not supported yet. `thread.read().include_turns(true)` brings the items with their turns, with every version.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &[
            "real_runtime::unloaded::a_thread_that_has_not_run_yet_has_no_turns_and_no_items",
            "real_runtime::unloaded::what_an_ephemeral_thread_has_not",
        ],
        why: "The tests ask for items too, which 0.133.0 does not list. Of a thread that has not run yet its turns are an empty \
              list with every version.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &["real_runtime::unloaded::an_archived_thread"],
        why: "0.133.0 resumes an archived thread and goes on with it; later ones refuse, and the SDK says `ThreadArchived`.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &["real_runtime::unloaded::a_thread_that_is_not_there"],
        why: "0.133.0 has no `thread/delete`, with which the test begins.",
        sort: Sort::Unseen,
    },
    Difference {
        versions: &["0.133.0", "0.144.4", "0.154.0"],
        tests: &["real_runtime::bounds::a_service_tier"],
        why: "0.154.0 and older take a thread with the service tier `flex` and leave the tier out, for a model that they do \
              not know to offer it. The SDK sees that in the answer and refuses with `OptionNotApplied`.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real_runtime::builders"],
        why: "0.133.0 and 0.144.4 lack some options: the SDK refuses `include_turns`, `turn_trigger`, `service_tier_for_turn`, \
              `section_id`, external messages and the items of a thread, on 0.133.0 also `last_turn_id`, with \
              `UnsupportedByRuntime`, and the service tier `flex` with `OptionNotApplied`. 0.133.0 itself refuses to sort by \
              `recency_at`. All other options of threads, turns and `thread_list` are taken, alone and in pairs.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.154.0"],
        tests: &[
            "real_runtime::builders::setters_of_a_new_thread",
            "real_runtime::builders::setters_of_a_fork",
        ],
        why: "Of 0.154.0 it is the service tier `flex` alone. All other options are taken, alone and in pairs.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real_runtime::recovering::a_turn_that_has_ended"],
        why: "0.133.0 and 0.144.4 record a failed turn as a completed one without a final response, and `recover` cannot tell them \
              apart. A turn that its handle still observes fails with every version.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &[
            "real_runtime::interrupting::an_interrupted_turn_takes_its_commands",
            "real_runtime::interrupting::an_explicit_interrupt_returns_when_the_commands",
        ],
        why: "0.133.0 has no `thread/backgroundTerminals/list` and `…/terminate`, and can end only all commands of a thread \
              (`thread/backgroundTerminals/clean`), those of earlier turns too. The turn is interrupted, its commands run on, \
              and `interrupt()` is an error that says so; where it was a drop or a deadline, `Event::InterruptFailed` does.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4", "0.154.0"],
        tests: &[
            "real_runtime::commands::the_output_of_a_command",
            "real_runtime::commands::of_a_long_output",
            "real_runtime::environment",
        ],
        why: "0.154.0 and older may leave the first output of a command out of its item. 0.144.4 and older may tell the end of a \
              command some milliseconds after the model has its output, and so after the end of a turn that ends at once: \
              `RunResult::items` then lacks the command. The model has the whole output in any case.",
        sort: Sort::AtTimes,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["surface_threads::the_approval_mode_of_a_thread_is_kept_by_its_fork"],
        why: "Before 0.149.0 a fork does not take over the approval policy of its thread but has the configured one: the fork \
              of a thread with `ApprovalMode::DenyAll` may ask again. Say `.approval_mode(…)` when forking. A resume keeps it \
              with every version.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real_runtime::trust::instructions_of_a_folder"],
        why: "0.133.0 and 0.144.4 give the model the `AGENTS.md` of a folder that they are told not to trust; 0.154.0 and newer do \
              not. Nothing else that the folder brings is used: the tests of the row above hold with every version.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.169.0", "0.171.0"],
        tests: &["real_runtime::trust::a_fork_has_the_default_sandbox"],
        why: "With 0.169.0 and newer a fork has the sandbox of its thread; only where that one is `WorkspaceWrite`, and nobody has decided \
              about the folder, the fork is read-only. With the older ones set it again when forking: the default may write \
              more than the thread could.",
        sort: Sort::Lacking,
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
        sort: Sort::Unseen,
    },
    Difference {
        versions: &["0.154.0"],
        tests: &["real_runtime::login::the_account_is_there"],
        why: "0.154.0 tells the end of a login before it has the account: asked at once, `account()` mostly says that there is \
              none. Wait for `Notification::AccountUpdated`, which follows.",
        sort: Sort::Lacking,
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
            let seen = |beginning: &str| {
                difference.sort == Sort::AtTimes
                    || outcome.failed.keys().any(|test| test.starts_with(beginning))
            };
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
        assert!(
            !unseen.iter().any(|problem| problem.contains("real_runtime::commands")),
            "they fail at times: {unseen:?}"
        );
        let seen = problems(&[run("0.133.0", &[&joining])]);
        assert!(!seen.iter().any(|problem| problem.contains("joining")), "{seen:?}");
    }
}
