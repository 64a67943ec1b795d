//! The blocking and the async client have the same methods with the same arguments and results, and each setter is
//! written once. The tests parse the sources, so they cover new methods automatically.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The public methods of each `impl` header, with their signatures.
type Methods = BTreeMap<String, BTreeMap<String, String>>;

/// Methods that only one side has, or that differ, with the reason.
const DIFFERENCES: [(&str, &str, &str); 5] = [
    ("Codex", "new", "the blocking one starts the runtime, which can fail"),
    ("Codex", "with_config", "likewise"),
    ("Codex", "with_transport", "likewise"),
    ("Codex", "start", "the async one is lazy, and can be started ahead of its first call"),
    ("Codex", "metadata", "the async one has none before it is started"),
];

/// The types that have two forms, and the methods that only one form has.
const STREAMS: [&str; 5] = ["TurnStream", "TextStream", "Events", "Pages", "Entries"];

fn sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            // Builders that a macro ends differ by the file of the macro.
            let name = format!("${}", path.file_stem().unwrap().to_str().unwrap());
            texts.push(std::fs::read_to_string(path).unwrap().replace("$builder", &name));
        }
    }
}

/// The source without comments and without the unit tests at its end.
fn code(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    lines
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{}\n", line.trim()))
        .collect()
}

/// The position after the brace that closes the one at `open`.
fn closing(text: &str, open: usize) -> usize {
    let mut depth = 0;
    for (place, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return place + 1;
        }
    }
    text.len()
}

fn collect(text: &str, methods: &mut Methods) {
    let mut rest = text;
    while let Some(start) = rest.find("\nimpl") {
        rest = &rest[start + 1..];
        let Some(open) = rest.find('{') else { return };
        let header = unqualified(rest[..open].trim());
        let end = closing(rest, open);
        let of_type = methods.entry(header).or_default();
        let mut body = &rest[open..end];
        while let Some(start) = body.find("\npub ") {
            body = &body[start + 5..];
            let Some(signature) = body.split('{').next() else { break };
            let plain = signature.strip_prefix("async ").unwrap_or(signature);
            if let Some(function) = plain.strip_prefix("fn ") {
                let name = function.split(['(', '<']).next().unwrap();
                of_type.insert(name.to_owned(), normal(function));
            }
        }
        rest = &rest[end..];
    }
}

/// The text with type names instead of their paths.
fn unqualified(text: &str) -> String {
    let mut parts: Vec<&str> = text.split("::").collect();
    let last = parts.pop().unwrap_or_default();
    let module = |c: char| c.is_ascii_lowercase() || c == '_';
    parts.into_iter().map(|part| part.trim_end_matches(module)).chain([last]).collect()
}

/// A signature, with the names of the blocking side.
fn normal(signature: &str) -> String {
    let words = signature.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain = unqualified(&words).replace("Async", "");
    plain.replace("( ", "(").replace(", )", ")").replace(",)", ")")
}

fn methods() -> Methods {
    let mut texts = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut texts);
    let mut methods = Methods::new();
    for text in &texts {
        collect(&code(text), &mut methods);
    }
    methods
}

fn of<'a>(methods: &'a Methods, headers: &[&str]) -> BTreeMap<&'a str, &'a str> {
    let found = headers.iter().filter_map(|header| methods.get(*header)).flatten();
    found.map(|(name, signature)| (name.as_str(), signature.as_str())).collect()
}

#[test]
fn clients_threads_and_turns_have_the_same_methods() {
    let methods = methods();
    for name in ["Codex", "Thread", "TurnHandle", "ChatgptLoginHandle", "DeviceCodeLoginHandle"] {
        // What the handles of logins have in common, a macro writes.
        let common = name.ends_with("LoginHandle");
        let [of_macro, of_async_macro] =
            if common { ["impl $blocking", "impl $asynchronous"] } else { [""; 2] };
        let blocking = of(&methods, &[&format!("impl {name}"), of_macro]);
        let asynchronous = of(&methods, &[&format!("impl Async{name}"), of_async_macro]);
        assert!(blocking.len() >= 5, "the sources of {name} were not understood: {blocking:?}");
        let names: BTreeSet<_> = blocking.keys().chain(asynchronous.keys()).collect();
        for method in names {
            if DIFFERENCES.iter().any(|(of, differs, _)| (*of, differs) == (name, method)) {
                continue;
            }
            assert_eq!(
                blocking.get(method),
                asynchronous.get(method),
                "{name}::{method}, blocking and async"
            );
        }
    }
}

#[test]
fn the_listed_differences_still_exist() {
    let methods = methods();
    for (name, method, why) in DIFFERENCES {
        let blocking = of(&methods, &[&format!("impl {name}")]);
        let asynchronous = of(&methods, &[&format!("impl Async{name}")]);
        assert_ne!(blocking.get(method), asynchronous.get(method), "{name}::{method}: {why}");
    }
}

#[test]
fn builders_define_each_setter_once_and_end_the_same_way() {
    let methods = methods();
    let mut builders = 0;
    for (header, ends) in &methods {
        let Some(name) = header
            .strip_prefix("impl ")
            .and_then(|rest| rest.split_once('<'))
            .filter(|(_, client)| *client == "AsyncCodex>")
        else {
            continue;
        };
        let name = name.0;
        builders += 1;
        let asynchronous: BTreeMap<_, _> =
            ends.iter().map(|(name, signature)| (name.as_str(), signature.as_str())).collect();
        let blocking = of(&methods, &[&format!("impl {name}<Codex>")]);
        let listing = |method: &str| ["pages", "all"].contains(&method);
        assert_eq!(blocking, asynchronous, "how {name} ends, blocking and async");
        for method in blocking.keys() {
            let ends = ["send", "run", "run_as"].contains(method) || listing(method);
            assert!(ends, "{name}::{method} is not an end: it belongs into `impl<C> {name}<C>`, once");
        }
    }
    assert!(builders >= 4, "the sources were not understood: {builders} kinds of builders");
}

#[test]
fn both_clients_read_streams_the_same_way() {
    let methods = methods();
    for name in STREAMS {
        let generic = |name: &str| [format!("impl {name}"), format!("impl<R: Paged> {name}<R>")];
        let find = |name: &str| {
            let headers = generic(name);
            of(&methods, &headers.each_ref().map(String::as_str))
                .into_keys()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        // What else a stream has, both have.
        let extra: &[&str] = if name == "TurnStream" { &["with_children"] } else { &[] };
        assert_eq!(find(&format!("Async{name}")), [&["next"][..], extra].concat(), "Async{name}");
        // `next` is the iterator's. Those of listings are written by a macro.
        let blocking = match find(name) {
            none if none.is_empty() => {
                of(&methods, &["impl<R: Paged> $name<R>"]).into_keys().map(str::to_owned).collect()
            }
            found => found,
        };
        assert_eq!(blocking, [&["next_timeout"][..], extra].concat(), "{name}");
    }
}

/// The bounds that handles, builders and streams promise.
#[test]
fn handles_and_streams_can_move_between_threads() {
    use openai_codex::*;
    fn handle<T: Clone + Send + Sync + Unpin + 'static>() {}
    fn stream<T: Send + Unpin + 'static>() {}
    handle::<AsyncThread>();
    handle::<AsyncTurnHandle>();
    handle::<AsyncChatgptLoginHandle>();
    handle::<AsyncDeviceCodeLoginHandle>();
    handle::<AccountRead<AsyncCodex>>();
    handle::<ThreadList<AsyncCodex>>();
    handle::<ThreadResume<AsyncCodex>>();
    handle::<ThreadFork<AsyncCodex>>();
    handle::<ThreadTurns<AsyncCodex>>();
    handle::<ThreadItems<AsyncCodex>>();
    handle::<ExternalMessage>();
    handle::<RetryPolicy>();
    handle::<TypedResult<String>>();
    stream::<AsyncTextStream>();
    stream::<AsyncPages<methods::ThreadList>>();
    stream::<AsyncEntries<methods::ThreadItemsList>>();
    #[cfg(feature = "blocking")]
    {
        handle::<Thread>();
        handle::<TurnHandle>();
        handle::<ChatgptLoginHandle>();
        handle::<DeviceCodeLoginHandle>();
        stream::<TextStream>();
        stream::<Pages<methods::ThreadTurnsList>>();
        stream::<Entries<methods::ModelList>>();
    }
}

/// The futures of the async client can be spawned.
#[test]
fn calls_can_be_spawned() {
    use openai_codex::*;
    // The value of a turn need not be sent itself.
    #[derive(schemars::JsonSchema, serde::Deserialize)]
    struct NotSend(#[serde(skip)] std::marker::PhantomData<*const ()>);
    fn spawn<T: Send + 'static>(_: impl FnOnce(AsyncCodex, AsyncThread, AsyncTurnHandle) -> T) {}
    spawn(|codex, _, _| codex.thread_list().send());
    spawn(|codex, _, _| codex.thread_resume("t").send());
    spawn(|codex, _, _| codex.thread_fork("t").send());
    spawn(|codex, _, _| async move { codex.thread_archive("t").await });
    spawn(|codex, _, _| async move { codex.thread_unarchive("t").await });
    spawn(|codex, _, _| async move { codex.login_api_key("k").await });
    spawn(|codex, _, _| async move { codex.login_chatgpt().await?.wait().await });
    spawn(|codex, _, _| async move { codex.login_chatgpt_device_code().await?.cancel().await });
    spawn(|codex, _, _| codex.account().send());
    spawn(|codex, _, _| async move { codex.logout().await });
    spawn(|codex, _, _| async move { codex.rate_limits().await });
    spawn(|_, thread, _| async move { thread.export().await });
    spawn(|_, thread, _| async move { thread.set_name("n").await });
    spawn(|_, thread, _| async move { thread.compact().await });
    spawn(|_, thread, _| async move { thread.run(ExternalMessage::new("ci").text("red")).await });
    spawn(|_, thread, _| async move { thread.run_as::<String>("hello").await });
    spawn(|_, thread, _| async move { thread.turn("hello").run_as::<String>().await });
    spawn(|_, thread, _| async move {
        thread.turn("hello").retry_on_mismatch(1).run_as::<NotSend>().await.is_ok()
    });
    spawn(|_, thread, _| async move { thread.items().all().next().await });
    spawn(|_, _, turn| async move { turn.steer("left").await });
    spawn(|_, _, turn| async move { turn.interrupt().await });
    spawn(|_, _, turn| async move { turn.stream_text().next().await });
}
