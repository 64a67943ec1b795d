//! Turns are whole wherever, and however often, their connections are cut.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use openai_codex::types::{MessagePhase, SandboxMode, ThreadItem, TurnStatus};
use openai_codex::{ErrorKind, Notification, Thread, TurnHandle};
use openai_codex_testkit::{Gate, ModelReply, ModelToolCall, Phase};

use super::{Kind, SEED, SMALL, Seen, Steps, World, asks, run_both};
use crate::support::{Model, bounded_within};

/// How many turns run at once.
const BATCH: usize = 10;
const CUTS_PER_TURN: usize = 3;

/// What a run of turns has seen.
#[derive(Debug, Default)]
pub(super) struct Turns {
    turns: usize,
    cuts: usize,
    /// The turns that each cut has hit, together.
    cut_turns: usize,
    uncertain: usize,
    restored_ends: usize,
    pub(super) restored_items: usize,
    pub(super) flaws: Flaws,
}

/// What must not be.
#[derive(Debug, Default)]
pub(super) struct Flaws {
    pub(super) lost: usize,
    pub(super) doubled: usize,
    /// Items whose text differs, or whose deltas do not make it.
    pub(super) unequal: usize,
    /// Turns without an end, or with several.
    pub(super) ends: usize,
    /// Turns that failed.
    pub(super) failed: usize,
}

impl Display for Turns {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { turns, cuts, cut_turns, uncertain, restored_ends, restored_items, flaws } = self;
        let Flaws { lost, doubled, unequal, ends, failed } = flaws;
        write!(
            f,
            "{turns} turns in batches of {BATCH}, {cuts} cuts, {:.1} for each turn, {lost} items lost, {doubled} doubled, {unequal} texts \
             unequal, {ends} wrong ends, {failed} failed; {restored_items} items and {restored_ends} ends restored, {uncertain} more \
             starts uncertain",
            *cut_turns as f64 / *turns as f64
        )
    }
}

impl Seen for Turns {
    fn is_right(&self) -> bool {
        let Flaws { lost, doubled, unequal, ends, failed } = self.flaws;
        self.cut_turns >= CUTS_PER_TURN * self.turns && lost + doubled + unequal + ends + failed == 0
    }
}

fn message_of(key: &str) -> Vec<String> {
    (0..30).map(|number| format!("{key} {number}é\n\"")).collect()
}

/// The model waits at `begin` before everything, and at `gate` in the middle of the last message.
pub(super) fn replies(model: &Model, key: &str, begin: &Gate, gate: &Gate) {
    let reasoning = openai_codex_testkit::Reasoning::summary(format!("**{key}**"));
    let first = ModelReply::new().pause(begin).reasoning(reasoning);
    let first = first.message(format!("first {key}"), Phase::Commentary);
    let command = ModelToolCall::exec_command(format!("echo {key}; echo end"));
    model.reply_when(asks(key.to_owned()), first.call(command));
    let deltas = message_of(key);
    let (before, after) = deltas.split_at(deltas.len() / 2);
    let add = |reply: ModelReply, delta: &String| reply.delta(delta.clone()).delay(Duration::from_millis(2));
    let reply = before.iter().fold(ModelReply::new(), add).pause(gate);
    model.reply_when(asks(key.to_owned()), after.iter().fold(reply, add));
}

/// Runs turns in batches. Each turn runs while the connection is cut three times or more.
fn run_turns(kind: Kind, seed: u64, turns: usize, steps: &Steps) -> Turns {
    let mut world = World::new(kind, seed, |config, _| config);
    let mut seen = Turns::default();
    let mut number = 0;
    while seen.turns < turns {
        let (begin, gate) = (world.model.gate(), world.model.gate());
        let begins_before_cuts = world.rng.bool();
        if begins_before_cuts {
            begin.release();
        }
        let mut running = Vec::new();
        for _ in 0..BATCH {
            let key = format!("{kind:?}-{number}");
            number += 1;
            replies(&world.model, &key, &begin, &gate);
            let thread = world.thread(SandboxMode::DangerFullAccess);
            match thread.turn(key.clone()).send() {
                Ok(turn) => running.push((key, thread, turn)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Uncertain, "{error}");
                    seen.uncertain += 1;
                }
            }
        }
        // The first cut hits somewhere in what arrives now.
        let before = world.proxy.faults();
        for _ in 0..CUTS_PER_TURN {
            world.plan_random_cut();
        }
        world.proxy.cut();
        begin.release();
        world.exchange_until(before + CUTS_PER_TURN - 1);
        gate.release();
        let count = running.len();
        for (key, thread, turn) in running {
            check_turn(&key, &thread, &turn, &mut seen);
            seen.turns += 1;
            steps.done(|| key);
        }
        let cuts = 1 + world.proxy.faults() - before;
        seen.cuts += cuts;
        seen.cut_turns += cuts * count;
    }
    world.end();
    seen
}

/// Checks that the stream and the result of a turn are whole.
pub(super) fn check_turn(key: &str, thread: &Thread, turn: &TurnHandle, seen: &mut Turns) {
    let mut items: BTreeMap<String, Item> = BTreeMap::new();
    let (mut starts, mut ends, mut completed) = (0, 0, Vec::new());
    let flaws = &mut seen.flaws;
    let tell = |what: &dyn Display| println!("{key}: {what}");
    for event in turn.stream() {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tell(&error);
                flaws.failed += 1;
                return;
            }
        };
        if ends > 0 {
            tell(&format_args!("an event after the end: {event:?}"));
            flaws.ends += 1;
        }
        match event {
            Notification::TurnStarted(_) => starts += 1,
            Notification::TurnCompleted(_) => ends += 1,
            Notification::ItemStarted(started) => {
                items.entry(id_of(&started.item)).or_default().started += 1;
            }
            Notification::ItemCompleted(done) => {
                seen.restored_items += usize::from(done.extra.get("restored").is_some());
                items.entry(id_of(&done.item)).or_default().completed += 1;
                completed.push(done.item);
            }
            Notification::AgentMessageDelta(delta) => {
                let item = items.entry(delta.item_id).or_default();
                if (item.started, item.completed) != (1, 0) {
                    tell(&"a delta outside of its item");
                    flaws.unequal += 1;
                }
                item.text += &delta.delta;
            }
            _ => {}
        }
    }
    if (starts, ends) != (1, 1) {
        tell(&format_args!("{starts} starts and {ends} ends"));
        flaws.ends += 1;
    }
    for (id, Item { started, completed, .. }) in &items {
        if (*started, *completed) != (1, 1) {
            tell(&format_args!("{id} has started {started} times, and completed {completed} times"));
            flaws.lost += usize::from(*started == 0 || *completed == 0);
            flaws.doubled += started.saturating_sub(1).max(completed.saturating_sub(1));
        }
    }
    for item in &completed {
        if let ThreadItem::AgentMessage(message) = item
            && items[&id_of(item)].text != message.text
        {
            tell(&format_args!("the deltas are not the text {:?}", message.text));
            flaws.unequal += 1;
        }
    }
    check_items(key, thread, turn, &completed, flaws);
    match turn.run() {
        Ok(result) => {
            seen.restored_ends += usize::from(result.restored);
            check_items(key, thread, turn, &result.items, flaws);
            let is_whole = result.final_response.as_deref() == Some(&*message_of(key).concat());
            flaws.unequal += usize::from(!is_whole);
            flaws.ends += usize::from(result.turn.status != TurnStatus::Completed);
        }
        Err(error) => {
            tell(&error);
            flaws.failed += 1;
        }
    }
}

/// Compares the items of a turn with those that it must have.
fn check_items(key: &str, thread: &Thread, turn: &TurnHandle, items: &[ThreadItem], flaws: &mut Flaws) {
    let is_expected: [&dyn Fn(&ThreadItem) -> bool; 5] = [
        &|item| matches!(item, ThreadItem::UserMessage(message) if message.client_id.as_deref() == turn.client_message_id()),
        &|item| matches!(item, ThreadItem::Reasoning(reasoning) if reasoning.summary.as_deref() == Some(&[format!("**{key}**")][..])),
        &|item| {
            matches!(item, ThreadItem::AgentMessage(message)
                if message.text == format!("first {key}") && message.phase == Some(MessagePhase::Commentary))
        },
        &|item| {
            let ThreadItem::CommandExecution(command) = item else { return false };
            let output = command.aggregated_output.as_deref();
            output == Some(&*format!("{key}\nend\n"))
                || output == recorded_output(thread, &command.id).as_deref()
        },
        &|item| matches!(item, ThreadItem::AgentMessage(message) if message.text == message_of(key).concat()),
    ];
    let expected = ["userMessage", "reasoning", "agentMessage", "commandExecution", "agentMessage"];
    let kinds: Vec<_> = items.iter().map(kind_of).collect();
    let count = |kinds: &[&str], kind: &str| kinds.iter().filter(|other| **other == kind).count();
    let owned: Vec<_> = kinds.iter().map(String::as_str).collect();
    let (mut lost, mut doubled) = (0, 0);
    for kind in ["userMessage", "reasoning", "agentMessage", "commandExecution"] {
        lost += count(&expected, kind).saturating_sub(count(&owned, kind));
        doubled += count(&owned, kind).saturating_sub(count(&expected, kind));
    }
    doubled += owned.iter().filter(|kind| !expected.contains(kind)).count();
    let unequal = match lost + doubled {
        0 => items.iter().zip(is_expected).filter(|(item, is_expected)| !is_expected(item)).count(),
        _ => 0,
    };
    if lost + doubled + unequal > 0 {
        println!("{key}: {lost} lost, {doubled} doubled, {unequal} unequal in {items:#?}");
    }
    flaws.lost += lost;
    flaws.doubled += doubled;
    flaws.unequal += unequal;
}

/// What the runtime has recorded of a command. On a busy machine it can lack the output, which the runtime then has left out.
fn recorded_output(thread: &Thread, id: &str) -> Option<String> {
    let turns = thread.read().include_turns(true).send().unwrap().thread.turns;
    let found = turns.iter().flat_map(|turn| &turn.items).find_map(|item| match item {
        ThreadItem::CommandExecution(command) if command.id == id => Some(command.aggregated_output.clone()),
        _ => None,
    });
    let recorded = found.expect("a command that is not recorded");
    println!("the runtime has recorded {recorded:?} of the command {id}");
    recorded
}

#[derive(Debug, Default)]
struct Item {
    started: usize,
    completed: usize,
    text: String,
}

fn kind_of(item: &ThreadItem) -> String {
    serde_json::to_value(item).unwrap()["type"].as_str().unwrap().to_owned()
}

fn id_of(item: &ThreadItem) -> String {
    serde_json::to_value(item).unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn turns_are_whole_although_their_connections_are_cut() {
    bounded_within(SMALL, || {
        for kind in [Kind::Socket, Kind::Port] {
            let seen = run_turns(kind, SEED, BATCH, &Steps::none());
            assert!(seen.is_right(), "{seen}");
        }
    });
}

#[test]
#[ignore = "takes minutes: 1,000 turns"]
fn a_thousand_turns_are_whole_although_their_connections_are_cut() {
    run_both(|kind, seed, steps| run_turns(kind, seed, 500, steps));
}
