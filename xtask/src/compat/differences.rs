//! The known differences between runtimes, with explanations. `cargo xtask compat` fails if they are not the ones that it sees.

use super::Run;
use super::behaviors::row_of;

/// Why some tests fail with some runtimes.
pub(crate) struct Difference {
    /// The versions.
    pub(crate) versions: &'static [&'static str],
    /// Prefixes of the names of the tests.
    pub(crate) tests: &'static [&'static str],
    /// The explanation, a footnote of the table.
    pub(crate) why: &'static str,
    /// What the failures mean.
    pub(crate) sort: Sort,
}

/// What the failures of a difference mean.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Sort {
    /// The runtime lacks the behavior.
    Lacking,
    /// The tests sometimes fail, because the runtime sends its notifications in varying order.
    AtTimes,
    /// The tests cannot run, so the behavior is unknown.
    Unseen,
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &[
            "real::joining",
            "real::busy::an_output_schema",
            "real::busy::a_compaction",
            "real::settings::a_setting_of_a_turn_that_would_join",
            "real::settings::an_older_handle_joins_turns",
            "real::limits::a_limit_of_a_joined_call",
            "real::steering::a_result_has_the_inputs",
            "real::finding::a_turn_is_found_by",
            "real::shared_servers::a_turn_does_not_join_a_turn_of_another_client",
            "real::shared_servers::a_turn_that_has_joined_one_of_another_client",
            "real::shared_servers::a_call_that_has_joined_a_turn",
        ],
        why: "Before 0.148.0 the server responds to a `turn/start` on a busy thread with a new id that no notification ever \
              names. The input becomes part of the running turn, and is lost if that turn is interrupted first. A handle of \
              that id would wait forever, so the SDK refuses the second turn with `UnsupportedByRuntime` and sends nothing. \
              `TurnHandle::steer` adds input to a running turn with every version.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &[
            "real::inputs::an_external_message",
            "real::inputs::the_model_sees_an_external_message",
            "real::inputs::the_runtime_cuts_a_long_external_message",
            "real::service_tiers::a_service_tier_for_one_turn",
            "real::service_tiers::a_service_tier_that_the_users_configuration",
        ],
        why: "`toolOutput` of `turn/start` came with 0.151.0; an older runtime ignores it silently. The SDK refuses an external \
              message with `UnsupportedByRuntime` before it sends anything. The same applies to `turn_trigger` and \
              `service_tier_for_turn`.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real::threads::a_thread_is_resumed_without_its_turns"],
        why: "The SDK offers `include_turns` of a resume or a fork from 0.151.0 on, like the Python SDK. Before that it refuses \
              the option with `UnsupportedByRuntime`. Leave it out: the response then holds the turns.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &[
            "real::threads::the_items_of_a_thread",
            "real::unloaded::every_request_about_an_unloaded_thread",
            "real::unloaded::an_archived_thread_can_be_read_in_a_new_runtime",
        ],
        why: "0.133.0 has no `thread/items/list`, so the SDK refuses it with `UnsupportedByRuntime`. 0.144.4 responds that it \
              does not support the method yet. `thread.read().include_turns(true)` returns the items with their turns, with \
              every version.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &[
            "real::unloaded::a_thread_that_has_not_run_yet_has_no_turns_and_no_items",
            "real::unloaded::listing_turns_or_items_of_an_ephemeral_thread",
        ],
        why: "The tests also list items, which 0.133.0 cannot do. The turns of a thread that has not run yet are an empty list \
              with every version.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &["real::unloaded::an_archived_thread"],
        why: "0.133.0 resumes an archived thread and goes on with it. Later versions refuse, and the SDK reports \
              `ThreadArchived`.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &[
            "real::states::each_call_about_a_thread_that_has",
            "real::states::each_call_about_an_unloaded",
        ],
        why: "The tests also list items, which 0.133.0 and 0.144.4 cannot do for each thread. Both ignore the entry that says how soon \
              an unused thread is unloaded. 0.133.0 also goes on with archived threads, and has neither `find_turn` nor `ensure`.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &["real::states::each_call_about_a_thread_without_a_record"],
        why: "0.133.0 has no `thread/delete`, which the test needs first.",
        sort: Sort::Unseen,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &["real::unloaded::a_missing_thread"],
        why: "0.133.0 has no `thread/delete`, which the test needs first.",
        sort: Sort::Unseen,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real::builders"],
        why: "0.133.0 and 0.144.4 lack some options. The SDK refuses `include_turns`, `turn_trigger`, `service_tier_for_turn`, \
              `section_id`, external messages and the items of a thread with `UnsupportedByRuntime`; on 0.133.0 also \
              `last_turn_id`. It refuses the service tier `flex` with `OptionNotApplied`. 0.133.0 itself refuses to sort by \
              `recency_at`. All other options of threads, turns and `thread_list` work, alone and in pairs.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.154.0"],
        tests: &[
            "real::builders::setters_of_a_new_thread",
            "real::builders::setters_of_a_resume",
            "real::builders::setters_of_a_fork",
        ],
        why: "On 0.154.0 only the service tier `flex` fails. All other options work, alone and in pairs.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4", "0.154.0"],
        tests: &["real::service_tiers::a_service_tier_that_an_entry_turns_off"],
        why: "0.154.0 and older do not offer the service tier `flex` for the model of this test. The SDK refuses it with \
              `OptionNotApplied`.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &[
            "real::recovering::a_finished_turn",
            "real::finding::a_failed_turn",
            "real::ensure::a_failed_turn",
        ],
        why: "0.133.0 and 0.144.4 record a failed turn as a completed one without a final response, and `recover` cannot tell \
              them apart. A turn that its handle still observes fails with every version.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &[
            "real::interrupted_work::an_interrupt_ends_the_commands",
            "real::interrupted_work::an_explicit_interrupt_returns_after_the_commands",
            "real::interrupted_work::a_turn_that_others_interrupt",
            "real::interrupted_work::an_interrupt_after_an_unsubscribe",
            "real::interrupts::a_turn_that_ends_during_an_unsubscribe",
        ],
        why: "0.133.0 has no `thread/backgroundTerminals/list` and `…/terminate`. It can only end all commands of a thread \
              (`thread/backgroundTerminals/clean`), including those of earlier turns. The SDK interrupts the turn and lets its \
              commands run on. `interrupt()` fails and says so; after a drop or an expired limit the SDK emits \
              `Event::InterruptFailed`.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &["real::orphans::an_interrupt_or_a_drop", "real::orphans::commands_with_an_environment"],
        why: "0.133.0 has no request that ends one command, so a command that is just starting can outlive the interrupt of its turn. \
              It ends with the client. `interrupt()` fails and says so.",
        sort: Sort::AtTimes,
    },
    Difference {
        versions: &["0.133.0", "0.144.4", "0.154.0"],
        tests: &[
            "real::commands::the_output_of_a_command",
            "real::commands::the_item_of_a_long_output",
            "real::environment",
        ],
        why: "0.154.0 and older may omit the first output of a command from its item. 0.144.4 and older may report the end of a \
              command some milliseconds after the model has its output. If the turn ends at once, `RunResult::items` lacks the \
              command. The model has the whole output in any case.",
        sort: Sort::AtTimes,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real::limits::a_turn_that_ends_at_its_budget_is_complete"],
        why: "0.144.4 and older may report the end of a command after the usage of the model's last request. The client then takes a turn \
              that ends with exactly its budget for one that goes on, and interrupts it.",
        sort: Sort::AtTimes,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &["real::sandboxes::the_users_roots_are_part_of_a_mode"],
        why: "0.133.0 adds the folder `memories` of its home to the roots of a mode that a thread is loaded with. All other roots \
              are as requested.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real::threads::a_fork_keeps_the_approval_mode"],
        why: "Before 0.149.0 a fork gets the configured approval policy, not its thread's: the fork of a thread with \
              `ApprovalMode::DenyAll` may ask again. Set `.approval_mode(…)` when you fork. A resume keeps the mode with every \
              version.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real::death::a_sandbox_that_cannot_be_restored"],
        why: "0.133.0 and 0.144.4 load the thread again with another approval mode too, so the error names that one first. The \
              resume fails with `OptionNotApplied` with every version.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real::trust::instructions_of_a_folder"],
        why: "0.133.0 and 0.144.4 send the model the `AGENTS.md` of an untrusted folder; 0.154.0 and newer do not. They use \
              nothing else that the folder brings: the tests of the row above pass with every version.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.169.0", "0.171.0"],
        tests: &["real::trust::a_fork_has_the_default_sandbox"],
        why: "With 0.169.0 and newer a fork gets the sandbox of its thread. One exception: if that sandbox is `WorkspaceWrite` \
              and the folder has no trust decision, the fork is read-only. With older versions set the sandbox again when you \
              fork: the default may allow more writes than the thread's.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &[
            "real::login::a_person",
            "real::login::a_login_of_any_kind",
            "real::login::a_login_with_a_code",
            "real::login::a_closed_client",
            "real::login::the_account_is_available",
        ],
        why: "0.133.0 and 0.144.4 use OpenAI's login service only, and the tests replace that service. The behavior of these \
              runtimes after a person has logged in is unknown.",
        sort: Sort::Unseen,
    },
    Difference {
        versions: &["0.154.0"],
        tests: &["real::login::the_account_is_available"],
        why: "0.154.0 reports the end of a login before it has the account, so an immediate `account()` usually returns none. \
              Wait for `Notification::AccountUpdated`, which follows.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &[
            "real::finding::a_turn_is_found_on",
            "real::finding::a_turn_is_found_as_soon",
            "real::finding::a_turn_whose_runtime",
            "real::ensure",
            "real::following",
            "real::uncertain_starts::a_start_that_did_not_arrive",
            "real::uncertain_starts::a_start_whose_response_is_lost",
            "real::uncertain_starts::an_ensured_turn_is_uncertain",
            "real::cuts::starts::no_turn_starts_twice",
        ],
        why: "0.133.0 does not store the client's ids of user messages. The SDK sends none, and refuses `client_message_id`, \
              `find_turn` and `ensure` with `UnsupportedByRuntime`. A start whose response is lost with its connection is `Uncertain` \
              in any case.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.144.4"],
        tests: &["real::ensure::a_call_waits_until_another_runtime"],
        why: "Before 0.154.0 two runtimes on one home can have a thread loaded at once, and both write to it. `ensure` is safe for \
              the clients of one runtime only.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.144.4"],
        tests: &["real::following::a_thread_is_idle_after_a_review"],
        why: "0.144.4 lists the turn of a review as running, also after the review has ended. So `follow` returns a handle of it.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &["real::shared_servers::an_entry_of_the_configuration"],
        why: "0.133.0 does not load a thread again for the options of a resume. A handle whose configuration entry another client has undone \
              fails until the server has unloaded the thread.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0"],
        tests: &["real::settings::an_effort_that_the_model_does_not_offer"],
        why: "0.133.0 does not know the effort `ultra`, and refuses it in a configuration entry itself.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.144.4"],
        tests: &["real::ensure_at_once::calls_of_two_runtimes"],
        why: "Before 0.154.0 two runtimes on one home do not notice each other, so a turn that both are asked for can run twice.",
        sort: Sort::AtTimes,
    },
    Difference {
        versions: &["0.144.4"],
        tests: &["real::ensure_at_once::calls_of_clients_of_one_server"],
        why: "Before 0.148.0 the turns of two clients that start at the same moment do not become one, and the second one can wait \
              forever. Let one client of a shared server start the turns of a thread, or set a timeout.",
        sort: Sort::AtTimes,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &[
            "real::restarted_servers::a_turn_that_the_old_server_finishes",
            "real::restarted_servers::starts_whose_timeout_passes",
        ],
        why: "Before 0.154.0 the new process of a restarted server opens a thread while the old one still finishes a turn of it. The \
              turn then counts as lost.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4", "0.154.0"],
        tests: &[
            "real::following::a_handle_that_follows_a_review",
            "real::reconnects::a_review_that_is_followed",
        ],
        why: "A review has two ids, and the runtime reports its end under the one that it does not list. Before 0.163.0 nothing says which \
              ids belong together, so `run` of a handle that follows a review fails with `TurnLost` when the review has ended.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real::rollouts::a_thread_that_another_runtime_has_loaded"],
        why: "Before 0.154.0 a runtime does not lock a thread that it has loaded, so `thread_import` replaces a thread that another \
              runtime of the home has loaded. Close the other client first.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4", "0.154.0"],
        tests: &[
            "real::rollouts::a_history_that_the_runtime_has_compressed",
            "real::unloaded::a_compressed_thread_whose_archiving_was_cut_off",
        ],
        why: "0.154.0 and older have no `rollout/compress`, which the tests need first. They do not compress histories.",
        sort: Sort::Unseen,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real::subagent_bounds::a_thread_without_agents"],
        why: "0.133.0 and 0.144.4 refuse the configuration entry `agents` of the test. Threads cannot be without agents there.",
        sort: Sort::Unseen,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real::subagent_bounds::a_thread_whose_subagents_take_no_settings"],
        why: "0.133.0 has no `collaboration` tools, and 0.144.4 changes the settings of their sub-agents. So the refusal of newer \
              runtimes does not come.",
        sort: Sort::Unseen,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real::uncertain_starts::the_first_start"],
        why: "Before 0.154.0 the server has no sections, and so no request with which the client makes it store a thread after a \
              reconnect. The error of a first start that was lost advises to start another thread.",
        sort: Sort::Lacking,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &["real::reconnects::a_thread_in_which_nothing_runs"],
        why: "0.133.0 and 0.144.4 ignore the entry that says how soon an unused thread is unloaded. The test would take half an hour.",
        sort: Sort::Unseen,
    },
    Difference {
        versions: &["0.133.0", "0.144.4"],
        tests: &[
            "real::unloaded::a_thread_whose_archiving_was_cut_off",
            "real::unloaded::a_repeated_unarchive_replaces",
        ],
        why: "0.133.0 and 0.144.4 look for the file of a thread in the archive too. A thread whose archiving was cut off is archived \
              there, and they read it, and take it out of the archive, by themselves.",
        sort: Sort::Unseen,
    },
];

/// The footnote that explains a failure.
pub(crate) fn explanation(version: &str, test: &str) -> Option<usize> {
    DIFFERENCES.iter().position(|difference| {
        difference.versions.contains(&version)
            && difference.tests.iter().any(|prefix| test.starts_with(prefix))
    })
}

/// Failures without an explanation, and explanations without a failure.
pub(crate) fn problems(runs: &[Run]) -> Vec<String> {
    let mut problems = Vec::new();
    for Run { version, outcome } in runs {
        for program in &outcome.unfinished {
            problems.push(format!("runtime {version}: `{program}` did not finish"));
        }
        for test in outcome.driven.iter().filter(|test| row_of(test).is_none()) {
            problems.push(format!("`{test}` has no row in xtask/src/compat/behaviors.rs"));
        }
        for (test, said) in outcome.failed.iter().filter(|(test, _)| explanation(version, test).is_none()) {
            problems.push(format!(
                "runtime {version}: `{test}` fails, and xtask/src/compat/differences.rs does not explain it: {said}"
            ));
        }
        for difference in DIFFERENCES.iter().filter(|difference| difference.versions.contains(version)) {
            let seen = |prefix: &str| {
                difference.sort == Sort::AtTimes || outcome.failed.keys().any(|test| test.starts_with(prefix))
            };
            for prefix in difference.tests.iter().filter(|prefix| !seen(prefix)) {
                problems.push(format!(
                    "runtime {version}: no test `{prefix}…` fails, but xtask/src/compat/differences.rs explains one"
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
    fn explanations_name_known_versions_and_tests() {
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
    fn unexplained_failures_and_unseen_explanations_are_problems() {
        let joining = "real::joining::both".to_owned();
        let run = |version, failed: &[&String]| {
            let failed = failed.iter().map(|test| ((*test).clone(), "no".to_owned())).collect();
            Run { version, outcome: Outcome { failed, ..Outcome::default() } }
        };
        assert!(problems(&[run("0.163.0", &[])]).is_empty());
        let unexplained = problems(&[run("0.163.0", &[&joining])]);
        assert!(unexplained[0].contains("does not explain it: no"), "{unexplained:?}");
        let unseen = problems(&[run("0.133.0", &[])]);
        assert!(unseen.iter().any(|problem| problem.contains("`real::joining…`")), "{unseen:?}");
        assert!(
            !unseen.iter().any(|problem| problem.contains("real::commands")),
            "they fail at times: {unseen:?}"
        );
        let seen = problems(&[run("0.133.0", &[&joining])]);
        assert!(!seen.iter().any(|problem| problem.contains("joining")), "{seen:?}");
    }
}
