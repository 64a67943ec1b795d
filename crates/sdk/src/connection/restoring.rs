//! How the router restores its turns after a reconnect.
//!
//! The host calls [`Router::hold_turns`] when the connection is lost, and [`Router::restore_turn`] for each turn when the server has
//! described it on the new connection. What the router makes of that goes the way of live events.

use std::sync::Arc;

use crate::connection::effect::Effect;
use crate::connection::envelope::{Incoming, Route};
use crate::connection::event::{Event, EventBatch, EventQueue};
use crate::connection::given::Given;
use crate::connection::host::{Host, SharedBuffer};
use crate::connection::restore::{Filter, Restore, Verdict, has_end, merge};
use crate::connection::router::Router;
use crate::connection::snapshot::Snapshot;
use crate::error::{Error, ErrorKind};
use crate::json_scan::Scanner;
use crate::options::gap_policy::GapPolicy;

/// How much of a turn waits for the server's description of it. The description includes what came some time before it.
const MAX_WAITING_BYTES: usize = 16 << 20;

/// A turn whose connection was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldTurn {
    pub(crate) thread_id: Arc<str>,
    pub(crate) turn_id: Arc<str>,
}

impl<H: Host> Router<H> {
    /// Notes from now on what each turn has been given, so that it can be restored after a reconnect.
    pub(crate) fn prepare_restoring(&mut self, gap_policy: GapPolicy) {
        self.gap_policy = gap_policy;
        self.running_turns.note_given();
    }

    /// Keeps the running turns, because the connection is lost and the client reconnects. Their events wait from now on until
    /// [`restore_turn`](Self::restore_turn), or [`lose_turn`](Self::lose_turn).
    pub(crate) fn hold_turns(&mut self) -> Vec<HeldTurn> {
        self.running_turns.hold();
        let turns = self.running_turns.iter().filter_map(|turn| {
            let of_subscription = || turn.subscriptions.first().map(|held| held.thread_id().clone());
            let thread_id = turn.thread_id.clone().or_else(of_subscription)?;
            Some(HeldTurn { thread_id, turn_id: turn.id.clone() })
        });
        turns.collect()
    }

    /// Restores a turn: gives what is missing, and then what waits. `snapshot` is what the server has described it as, after the
    /// reconnect. `same_server`: whether the server is known to be the process that ran the turn.
    ///
    /// A turn that is not known becomes known, if the snapshot has it: the starts without a response on its thread get its events.
    pub(crate) fn restore_turn(
        &mut self,
        thread_id: &str,
        turn_id: &str,
        snapshot: Option<&Snapshot<'_>>,
        same_server: bool,
    ) {
        let turn = self.running_turns.get_mut(turn_id);
        let is_known = turn.is_some();
        let waiting = match turn.map(|turn| (turn.restore.as_deref_mut(), turn.being_interrupted)) {
            // What has arrived of it without its beginning belongs behind what is missing.
            None => Some((self.pending_turns.take_early(turn_id).unwrap_or_default(), false)),
            Some((Some(Restore::Waiting(waiting)), interrupted)) => {
                Some((std::mem::take(waiting), interrupted))
            }
            Some(_) => None,
        };
        let Some((waiting, interrupts)) = waiting else { return };
        let Some(snapshot) = snapshot else {
            if !waiting.is_empty() {
                // The server runs it, and has not written it down yet.
                self.running_turns.set_filter(turn_id, Filter::new(self.gap_policy));
                self.give_waiting(turn_id, &waiting);
            } else if is_known {
                let message = "the connection was lost, and afterwards the server had no record of the turn; the turn may have had effects";
                self.lose_turn(turn_id, &Error::new(ErrorKind::TurnLost, message));
            }
            return;
        };
        let same_server =
            same_server && self.running_turns.get(turn_id).is_none_or(|turn| !turn.has_other_server);
        if snapshot.is_in_progress()
            && let Some(turn) = self.running_turns.get_mut(turn_id)
        {
            turn.has_other_server = false;
        }
        let dies_with_server = is_known && snapshot.is_interrupted() && !interrupts && !same_server;
        let is_lost = (dies_with_server || snapshot.has_died()) && !has_end(&waiting);
        let none = Given::default();
        let given = self.running_turns.get(turn_id).and_then(|turn| turn.given.as_deref()).unwrap_or(&none);
        let merged = merge(given, snapshot, (thread_id, turn_id), &waiting, self.gap_policy, is_lost);
        self.apply_restored(&merged.missing);
        self.running_turns.set_filter(turn_id, merged.filter);
        if is_lost {
            let message = "the connection was lost, and afterwards the turn was interrupted: the server process has ended, and the turn \
                           with it. What a command did last is unknown";
            return self.lose_turn(turn_id, &Error::new(ErrorKind::TurnLost, message));
        }
        self.give_waiting(turn_id, &waiting);
    }

    /// Handles the events of a turn that have waited.
    fn give_waiting(&mut self, turn_id: &str, waiting: &EventQueue) {
        if self.running_turns.contains(turn_id) {
            let mut batch = EventBatch::default();
            for event in waiting.iter() {
                let route = route_of(event);
                self.handle_notification(event, &route, &mut batch);
            }
            self.deliver(&mut batch);
        }
    }

    /// Ends a turn that cannot be restored.
    pub(crate) fn lose_turn(&mut self, turn_id: &str, error: &Error) {
        let Some(turn) = self.remove_turn(turn_id) else { return };
        let error = error.clone().with_thread(turn.thread_id.as_deref());
        self.running_turns.lose(&turn, &error);
        // The server that has sent the requests is gone.
        let ended = self.server_requests.end_turn(turn_id).into_iter();
        self.effects.extend(ended.map(|(request, _)| Effect::Cancel { request, unanswered: false }));
    }

    /// Whether a live event is to be given, although a turn is being restored. Gives what takes its place.
    pub(super) fn passes_restoration(
        &mut self,
        event: Event<'_>,
        route: &Route<'_>,
        batch: &mut EventBatch<'_>,
    ) -> bool {
        let Some(turn_id) = route.turn_id.as_deref() else { return true };
        match self.running_turns.get_mut(turn_id).and_then(|turn| turn.restore.as_deref_mut()) {
            None => return true,
            Some(Restore::Waiting(waiting)) => {
                waiting.push(event);
                while waiting.bytes() > MAX_WAITING_BYTES {
                    waiting.pop(true, |_| ());
                }
                return false;
            }
            Some(Restore::Filtering(filter)) if filter.passes_at_once(event) => return true,
            Some(Restore::Filtering(_)) => {}
        }
        // What was given must include the events in front of this one.
        self.running_turns.deliver(batch);
        let Some(turn) = self.running_turns.get_mut(turn_id) else { return true };
        let (Some(Restore::Filtering(filter)), Some(given)) = (turn.restore.as_deref_mut(), &turn.given)
        else {
            return true;
        };
        let thread_id = turn.thread_id.as_deref().or(route.thread_id.as_deref()).unwrap_or_default();
        match filter.judge(given, event, (thread_id, turn_id)) {
            Verdict::Pass => true,
            Verdict::Drop => false,
            Verdict::Replace(events) => {
                self.apply_restored(&events);
                false
            }
        }
    }

    /// Gives events that were made, or that have waited.
    fn apply_restored(&mut self, events: &EventQueue) {
        let mut batch = EventBatch::default();
        for event in events.iter() {
            let route = route_of(event);
            self.apply_notification(event, &route, &mut batch);
        }
        self.deliver(&mut batch);
    }
}

/// Where an event of a queue belongs.
fn route_of(event: Event<'_>) -> Route<'_> {
    let route = match event.kind {
        Some(_) => Scanner { text: event.text, at: 0 }.route(),
        None => match Incoming::scan(event.text) {
            Ok(Incoming::Notification { route, .. }) => Some(route),
            _ => None,
        },
    };
    route.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use openai_codex_protocol::NotificationKind as Kind;
    use serde_json::{Value, json};

    use super::*;
    use crate::connection::backlog::Backlog;
    use crate::connection::checks::router::{Subscription, TestHost, open, unlimited};
    use crate::connection::intent::{Intent, Joins};
    use crate::connection::on_loss::OnLoss;
    use crate::connection::request_window::Slot;
    use crate::connection::snapshot::Trust;
    use crate::connection::turn_buffer::{End, TurnBuffer};
    use crate::connection::waiter::Waiter;

    struct World {
        router: Router<TestHost>,
        request: i64,
        subscription: Arc<Subscription>,
    }

    impl World {
        /// A `turn/start` without a response.
        fn starting() -> Self {
            let buffer = TurnBuffer::new(true, &unlimited()).into();
            #[expect(clippy::arc_with_non_send_sync, reason = "all of it is on one thread")]
            let subscription = Arc::new(Subscription { thread_id: "t".into(), buffer });
            let mut router = Router::new(OnLoss::End, false);
            router.prepare_restoring(GapPolicy::Repair);
            let intent =
                Intent::StartTurn { subscription: subscription.clone(), joins: Joins::Any, transport: 0 };
            let request = router.register(Waiter::new(0, "turn/start", Some("t")), intent).unwrap();
            router.admit(request, Slot::Usual, &bytes::Bytes::new());
            Self { router, request, subscription }
        }

        fn running() -> Self {
            let mut world = Self::starting();
            world.respond();
            world.event("turn/started", json!({"turn": {"id": "u"}}));
            world
        }

        fn respond(&mut self) {
            self.read(&json!({"id": self.request, "result": {"turn": {"id": "u"}}}));
        }

        fn event(&mut self, method: &str, mut params: Value) {
            params["threadId"] = "t".into();
            if params.get("turn").is_none() {
                params["turnId"] = "u".into();
            }
            self.read(&json!({"method": method, "params": params}));
        }

        fn completed(&mut self, item: &Value) {
            self.event("item/completed", json!({"item": item, "completedAtMs": 1}));
        }

        fn read(&mut self, message: &Value) {
            let (text, mut batch) = (message.to_string(), EventBatch::default());
            self.router.handle_messages([(Incoming::scan(&text).unwrap(), &*text)], &mut batch);
            self.router.deliver(&mut batch);
            drop(self.router.take_effects());
        }

        fn restore(&mut self, status: &str, items: &[Value], same_server: bool) {
            let turn = json!({"id": "u", "status": status, "itemsView": "full", "items": items});
            let response = json!({"thread": {"turns": [turn]}}).to_string();
            let snapshot = Snapshot::all(&response).remove(0);
            self.router.restore_turn("t", "u", Some(&snapshot), same_server);
            drop(self.router.take_effects());
        }

        /// The methods of the events, with the ids of their items.
        fn events(&self) -> Vec<String> {
            let stream = open(&self.subscription);
            let mut batch = Backlog::default();
            self.subscription.with(|buffer| buffer.take_events(stream, &mut batch, &mut Some(0)));
            let describe = |event: Event<'_>| {
                let params: Value = serde_json::from_str(event.text).unwrap();
                let id = params["item"]["id"].as_str().or(params["itemId"].as_str()).unwrap_or_default();
                format!("{} {id}", event.kind.map_or("?", Kind::method)).trim_end().to_owned()
            };
            batch.uncoalesced().map(describe).collect()
        }

        fn end(&self) -> Option<End> {
            self.subscription.with(|buffer| buffer.end().cloned())
        }
    }

    fn message(id: &str, text: &str) -> Value {
        json!({"type": "agentMessage", "id": id, "text": text})
    }

    #[test]
    fn a_handle_that_joined_gets_nothing_from_before_it_joined() {
        let mut world = World::starting();
        world.respond();
        world.completed(&message("b", "two"));
        world.router.hold_turns();
        let items = [message("a", "one"), message("b", "two"), message("c", "three")];
        world.restore("inProgress", &items, true);
        let restored = ["turn/started", "item/started c", "item/agentMessage/delta c", "item/completed c"];
        assert_eq!(world.events(), [&["item/completed b"], &restored[..]].concat());
    }

    #[test]
    fn an_interrupted_turn_is_lost_if_the_server_may_have_died() {
        for (same_server, end) in [(true, ErrorKind::Closed), (false, ErrorKind::TurnLost)] {
            let mut world = World::running();
            world.router.hold_turns();
            world.restore("interrupted", &[message("a", "one")], same_server);
            let items = world.subscription.with(|buffer| buffer.ended()).unwrap().0.items.len();
            assert_eq!(items, 1);
            match world.end().unwrap() {
                End::Completed(_) => assert!(same_server),
                End::Lost(error) => assert_eq!((error.kind(), error.thread_id()), (end, Some("t"))),
            }
            assert!(!world.router.is_busy("t"));
        }
    }

    // A server that runs a turn calls every turn without an end in progress.
    #[test]
    fn a_turn_is_lost_if_the_server_shows_a_later_one() {
        let turn = |id, status| json!({"id": id, "status": status, "items": [message("a", "one")]});
        let mut running = turn("v", "inProgress");
        for status in ["inProgress", "completed"] {
            running["status"] = status.into();
            let turns = [turn("u", "inProgress"), running.clone()];
            let [first, last] = &turns;
            for shown in [
                json!({"thread": {"turns": [first, last]}}),
                json!({"thread": {"turns": []}, "initialTurnsPage": {"data": [last, first]}}),
            ] {
                for (same_server, interrupts) in [(true, false), (false, false), (true, true)] {
                    let mut world = World::running();
                    world.router.set_being_interrupted("u", interrupts);
                    world.router.hold_turns();
                    let trust = if same_server { Trust::SameServer } else { Trust::OtherServer };
                    world.router.restore_thread("t", &shown.to_string(), trust);
                    let Some(End::Lost(error)) = world.end() else { panic!("not lost: {shown}") };
                    assert_eq!(error.kind(), ErrorKind::TurnLost);
                    assert!(!world.router.is_busy("t"));
                }
            }
        }
    }

    #[test]
    fn a_later_turn_that_is_a_part_of_another_one_does_not_end_it() {
        let part = json!({"id": "v", "status": "inProgress", "rootTurnId": "u", "items": []});
        let shown = json!({"thread": {"turns": [{"id": "u", "status": "inProgress", "items": []}, part]}});
        let mut world = World::running();
        world.router.hold_turns();
        world.router.restore_thread("t", &shown.to_string(), Trust::SameServer);
        assert!(world.end().is_none() && world.router.held_turns("t").is_empty());
    }

    #[test]
    fn a_copy_of_a_turn_in_the_history_of_another_thread_means_nothing() {
        let shown = json!({"thread": {"turns": [
            {"id": "u", "status": "inProgress", "items": []},
            {"id": "v", "status": "inProgress", "items": []},
        ]}});
        let mut world = World::running();
        world.router.hold_turns();
        world.router.restore_thread("s", &shown.to_string(), Trust::SameServer);
        assert!(world.end().is_none() && world.router.held_turns("t").len() == 1);
    }

    #[test]
    fn an_end_that_waits_counts_although_the_server_shows_a_later_turn() {
        let shown = json!({"thread": {"turns": [
            {"id": "u", "status": "inProgress", "items": []},
            {"id": "v", "status": "inProgress", "items": []},
        ]}});
        let mut world = World::running();
        world.router.hold_turns();
        world.event("turn/completed", json!({"turn": {"id": "u", "status": "completed", "items": []}}));
        world.router.restore_thread("t", &shown.to_string(), Trust::ExceptInterrupted);
        assert!(matches!(world.end(), Some(End::Completed(_))));
    }

    #[test]
    fn the_silence_of_a_turn_means_nothing_until_it_is_restored() {
        let mut world = World::running();
        let may_be_silent = |world: &World| world.router.activity("u").unwrap().1;
        assert!(!may_be_silent(&world));
        world.router.hold_turns();
        assert!(may_be_silent(&world));
        world.restore("inProgress", &[], true);
        assert!(!may_be_silent(&world));
    }

    #[test]
    fn a_turn_that_the_client_interrupts_is_not_lost() {
        let mut world = World::running();
        world.router.set_being_interrupted("u", true);
        world.router.hold_turns();
        world.restore("interrupted", &[], false);
        assert!(matches!(world.end(), Some(End::Completed(_))));
    }

    #[test]
    fn a_turn_that_the_server_does_not_know_is_lost() {
        let mut world = World::running();
        world.router.hold_turns();
        world.router.restore_turn("t", "u", None, true);
        let Some(End::Lost(error)) = world.end() else { panic!("not lost") };
        assert_eq!(error.kind(), ErrorKind::TurnLost);
    }

    #[test]
    fn the_earliest_of_many_events_do_not_wait_because_the_description_has_them() {
        let mut world = World::running();
        world.router.hold_turns();
        let text = "x".repeat(MAX_WAITING_BYTES / 4);
        let items = ["a", "b", "c", "d", "e"].map(|id| message(id, &text));
        items.iter().for_each(|item| world.completed(item));
        let Some(Restore::Waiting(waiting)) =
            world.router.running_turns.get("u").and_then(|turn| turn.restore.as_deref())
        else {
            panic!("not held")
        };
        assert!(waiting.bytes() <= MAX_WAITING_BYTES && !waiting.is_empty());
        world.restore("inProgress", &items, true);
        let events = world.events();
        let completed: Vec<_> = events.iter().filter(|event| event.starts_with("item/completed")).collect();
        assert_eq!(completed, ["a", "b", "c", "d", "e"].map(|id| format!("item/completed {id}")).each_ref());
    }

    #[test]
    fn a_turn_whose_thread_is_unknown_is_not_held() {
        let mut world = World::starting();
        world.read(&json!({"method": "turn/started", "params": {"turn": {"id": "v"}}}));
        world.router.hold_turns();
        assert!(!world.router.running_turns.get("v").unwrap().is_held());
        world.read(&json!({"method": "turn/completed", "params": {"turn": {"id": "v"}}}));
        assert!(!world.router.running_turns.contains("v"));
    }

    #[test]
    fn a_start_without_a_response_gets_the_restored_turn() {
        let mut world = World::starting();
        world.router.hold_turns();
        world.restore("completed", &[message("a", "one")], true);
        world.respond();
        let item = ["item/started a", "item/agentMessage/delta a", "item/completed a"];
        assert_eq!(world.events(), [&["turn/started"], &item[..], &["turn/completed"]].concat());
        assert!(!world.router.is_busy("t"));
    }

    #[test]
    fn what_arrives_before_the_description_of_an_unknown_turn_comes_behind_it() {
        let mut world = World::starting();
        world.router.hold_turns();
        world.completed(&message("b", "two"));
        world.event("turn/completed", json!({"turn": {"id": "u", "status": "completed", "items": []}}));
        world.restore("completed", &[message("a", "one"), message("b", "two")], true);
        world.respond();
        let item = |id| {
            ["item/started", "item/agentMessage/delta", "item/completed"]
                .map(|method| format!("{method} {id}"))
        };
        let (first, second) = (item("a"), item("b"));
        let expected = std::iter::once("turn/started".to_owned()).chain(first).chain(second);
        assert_eq!(world.events(), expected.chain(["turn/completed".to_owned()]).collect::<Vec<_>>());
    }

    #[test]
    fn a_search_whose_end_is_unknown_is_given_before_the_turns_end() {
        let search = json!({"type": "webSearch", "id": "s", "query": "", "action": null});
        let done = json!({"type": "webSearch", "id": "s", "query": "q", "action": {"type": "search"}});
        for is_reported in [false, true] {
            let mut world = World::running();
            world.router.hold_turns();
            world.restore("inProgress", std::slice::from_ref(&search), true);
            if is_reported {
                world.completed(&done);
            }
            world.event("turn/completed", json!({"turn": {"id": "u", "status": "completed", "items": []}}));
            let expected = ["turn/started", "item/started s", "item/completed s", "turn/completed"];
            assert_eq!(world.events(), expected);
        }
    }

    #[test]
    fn a_message_with_a_gap_ends_although_the_description_has_another_id() {
        let mut world = World::running();
        world.router.gap_policy = GapPolicy::Live;
        world.event("item/started", json!({"item": message("m", ""), "startedAtMs": 1}));
        world.router.hold_turns();
        world.restore("inProgress", &[], true);
        world.event("item/agentMessage/delta", json!({"itemId": "m", "delta": "end"}));
        world.router.hold_turns();
        world.restore("inProgress", &[message("item-1", "from begin to end")], true);
        assert_eq!(
            world.events(),
            ["turn/started", "item/started m", "item/agentMessage/delta m", "item/completed m"]
        );
    }

    #[test]
    fn a_repeated_report_of_usage_is_given_once() {
        let mut world = World::running();
        let usage = |tokens: u8| json!({"tokenUsage": {"total": {"totalTokens": tokens}}});
        world.event("thread/tokenUsage/updated", usage(1));
        world.router.hold_turns();
        world.event("thread/tokenUsage/updated", usage(1));
        world.restore("inProgress", &[], true);
        world.event("thread/tokenUsage/updated", usage(1));
        world.event("thread/tokenUsage/updated", usage(2));
        let usage = "thread/tokenUsage/updated";
        assert_eq!(world.events(), ["turn/started", usage, usage]);
    }
}
