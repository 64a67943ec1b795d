//! Properties of any order of events, any queue and any message. Each run tries the same cases.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::connection::checks;
use crate::connection::checks::event_queue::Step;
use crate::connection::checks::op::Op;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(0x0c0d_e500),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// At max one character of JSON white space.
fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,1}"
}

/// A string as JSON text. Its characters are escaped, or not, in all possible choices.
fn quoted(content: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (content, any::<u64>()).prop_map(|(content, choices)| {
        let escaped =
            content.chars().enumerate().map(|(index, char)| match (char, choices >> (index % 64) & 1) {
                ('"' | '\\', 0) => format!("\\{char}"),
                ('\n', 0) => "\\n".to_owned(),
                ('\u{20}'.., 0) => char.to_string(),
                _ => char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            });
        format!("\"{}\"", escaped.collect::<String>())
    })
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        "-?[1-9][0-9]{0,3}\\.[0-9]{1,3}([eE][+-]?[0-9]{1,2})?",
        quoted("[a-z\"\\\\{}\\[\\],:\nä€🦀]{0,8}"),
    ]
}

/// A member name that routing reads, or another one.
fn name() -> impl Strategy<Value = String> {
    const NAMES: [&str; 13] = [
        "method",
        "id",
        "params",
        "result",
        "error",
        "threadId",
        "turnId",
        "conversationId",
        "thread",
        "turn",
        "rootTurnId",
        "parentThreadId",
        "x",
    ];
    quoted(proptest::sample::select(&NAMES[..]).prop_map(str::to_owned))
}

fn object(member: impl Strategy<Value = String>, max: usize) -> impl Strategy<Value = String> {
    (proptest::collection::vec((space(), name(), space(), member), 0..=max), space()).prop_map(
        |(members, end)| {
            let members =
                members.iter().map(|(before, name, after, value)| format!("{before}{name}{after}:{value}"));
            format!("{{{}{end}}}", members.collect::<Vec<_>>().join(","))
        },
    )
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        let spaced = (space(), inner.clone(), space())
            .prop_map(|(before, value, after)| before + &value + &after)
            .boxed();
        let array = proptest::collection::vec(spaced.clone(), 0..4)
            .prop_map(|values| format!("[{}]", values.join(",")));
        prop_oneof![array, object(spaced, 5)]
    })
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0_usize..200, 2 => 1_900_usize..2_100, 1 => 65_400_usize..65_600]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (size(), any::<bool>()).prop_map(|(size, of_child)| Step::Push(size, of_child)),
        any::<bool>().prop_map(|with_children| Step::Pop { with_children }),
    ]
}

proptest! {
    #![proptest_config(cases(1000))]

    /// For example, each event reaches each subscription of its turn once and in order, and each wait ends once.
    #[test]
    fn a_router_agrees_with_its_model_for_any_order_of_events(
        ops in proptest::collection::vec(any::<[u8; 4]>().prop_map(Op::read), 0..80)
    ) {
        checks::router::run(&ops);
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    /// Each item once, with its whole text, and one end, wherever the connection is cut.
    #[test]
    fn a_turn_is_restored_whole_wherever_its_connection_is_cut(
        ops in proptest::collection::vec(any::<[u8; 2]>(), 0..60), choices in any::<u8>()
    ) {
        checks::restore::run(&ops, choices);
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn a_queue_of_events_agrees_with_a_list(steps in proptest::collection::vec(step(), 0..48)) {
        checks::event_queue::event_queue(&steps);
    }

    #[test]
    fn lines_do_not_depend_on_how_the_bytes_are_split(
        sizes in proptest::collection::vec(0_u8..6, 0..16),
        text in "[a-c\n\r {}]{0,60}",
    ) {
        let count = u8::try_from(sizes.len()).unwrap();
        checks::lines::lines(&[&[count][..], &sizes, text.as_bytes()].concat());
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn the_scanner_agrees_with_the_parser(
        (before, message, after) in (space(), object(value(), 8), space())
    ) {
        let text = before + &message + &after;
        prop_assert!(checks::reading::Members::read(&text).is_some(), "not JSON: {}", text);
        checks::envelope::envelope(text.as_bytes());
        checks::decode::decode(text.as_bytes());
    }

    #[test]
    fn no_text_makes_the_scanner_or_a_decoder_panic(
        text in prop_oneof![any::<String>(), "[{}\\[\\]\"\\\\:, a-fu0-9n\u{1}]{0,60}"]
    ) {
        checks::envelope::envelope(text.as_bytes());
        checks::decode::decode(text.as_bytes());
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn a_connection_follows_its_policy(
        max_attempts in 0..5_usize,
        steps in proptest::collection::vec((any::<u8>(), 0..90_u64), 0..60),
    ) {
        checks::lifecycle::lifecycle(max_attempts, std::time::Instant::now(), &steps);
    }
}
