//! The rows of the compatibility table, and the tests behind each.

/// The rows in order: a behavior, and prefixes of the names of its tests. A test belongs to the row with the longest matching
/// prefix.
pub(crate) const BEHAVIORS: &[(&str, &[&str])] = &[
    ("Starting, metadata, closing without leftovers", &["real::starting"]),
    ("Concurrent first starts on a new home wait for each other", &["real::new_home"]),
    ("The host's environment does not affect tests", &["real::environment"]),
    ("Turns: inputs, results, items, the model of a turn", &["real::turns", "real::results"]),
    ("Token usage of a turn and of its thread", &["real::turns::usage"]),
    ("Streams: no text lost, in order, independent of each other", &["real::streams"]),
    ("Images and several inputs", &["real::inputs"]),
    ("Skills", &["real::inputs::a_skill"]),
    (
        "Steering and interrupting",
        &["real::steering::a_steer_is", "real::interrupts::an_interrupted", "real::steering::steering"],
    ),
    (
        "A turn on a busy thread joins the running turn",
        &["real::joining", "real::busy::an_output_schema", "real::busy::a_compaction"],
    ),
    (
        "External messages",
        &[
            "real::inputs::an_external_message",
            "real::inputs::the_model_sees_an_external_message",
            "real::inputs::the_runtime_cuts_a_long_external_message",
        ],
    ),
    ("Failed turns, and errors with the server's message", &["real::errors"]),
    (
        "Interrupting a turn that nothing holds, or whose time is up",
        &["real::interrupts::a_run", "real::interrupts::a_handle_that_is_dropped_lets"],
    ),
    (
        "An interrupt ends the turn's commands, unless that is off",
        &[
            "real::interrupted_work::an_interrupt_ends_the_commands",
            "real::interrupted_work::an_explicit_interrupt_returns_after_the_commands",
            "real::interrupted_work::a_turn_that_others_interrupt",
            "real::interrupted_work::an_interrupt_after_an_unsubscribe",
        ],
    ),
    ("Commands that are just starting end with their turn, and with the client", &["real::orphans"]),
    ("Two hundred concurrent turn starts", &["real::turns::two_hundred"]),
    ("Partial results of lost turns, and recovery", &["real::recovering"]),
    (
        "Interrupts and steers take effect at any moment",
        &[
            "real::interrupts",
            "real::steering",
            "real::interrupted_work",
            "real::recovering::a_compaction_can_be_interrupted",
        ],
    ),
    ("Turn limits: time, inactivity, tokens, model requests", &["real::limits"]),
    ("Every pending call fails when the runtime dies", &["real::death"]),
    (
        "A thread goes on in a new runtime, with its settings",
        &[
            "real::death::a_thread_goes_on",
            "real::death::a_thread_keeps_its_settings",
            "real::death::a_new_runtime_gets_the_configuration",
        ],
    ),
    (
        "Options of threads and turns apply, or are an error",
        &[
            "real::settings",
            "real::subagent_bounds",
            "real::service_tiers",
            "real::concurrent",
            "real::sandboxes",
        ],
    ),
    ("Threads that the server unloaded, or that have not run yet, can be used", &["real::unloaded"]),
    (
        "Each call about a thread says what the thread is: archived, deleted, unused, unloaded",
        &["real::states"],
    ),
    ("Threads: options, names, reading", &["real::threads", "real::busy::a_handle_subscribes"]),
    ("Builder options, alone and in pairs", &["real::builders"]),
    ("Resume and fork with their history", &["real::threads::threads_are_resumed"]),
    ("Resume without the turns in the response", &["real::threads::a_thread_is_resumed_without_its_turns"]),
    ("Archive, and listing page by page", &["real::threads::an_archived_thread"]),
    ("Listing a thread's items page by page", &["real::threads::the_items_of_a_thread"]),
    ("Compaction", &["real::compaction"]),
    ("A resume narrows the turn of a goal", &["real::goals"]),
    ("Commands and their sandbox", &["real::commands"]),
    ("Approval modes of threads and turns", &["real::approvals"]),
    ("A resume keeps the approval mode", &["real::threads::a_resume_keeps_the_approval_mode"]),
    ("A fork keeps the approval mode", &["real::threads::a_fork_keeps_the_approval_mode"]),
    ("A model reviews commands that need to leave the sandbox", &["real::auto_review"]),
    ("Handlers of server requests", &["real::handlers"]),
    ("Other server requests: file changes, permissions, questions, elicitations", &["real::server_requests"]),
    (
        "Sub-agents: requests and streams",
        &["real::handlers::a_sub_agents_request", "real::streams::a_sub_agents_turn"],
    ),
    ("Tools: functions that the model calls", &["real::tools", "real::tool_attribute"]),
    ("Typed output", &["real::typed_output"]),
    ("Trust: without a decision, nothing that a folder brings runs or is recorded", &["real::trust"]),
    (
        "The model does not receive the instructions of an untrusted folder",
        &["real::trust::instructions_of_a_folder"],
    ),
    (
        "A fork gets its folder's default sandbox, not its thread's",
        &["real::trust::a_fork_has_the_default_sandbox"],
    ),
    ("API key login and logout; canceled and replaced browser logins", &["real::login"]),
    (
        "Logins that a person completes, by browser or device code",
        &[
            "real::login::a_person",
            "real::login::a_login_of_any_kind",
            "real::login::a_login_with_a_code",
            "real::login::a_closed_client",
        ],
    ),
    ("The account is available when its login ends", &["real::login::the_account_is_available"]),
    (
        "Shared servers: Unix sockets, ports with tokens, proxies",
        &["real::endpoints", "real::shared_servers", "real::server_start"],
    ),
    (
        "Lost connections: turns, approvals and starts go on after a reconnect",
        &["real::cuts", "real::reconnects", "real::uncertain_starts", "real::restarted_servers"],
    ),
    ("Moving a thread to another home", &["real::rollouts"]),
    ("Turns are found by the ids of their messages", &["real::finding"]),
    (
        "A turn runs once: `ensure`, also after kills; following the turns of others",
        &["real::ensure", "real::following"],
    ),
    ("A wire log plays back as a server", &["real::observing"]),
    ("Other methods, typed or by name; models; configuration", &["real::requests", "real::configuration"]),
];

/// The row of a test.
pub(crate) fn row_of(test: &str) -> Option<usize> {
    let matching = BEHAVIORS.iter().enumerate().flat_map(|(row, (_, tests))| {
        tests.iter().filter(|prefix| test.starts_with(**prefix)).map(move |prefix| (prefix.len(), row))
    });
    matching.max().map(|(_, row)| row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        let title = |test| row_of(test).map(|row| BEHAVIORS[row].0);
        assert_eq!(title("real::handlers::a_declined_command"), Some("Handlers of server requests"));
        let of_child = "real::handlers::a_sub_agents_request_finds_it";
        assert_eq!(title(of_child), Some("Sub-agents: requests and streams"));
        assert_eq!(title("real::something_new"), None);
    }
}
