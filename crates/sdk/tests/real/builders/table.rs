//! The setters of each builder, with values that the runtime should accept. A new setter needs a row here.

use std::path::PathBuf;
use std::time::Duration;

use openai_codex::schemars::{self, JsonSchema};
use openai_codex::types::{
    InputTextFunctionCallOutputContentItem, ReasoningEffort, ReasoningSummary, SortDirection, ThreadSortKey,
    ThreadStartSource, TurnItemsView,
};
use openai_codex::{
    AcceptEveryApproval, AccountRead, ApprovalMode, Codex, Ensure, ExternalMessage, HalfDone, Models, Reply,
    Sandbox, ThreadFork, ThreadItems, ThreadList, ThreadRead, ThreadResume, ThreadStart, ThreadTurns, Tool,
    TurnStart,
};
use serde::Deserialize;
use serde_json::json;

/// One call of a setter.
pub(super) struct Row<'a, B> {
    /// The setter.
    pub(super) name: &'static str,
    /// The setter with its values, as in the table.
    pub(super) call: String,
    pub(super) set: Box<dyn Fn(B) -> B + Send + Sync + 'a>,
    /// The expected content of the request to the model.
    pub(super) shows: Option<&'static str>,
}

/// Values that depend on the runtime.
#[derive(Default)]
pub(super) struct Values {
    pub(super) folder: PathBuf,
    /// The first turn of the thread that the cases list, resume and fork.
    pub(super) turn: String,
    pub(super) cursor_of_threads: String,
    pub(super) cursor_of_turns: String,
    pub(super) cursor_of_items: String,
    pub(super) cursor_of_models: String,
}

macro_rules! rows {
    ($builder:ty: $($name:ident $(::<$generic:ty>)? ($($value:expr),* $(,)?) $(shows $text:literal)?;)*) => {
        vec![$(Row {
            name: stringify!($name),
            call: call(stringify!($name), &[$(stringify!($value)),*]),
            set: Box::new(move |builder: $builder| builder.$name $(::<$generic>)? ($($value),*)),
            shows: { let texts: &[_] = &[$($text)?]; texts.first().copied() },
        }),*]
    };
}

/// The compiler chooses the spaces in paths.
fn call(name: &str, values: &[&str]) -> String {
    format!("{name}({})", values.join(", ").replace(" :: ", "::"))
}

/// The setters that starting, resuming and forking a thread share, and others.
macro_rules! rows_of_a_thread {
    ($builder:ty, $values:ident: $($rest:tt)*) => {
        rows! { $builder:
            approval_mode(ApprovalMode::DenyAll);
            approval_mode(ApprovalMode::AutoReview);
            base_instructions("the base of it all") shows "the base of it all";
            config("model_reasoning_effort", "xhigh") shows "xhigh";
            cwd(&$values.folder) shows "a-folder-of-the-table";
            handler(AcceptEveryApproval);
            model("model-of-the-table") shows "model-of-the-table";
            model_provider("scripted");
            on_command_approval(|_| Reply::pass());
            on_elicitation(|_| Reply::pass());
            on_file_change_approval(|_| Reply::pass());
            on_permissions_approval(|_| Reply::pass());
            on_user_input(|_| Reply::pass());
            sandbox(Sandbox::ReadOnly) shows "read-only";
            sandbox(Sandbox::WorkspaceWrite) shows "workspace-write";
            service_tier("flex");
            tools([tool()]);
            trust_folder();
            $($rest)*
        }
    };
}

fn tool() -> Tool {
    Tool::new("tool_of_the_table", "Does nothing.", |(): ()| "done")
}

#[derive(JsonSchema, Deserialize)]
pub(super) struct Answer {
    /// The final response that the table wants.
    #[allow(dead_code, reason = "used as a schema only")]
    value: String,
}

pub(super) fn thread_start(values: &Values) -> Vec<Row<'_, ThreadStart<Codex>>> {
    rows_of_a_thread! { ThreadStart<Codex>, values:
        developer_instructions("mind the gap") shows "mind the gap";
        ephemeral(true);
        personality("friendly");
        service_name("service-of-the-table");
        session_start_source(ThreadStartSource::Clear);
        thread_source("user");
    }
}

pub(super) fn thread_resume(values: &Values) -> Vec<Row<'_, ThreadResume<Codex>>> {
    rows_of_a_thread! { ThreadResume<Codex>, values:
        // The model sees them after a compaction.
        developer_instructions("mind the gap");
        include_turns(true);
        include_turns(false);
        personality("friendly");
        writer_timeout(Duration::from_secs(10));
    }
}

pub(super) fn thread_fork(values: &Values) -> Vec<Row<'_, ThreadFork<Codex>>> {
    rows_of_a_thread! { ThreadFork<Codex>, values:
        // The model sees them after a compaction.
        developer_instructions("mind the gap");
        ephemeral(true);
        include_turns(true);
        include_turns(false);
        last_turn_id(&values.turn);
        thread_source("user");
    }
}

pub(super) fn turn(values: &Values) -> Vec<Row<'_, TurnStart<Codex>>> {
    rows! { TurnStart<Codex>:
        approval_mode(ApprovalMode::DenyAll);
        approval_mode(ApprovalMode::AutoReview);
        client_message_id("id-of-the-table");
        cwd(&values.folder) shows "a-folder-of-the-table";
        timeout(Duration::from_secs(100));
        effort(ReasoningEffort::Xhigh) shows "xhigh";
        end_commands_on_interrupt(false);
        inactivity_timeout(Duration::from_secs(100));
        interrupt_on_drop(true);
        max_model_requests(50);
        max_tokens(1_000_000);
        model("model-of-the-table") shows "model-of-the-table";
        // Before `output_schema_of`, which replaces it.
        output_schema(json!({"type": "object"}));
        output_schema_of::<Answer>() shows "The final response that the table wants.";
        personality("friendly");
        retry_on_mismatch(1);
        // Before `sandbox`, which replaces it.
        sandbox_policy(Sandbox::FullAccess);
        sandbox(Sandbox::ReadOnly) shows "read-only";
        sandbox(Sandbox::WorkspaceWrite) shows "workspace-write";
        service_tier("default");
        service_tier_for_turn("default");
        summary(ReasoningSummary::Detailed) shows "detailed";
        turn_trigger("cron");
    }
}

pub(super) fn ensure(_: &Values) -> Vec<Row<'_, Ensure<Codex>>> {
    rows! { Ensure<Codex>:
        on_half_done(HalfDone::Fail);
        on_half_done(HalfDone::continue_with("go on"));
        writer_timeout(Duration::from_secs(1));
    }
}

pub(super) fn external_message(_: &Values) -> Vec<Row<'_, ExternalMessage>> {
    rows! { ExternalMessage:
        items([InputTextFunctionCallOutputContentItem::new("an item")]);
        namespace("acme");
        text("a text");
    }
}

pub(super) fn thread_list(values: &Values) -> Vec<Row<'_, ThreadList<Codex>>> {
    rows! { ThreadList<Codex>:
        archived(true);
        archived(false);
        cursor(&values.cursor_of_threads);
        cwd(&values.folder);
        limit(1);
        model_providers(["scripted"]);
        search_term("first");
        section_id("s");
        sort_direction(SortDirection::Asc);
        sort_direction(SortDirection::Desc);
        sort_key(ThreadSortKey::CreatedAt);
        sort_key(ThreadSortKey::UpdatedAt);
        sort_key(ThreadSortKey::RecencyAt);
        source_kinds(["cli", "appServer"]);
        use_state_db_only(true);
    }
}

pub(super) fn thread_turns(values: &Values) -> Vec<Row<'_, ThreadTurns<Codex>>> {
    rows! { ThreadTurns<Codex>:
        cursor(&values.cursor_of_turns);
        items_view(TurnItemsView::Full);
        items_view(TurnItemsView::Summary);
        items_view(TurnItemsView::NotLoaded);
        limit(1);
        sort_direction(SortDirection::Asc);
        sort_direction(SortDirection::Desc);
    }
}

pub(super) fn thread_items(values: &Values) -> Vec<Row<'_, ThreadItems<Codex>>> {
    rows! { ThreadItems<Codex>:
        cursor(&values.cursor_of_items);
        limit(1);
        sort_direction(SortDirection::Asc);
        sort_direction(SortDirection::Desc);
        turn_id(&values.turn);
    }
}

pub(super) fn thread_read(_: &Values) -> Vec<Row<'_, ThreadRead<Codex>>> {
    rows! { ThreadRead<Codex>:
        include_turns(true);
        include_turns(false);
    }
}

pub(super) fn models(values: &Values) -> Vec<Row<'_, Models<Codex>>> {
    rows! { Models<Codex>:
        cursor(&values.cursor_of_models);
        include_hidden(true);
        limit(1);
    }
}

pub(super) fn account(_: &Values) -> Vec<Row<'_, AccountRead<Codex>>> {
    rows! { AccountRead<Codex>:
        refresh_token(true);
        refresh_token(false);
    }
}
