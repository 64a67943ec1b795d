//! What the tests are about, in words for a reader of the table.

/// The rows in their order: what holds, and the tests that show it, by the beginnings of their names. A test belongs to
/// the row with the longest one.
pub(crate) const BEHAVIOURS: &[(&str, &[&str])] = &[
    ("Starting, metadata, closing; nothing is left behind", &["real_runtime::start"]),
    ("First starts on one new home wait for each other", &["real_runtime::new_home"]),
    ("The environment of the host changes no test", &["real_runtime::environment"]),
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
    ("A turn on a busy thread joins the one that runs", &["real_runtime::joining"]),
    (
        "External messages",
        &[
            "surface_turns::an_external_message",
            "surface_turns::the_model_sees_an_external_message",
            "surface_turns::the_runtime_cuts_a_long_external_message",
        ],
    ),
    (
        "Failed turns, and errors in the server's words",
        &["real_runtime::failures", "surface_errors", "surface_threads::unknown_and_malformed_ids"],
    ),
    ("A turn is interrupted when nobody holds it, or its time is up", &["real_runtime::dropping"]),
    (
        "An interrupt ends the commands of its turn, where that is asked for",
        &[
            "real_runtime::interrupting::an_interrupted_turn_takes_its_commands",
            "real_runtime::interrupting::an_explicit_interrupt_returns_when_the_commands",
        ],
    ),
    ("Two hundred turns that start at once", &["real_runtime::many_starts"]),
    ("What a lost turn leaves, and its recovery", &["real_runtime::recovering"]),
    (
        "An interrupt takes effect whenever it was due; so does a steer",
        &["real_runtime::interrupting", "real_runtime::recovering::a_compaction_can_be_interrupted"],
    ),
    ("Limits of a turn: time, silence, tokens, model requests", &["real_runtime::limits"]),
    ("Everything that waits ends when the runtime dies", &["real_runtime::death"]),
    (
        "A thread goes on in a new runtime, with what bounds it",
        &[
            "real_runtime::death::a_thread_goes_on",
            "real_runtime::death::what_bounds_a_thread",
            "real_runtime::death::the_configuration_of_a_thread",
        ],
    ),
    ("What is named for a thread or a turn holds, or is an error", &["real_runtime::bounds"]),
    (
        "A thread that the server has let go of, or that has not run yet, can be used",
        &["real_runtime::unloaded"],
    ),
    ("Threads: options, names, reading", &["real_runtime::threads", "surface_threads::a_name"]),
    ("Options of all builders, alone and in pairs", &["real_runtime::builders"]),
    ("Resume and fork with their history", &["surface_threads::threads_are_resumed"]),
    ("Resume without the turns in the answer", &["surface_threads::a_thread_is_resumed_without_its_turns"]),
    ("Archive, and listing page by page", &["surface_threads::an_archived_thread"]),
    ("The items of a thread, listed page by page", &["surface_threads::the_items_of_a_thread"]),
    ("Compaction", &["surface_compaction"]),
    (
        "Commands, and the sandbox around them",
        &["real_runtime::commands", "surface_threads::sandbox_presets"],
    ),
    (
        "Who approves: the mode of a thread and of a turn",
        &["real_runtime::approvals", "surface_turns::the_approval_mode"],
    ),
    (
        "The approval mode is kept by a resume",
        &["surface_threads::the_approval_mode_of_a_thread_is_kept_by_its_resume"],
    ),
    (
        "The approval mode is kept by a fork",
        &["surface_threads::the_approval_mode_of_a_thread_is_kept_by_its_fork"],
    ),
    ("A model reviews what wants out of the sandbox", &["real_runtime::auto_review"]),
    ("Handlers of the server's requests", &["real_runtime::handlers"]),
    (
        "What else the runtime asks for: file changes, permissions, questions, elicitations",
        &["real_runtime::asking"],
    ),
    (
        "Sub-agents: their requests and their streams",
        &["real_runtime::handlers::a_sub_agents_request", "surface_children"],
    ),
    ("Tools: functions that the model calls", &["real_runtime::tools"]),
    ("Final responses of a type", &["real_runtime::typed_output"]),
    ("Folders: nothing that they bring runs, or is recorded, without a decision", &["real_runtime::trust"]),
    (
        "The model does not get the instructions of a folder that is not trusted",
        &["real_runtime::trust::instructions_of_a_folder"],
    ),
    (
        "A fork has the default sandbox of its folder, not that of its thread",
        &["real_runtime::trust::a_fork_has_the_default_sandbox"],
    ),
    (
        "Logging in with an API key, and out; logins in the browser: canceled, replaced",
        &["real_runtime::login"],
    ),
    (
        "Logins that a person completes, in the browser or with a code",
        &[
            "real_runtime::login::a_person",
            "real_runtime::login::a_login_of_any_kind",
            "real_runtime::login::a_login_with_a_code",
            "real_runtime::login::a_closed_client",
        ],
    ),
    ("The account is there when its login has ended", &["real_runtime::login::the_account_is_there"]),
    ("A log of the wire plays back as a server", &["real_runtime::wire_log"]),
    ("Any other method, typed or by its name; models; configuration", &["real_runtime::requests"]),
];

/// The row of a test.
pub(crate) fn row_of(test: &str) -> Option<usize> {
    let matching = BEHAVIOURS.iter().enumerate().flat_map(|(row, (_, tests))| {
        tests
            .iter()
            .filter(|beginning| test.starts_with(**beginning))
            .map(move |beginning| (beginning.len(), row))
    });
    matching.max().map(|(_, row)| row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_decides() {
        let title = |test| row_of(test).map(|row| BEHAVIOURS[row].0);
        assert_eq!(
            title("real_runtime::handlers::what_is_declined"),
            Some("Handlers of the server's requests")
        );
        let of_child = "real_runtime::handlers::a_sub_agents_request_finds_it";
        assert_eq!(title(of_child), Some("Sub-agents: their requests and their streams"));
        assert_eq!(title("surface_threads::something_new"), None);
    }
}
