//! Every setter of every builder, alone and in pairs. The runtime accepts all but the refusals listed here.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use openai_codex::types::SortDirection;
use openai_codex::{Codex, ExternalMessage, Result, Thread};
use serde_json::json;

use crate::support::{Model, bounded_within};
use table::{Row, Values};

/// A refusal: each case that has all of these calls, unless it also has a certain setter.
struct Refusal {
    builders: &'static [&'static str],
    /// Calls as in the table, or setters with any values.
    calls: &'static [&'static str],
    unless: Option<&'static str>,
    /// A part of the error.
    words: &'static str,
}

/// `AutoReview` beside a handler for approvals.
const fn unused_handler(calls: &'static [&'static str]) -> Refusal {
    let words = "with ApprovalMode::AutoReview a model decides about approvals, and the handler for them receives none";
    Refusal { builders: &["ThreadStart", "ThreadResume", "ThreadFork"], calls, unless: None, words }
}

/// All refusals come from the SDK. The runtime refuses nothing that the SDK sends.
const REFUSALS: &[Refusal] = &[
    unused_handler(&["approval_mode(ApprovalMode::AutoReview)", "handler"]),
    unused_handler(&["approval_mode(ApprovalMode::AutoReview)", "on_command_approval"]),
    unused_handler(&["approval_mode(ApprovalMode::AutoReview)", "on_file_change_approval"]),
    unused_handler(&["approval_mode(ApprovalMode::AutoReview)", "on_permissions_approval"]),
    Refusal {
        builders: &["ThreadStart"],
        calls: &["trust_folder()"],
        unless: Some("cwd"),
        words: "trust_folder needs a folder; set one with `cwd`",
    },
    Refusal {
        builders: &["ThreadFork"],
        calls: &["ephemeral(true)", "include_turns(true)"],
        unless: None,
        words: "the runtime does not return the turns of an ephemeral fork",
    },
];

impl Refusal {
    fn covers(&self, calls: &[&str]) -> bool {
        self.calls.iter().all(|call| contains(calls, call))
            && !self.unless.is_some_and(|call| contains(calls, call))
    }
}

/// Whether a call, or a setter with any value, is in `calls`.
fn contains(calls: &[&str], wanted: &str) -> bool {
    calls.iter().any(|call| *call == wanted || call.split_once('(').is_some_and(|(name, _)| name == wanted))
}

/// How many cases run at once.
const WORKERS: usize = 4;
/// The time limit for all cases of a test: hundreds of requests, each of them quick.
const TIME: Duration = Duration::from_secs(300);

/// A runtime with some threads, and the outcomes of the cases.
struct Trial {
    model: Model,
    codex: Codex,
    /// It has two turns.
    thread: Thread,
    values: Values,
}

struct Case<'a> {
    calls: Vec<&'a str>,
    /// The input of a turn that shows the effect of the case. It contains none of the values.
    input: String,
    /// The expected content of the request to the model.
    shows: Vec<&'a str>,
}

impl Case<'_> {
    /// Runs a turn on a thread that the case created. For pairs, creating the thread is enough.
    fn run(&self, thread: &Thread) -> Result<()> {
        if self.calls.len() == 1 { thread.run(&*self.input).map(drop) } else { Ok(()) }
    }
}

impl Trial {
    fn start() -> Self {
        let model = Model::start();
        model.fallback(r#"{"value": "ok"}"#);
        let codex = Codex::with_config(model.config()).unwrap();
        let folder = model.folder().join("a-folder-of-the-table");
        std::fs::create_dir(&folder).unwrap();
        let thread = codex.thread_start().send().unwrap();
        thread.run("first").unwrap();
        thread.run("second").unwrap();
        codex.thread_start().send().unwrap().run("another thread").unwrap();
        let turns = thread.turns().limit(1).sort_direction(SortDirection::Asc).send().unwrap();
        let items = thread.items().limit(1).send();
        let values = Values {
            folder,
            turn: turns.data[0].id.clone(),
            cursor_of_threads: codex.thread_list().limit(1).send().unwrap().next_cursor.unwrap(),
            cursor_of_turns: turns.next_cursor.unwrap(),
            // A runtime that lists no items refuses all cases of `ThreadItems`, and only those.
            cursor_of_items: items.map_or_else(|_| String::new(), |items| items.next_cursor.unwrap()),
            cursor_of_models: codex.models().limit(1).send().unwrap().next_cursor.unwrap(),
        };
        Self { model, codex, thread, values }
    }

    /// Tries each row of a builder, and each pair of different setters. Every refusal must be listed, and every listed
    /// refusal must happen.
    fn attempt<B>(
        &self,
        builder: &'static str,
        rows: &[Row<'_, B>],
        make: impl Fn(&Case<'_>) -> Result<B> + Sync,
        send: impl Fn(B, &Case<'_>) -> Result<()> + Sync,
    ) {
        let refusals: Vec<_> =
            REFUSALS.iter().filter(|refusal| refusal.builders.contains(&builder)).collect();
        let calls: Vec<_> = rows.iter().map(|row| &*row.call).collect();
        for call in refusals.iter().flat_map(|refusal| refusal.calls) {
            assert!(contains(&calls, call), "{builder} has no row {call}");
        }
        let pairs = (0..rows.len()).flat_map(|first| (first..rows.len()).map(move |second| [first, second]));
        let pairs = pairs.filter(|&[first, second]| first == second || rows[first].name != rows[second].name);
        let (pairs, next) = (pairs.collect::<Vec<_>>(), AtomicUsize::new(0));
        let outcomes = Mutex::new(Vec::new());
        let work = || {
            while let Some(&[first, second]) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut chosen = vec![&rows[first]];
                chosen.extend((first != second).then(|| &rows[second]));
                let calls: Vec<_> = chosen.iter().map(|row| &*row.call).collect();
                let shows = chosen.iter().filter_map(|row| row.shows).collect();
                let case = Case { calls, input: format!("{builder} {first} {second}"), shows };
                let outcome = make(&case)
                    .and_then(|made| send(chosen.iter().fold(made, |made, row| (row.set)(made)), &case));
                outcomes.lock().unwrap().push((case, outcome));
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(work);
            }
        });
        let mut problems = Vec::new();
        let mut shown = BTreeMap::new();
        for (case, outcome) in outcomes.into_inner().unwrap() {
            let mut expected = refusals.iter().filter(|refusal| refusal.covers(&case.calls)).peekable();
            match outcome {
                Ok(()) if expected.peek().is_none() => drop(shown.insert(case.input.clone(), case)),
                Ok(()) => problems.push(format!("{:?} is accepted, although it is listed", case.calls)),
                Err(error) if expected.any(|refusal| error.to_string().contains(refusal.words)) => {}
                Err(error) => problems.push(format!("{:?}: {error}", case.calls)),
            }
        }
        for request in self.model.requests() {
            let Some(case) = request.last_user_text().and_then(|input| shown.remove(input)) else { continue };
            let body = request.body.to_string();
            for text in case.shows.iter().filter(|text| !body.contains(**text)) {
                problems.push(format!("{:?}: the model does not see {text:?}", case.calls));
            }
        }
        assert!(problems.is_empty(), "{} of {} cases:\n{}", problems.len(), pairs.len(), problems.join("\n"));
    }
}

#[test]
fn setters_of_a_new_thread_alone_and_in_pairs() {
    bounded_within(TIME, || {
        let trial = Trial::start();
        let rows = table::thread_start(&trial.values);
        let make = |_: &Case<'_>| Ok(trial.codex.thread_start());
        trial.attempt("ThreadStart", &rows, make, |start, case| case.run(&start.send()?));
        trial.codex.close().unwrap();
    });
}

#[test]
fn setters_of_a_fork_alone_and_in_pairs() {
    bounded_within(TIME, || {
        let trial = Trial::start();
        let rows = table::thread_fork(&trial.values);
        let make = |_: &Case<'_>| Ok(trial.codex.thread_fork(trial.thread.id()));
        trial.attempt("ThreadFork", &rows, make, |fork, case| case.run(&fork.send()?));
        trial.codex.close().unwrap();
    });
}

#[test]
fn setters_of_a_resume_alone_and_in_pairs() {
    bounded_within(TIME, || {
        let trial = Trial::start();
        let rows = table::thread_resume(&trial.values);
        // Threads with a history, and without handlers of an earlier case.
        let threads = Mutex::new(Vec::<String>::new());
        let make = |_: &Case<'_>| {
            let free = threads.lock().unwrap().pop();
            let id = match free {
                Some(id) => id,
                None => trial.codex.thread_fork(trial.thread.id()).send()?.id().to_owned(),
            };
            // It is unloaded then, so the runtime applies the options of a resume.
            trial.codex.thread_archive(&id)?;
            trial.codex.request_raw("thread/unarchive", json!({"threadId": id}))?;
            Ok(trial.codex.thread_resume(id))
        };
        trial.attempt("ThreadResume", &rows, make, |resume, case| {
            let thread = resume.send()?;
            case.run(&thread)?;
            thread.unsubscribe()?;
            threads.lock().unwrap().push(thread.id().to_owned());
            Ok(())
        });
        trial.codex.close().unwrap();
    });
}

#[test]
fn setters_of_a_turn_alone_and_in_pairs() {
    bounded_within(TIME, || {
        let trial = Trial::start();
        let make = |case: &Case<'_>| Ok(trial.codex.thread_start().send()?.turn(&*case.input));
        trial.attempt("TurnStart", &table::turn(&trial.values), make, |turn, case| {
            if case.calls.contains(&"retry_on_mismatch(1)") {
                return turn.run_as::<table::Answer>().map(drop);
            }
            turn.run().map(drop)
        });
        let make = |_: &Case<'_>| Ok(ExternalMessage::new("ci").text("red"));
        trial.attempt("ExternalMessage", &table::external_message(&trial.values), make, |message, _| {
            trial.codex.thread_start().send()?.run(message).map(drop)
        });
        let make =
            |case: &Case<'_>| Ok(trial.codex.thread_start().send()?.ensure(&*case.input, &*case.input));
        trial.attempt("Ensure", &table::ensure(&trial.values), make, |ensure, _| ensure.run().map(drop));
        trial.codex.close().unwrap();
    });
}

#[test]
fn setters_of_what_is_read_alone_and_in_pairs() {
    bounded_within(TIME, || {
        let trial = Trial::start();
        let (codex, thread, values) = (&trial.codex, &trial.thread, &trial.values);
        macro_rules! attempt {
            ($($builder:literal, $table:ident: $make:expr;)*) => {$(
                trial.attempt($builder, &table::$table(values), |_| Ok($make), |builder, _| builder.send().map(drop));
            )*};
        }
        attempt! {
            "ThreadList", thread_list: codex.thread_list();
            "ThreadTurns", thread_turns: thread.turns();
            "ThreadRead", thread_read: thread.read();
            "Models", models: codex.models();
            "AccountRead", account: codex.account();
            "ThreadItems", thread_items: thread.items();
        }
        codex.close().unwrap();
    });
}

/// The setters of each builder, from the snapshot of the public API.
fn snapshot() -> BTreeMap<String, BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api/openai-codex.txt");
    let mut setters: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines().filter(|line| line.contains("-> Self")) {
        let Some(method) = line.strip_prefix("pub fn openai_codex::") else { continue };
        let generic = method.split_once("<C>::");
        let Some((builder, method)) = generic.or_else(|| method.split_once("::")) else { continue };
        let end = method.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap();
        let (name, rest) = method.split_at(end);
        if (generic.is_some() || builder == "ExternalMessage") && rest.contains("(self") {
            setters.entry(builder.to_owned()).or_default().insert(name.to_owned());
        }
    }
    setters
}

#[test]
fn every_setter_has_a_row() {
    let values = Values::default();
    let mut tables: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    macro_rules! add {
        ($($builder:literal: $table:ident;)*) => {$(
            tables.insert($builder, table::$table(&values).iter().map(|row| row.name).collect());
        )*};
    }
    add! {
        "AccountRead": account;
        "Ensure": ensure;
        "ExternalMessage": external_message;
        "Models": models;
        "ThreadFork": thread_fork;
        "ThreadItems": thread_items;
        "ThreadList": thread_list;
        "ThreadRead": thread_read;
        "ThreadResume": thread_resume;
        "ThreadStart": thread_start;
        "ThreadTurns": thread_turns;
        "TurnStart": turn;
    }
    let setters = snapshot();
    assert!(setters.len() >= tables.len(), "{setters:?}");
    for (builder, setters) in setters {
        let rows = tables.get(&*builder).unwrap_or_else(|| panic!("{builder} has no table"));
        let missing: Vec<_> = setters.iter().filter(|setter| !rows.contains(&***setter)).collect();
        assert!(missing.is_empty(), "add rows to the table of {builder}: {missing:?}");
    }
}
