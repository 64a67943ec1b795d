//! The rows of the compatibility table, and the tests behind each.

/// The rows in order: a behavior, and prefixes of the names of its tests. A test belongs to the row with the longest matching
/// prefix.
pub(crate) const BEHAVIORS: &[(&str, &[&str])] = &[
    ("Starting, metadata, closing without leftovers", &["real_runtime::start"]),
    ("Concurrent first starts on a new home wait for each other", &["real_runtime::new_home"]),
    ("The host's environment does not affect tests", &["real_runtime::environment"]),
    (
        "Turns: inputs, results, items, the model of a turn",
        &["real_runtime::turns", "real_runtime::final_response"],
    ),
    ("Token usage of a turn and of its thread", &["surface_turns::usage"]),
    (
        "Streams: no text lost, in order, independent of each other",
        &["real_runtime::streams", "surface_turns::a_text_stream"],
    ),
    ("Images and several inputs", &["real_runtime::inputs"]),
    ("Skills", &["surface_turns::a_skill"]),
    (
        "Steering and interrupting",
        &["surface_turns::a_steer", "surface_turns::an_interrupted", "surface_turns::steering"],
    ),
    ("A turn on a busy thread joins the running turn", &["real_runtime::joining"]),
    (
        "External messages",
        &[
            "surface_turns::an_external_message",
            "surface_turns::the_model_sees_an_external_message",
            "surface_turns::the_runtime_cuts_a_long_external_message",
        ],
    ),
    (
        "Failed turns, and errors with the server's message",
        &["real_runtime::failures", "surface_errors", "surface_threads::unknown_and_malformed_ids"],
    ),
    ("Interrupting a turn that nothing holds, or whose time is up", &["real_runtime::dropping"]),
    (
        "An interrupt ends the turn's commands, unless that is off",
        &[
            "real_runtime::interrupting::an_interrupt_ends_the_commands",
            "real_runtime::interrupting::an_explicit_interrupt_returns_after_the_commands",
        ],
    ),
    ("Two hundred concurrent turn starts", &["real_runtime::many_starts"]),
    ("Partial results of lost turns, and recovery", &["real_runtime::recovering"]),
    (
        "Interrupts and steers take effect at any moment",
        &["real_runtime::interrupting", "real_runtime::recovering::a_compaction_can_be_interrupted"],
    ),
    ("Turn limits: time, inactivity, tokens, model requests", &["real_runtime::limits"]),
    ("Every pending call fails when the runtime dies", &["real_runtime::death"]),
    (
        "A thread goes on in a new runtime, with its settings",
        &[
            "real_runtime::death::a_thread_goes_on",
            "real_runtime::death::a_thread_keeps_its_settings",
            "real_runtime::death::a_new_runtime_gets_the_configuration",
        ],
    ),
    ("Options of threads and turns apply, or are an error", &["real_runtime::bounds"]),
    ("Threads that the server unloaded, or that have not run yet, can be used", &["real_runtime::unloaded"]),
    ("Threads: options, names, reading", &["real_runtime::threads", "surface_threads::a_name"]),
    ("Builder options, alone and in pairs", &["real_runtime::builders"]),
    ("Resume and fork with their history", &["surface_threads::threads_are_resumed"]),
    ("Resume without the turns in the response", &["surface_threads::a_thread_is_resumed_without_its_turns"]),
    ("Archive, and listing page by page", &["surface_threads::an_archived_thread"]),
    ("Listing a thread's items page by page", &["surface_threads::the_items_of_a_thread"]),
    ("Compaction", &["surface_compaction"]),
    (
        "Commands and their sandbox",
        &["real_runtime::commands", "surface_threads::the_runtime_applies_the_sandbox_presets"],
    ),
    ("Approval modes of threads and turns", &["real_runtime::approvals", "surface_turns::the_approval_mode"]),
    ("A resume keeps the approval mode", &["surface_threads::a_resume_keeps_the_approval_mode"]),
    ("A fork keeps the approval mode", &["surface_threads::a_fork_keeps_the_approval_mode"]),
    ("A model reviews commands that need to leave the sandbox", &["real_runtime::auto_review"]),
    ("Handlers of server requests", &["real_runtime::handlers"]),
    ("Other server requests: file changes, permissions, questions, elicitations", &["real_runtime::asking"]),
    (
        "Sub-agents: requests and streams",
        &["real_runtime::handlers::a_sub_agents_request", "surface_children"],
    ),
    ("Tools: functions that the model calls", &["real_runtime::tools"]),
    ("Typed output", &["real_runtime::typed_output"]),
    ("Trust: without a decision, nothing that a folder brings runs or is recorded", &["real_runtime::trust"]),
    (
        "The model does not receive the instructions of an untrusted folder",
        &["real_runtime::trust::instructions_of_a_folder"],
    ),
    (
        "A fork gets its folder's default sandbox, not its thread's",
        &["real_runtime::trust::a_fork_has_the_default_sandbox"],
    ),
    ("API key login and logout; canceled and replaced browser logins", &["real_runtime::login"]),
    (
        "Logins that a person completes, by browser or device code",
        &[
            "real_runtime::login::a_person",
            "real_runtime::login::a_login_of_any_kind",
            "real_runtime::login::a_login_with_a_code",
            "real_runtime::login::a_closed_client",
        ],
    ),
    ("The account is available when its login ends", &["real_runtime::login::the_account_is_available"]),
    ("A wire log plays back as a server", &["real_runtime::wire_log"]),
    ("Other methods, typed or by name; models; configuration", &["real_runtime::requests"]),
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
        assert_eq!(title("real_runtime::handlers::a_declined_command"), Some("Handlers of server requests"));
        let of_child = "real_runtime::handlers::a_sub_agents_request_finds_it";
        assert_eq!(title(of_child), Some("Sub-agents: requests and streams"));
        assert_eq!(title("surface_threads::something_new"), None);
    }
}
