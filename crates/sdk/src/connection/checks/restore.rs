//! Runs a turn on a simple server, over connections that are cut, and checks what a subscription gets of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::connection::backlog::Backlog;
use crate::connection::checks::router::{Subscription, TestHost, open, unlimited};
use crate::connection::envelope::Incoming;
use crate::connection::event::EventBatch;
use crate::connection::host::SharedBuffer;
use crate::connection::intent::{Intent, Joins};
use crate::connection::on_loss::OnLoss;
use crate::connection::request_window::Slot;
use crate::connection::restoring::HeldTurn;
use crate::connection::router::Router;
use crate::connection::snapshot::Snapshot;
use crate::connection::turn_buffer::{End, TurnBuffer};
use crate::connection::waiter::Waiter;
use crate::options::gap_policy::GapPolicy;

const THREAD: &str = "t";
const TURN: &str = "u";
/// Few texts, so that items repeat each other.
const PIECES: [&str; 4] = ["ab", "ab\n", "é\"", "x"];

/// What the choices of a run mean.
#[derive(Clone, Copy)]
struct Choices {
    /// The snapshots of a running turn have made-up ids.
    made_up_ids: bool,
    policy: GapPolicy,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    User,
    Message,
    Reasoning,
    Command,
}

struct Item {
    kind: Kind,
    id: String,
    texts: Vec<String>,
    is_completed: bool,
}

impl Item {
    fn json(&self, id: &str) -> Value {
        let status = if self.is_completed { "completed" } else { "inProgress" };
        match self.kind {
            Kind::User => json!({"type": "userMessage", "id": id, "clientId": self.id, "content": []}),
            Kind::Message => json!({"type": "agentMessage", "id": id, "text": self.texts.concat()}),
            Kind::Reasoning => json!({"type": "reasoning", "id": id, "summary": self.texts, "content": []}),
            Kind::Command => {
                let output = self.is_completed.then(|| self.texts.concat());
                json!({"type": "commandExecution", "id": id, "status": status, "aggregatedOutput": output})
            }
        }
    }
}

enum Link {
    Up,
    Down,
    /// The client is subscribed again, and its `thread/resume` has no response yet. The response describes the turn as it was then,
    /// or as it is when the response is sent.
    Resuming(Option<String>),
}

struct World {
    choices: Choices,
    items: Vec<Item>,
    /// The indices of the items in the order of their ends.
    completed: Vec<usize>,
    is_over: bool,
    link: Link,
    /// What the server has sent and the client has not read.
    unread: Vec<String>,
    router: Router<TestHost>,
    subscription: Arc<Subscription>,
}

/// Any bytes as choices and operations.
pub(crate) fn restore(data: &[u8]) {
    if let Some((choices, ops)) = data.split_first() {
        run(ops.as_chunks().0, *choices);
    }
}

/// Runs operations of two bytes each.
pub(crate) fn run(ops: &[[u8; 2]], choices: u8) {
    let policy = if choices & 2 == 0 { GapPolicy::Repair } else { GapPolicy::Live };
    let mut world = World::new(Choices { made_up_ids: choices & 1 == 1, policy });
    ops.iter().for_each(|op| world.step(*op));
    world.finish();
    world.check();
}

impl World {
    fn new(choices: Choices) -> Self {
        let buffer = TurnBuffer::new(true, &unlimited()).into();
        #[expect(clippy::arc_with_non_send_sync, reason = "all of it is on one thread")]
        let subscription = Arc::new(Subscription { thread_id: THREAD.into(), buffer });
        let mut router = Router::new(OnLoss::End, false);
        router.prepare_restoring(choices.policy);
        let intent =
            Intent::StartTurn { subscription: subscription.clone(), joins: Joins::Any, transport: 0 };
        let id = router.register(Waiter::new(0, "turn/start", Some(THREAD)), intent).unwrap();
        router.admit(id, Slot::Usual, &bytes::Bytes::new());
        let mut world = Self {
            choices,
            items: Vec::new(),
            completed: Vec::new(),
            is_over: false,
            link: Link::Up,
            unread: Vec::new(),
            router,
            subscription,
        };
        world.unread.push(json!({"id": id, "result": {"turn": {"id": TURN}}}).to_string());
        world.read();
        world.emit("turn/started", json!({"turn": {"id": TURN, "items": [], "status": "inProgress"}}));
        world
    }

    fn step(&mut self, [op, choice]: [u8; 2]) {
        match op % 16 {
            0..=6 => self.advance(choice),
            7..=9 => self.add_piece(choice),
            10 => self.read(),
            11 => self
                .emit("thread/tokenUsage/updated", json!({"turnId": TURN, "tokenUsage": {"n": choice % 2}})),
            12 | 13 => self.cut(choice),
            14 => self.reconnect(choice),
            _ => self.answer(),
        }
    }

    fn is_open(&self, command: bool) -> Option<usize> {
        self.items.iter().position(|item| !item.is_completed && (item.kind == Kind::Command) == command)
    }

    /// The server begins an item, or completes one. At most one text and one command are open at once.
    fn advance(&mut self, choice: u8) {
        if self.is_over || self.items.len() > 12 {
            return;
        }
        let kind = match choice % 8 {
            0 => Kind::User,
            1..=3 => Kind::Message,
            4 | 5 => Kind::Reasoning,
            _ => Kind::Command,
        };
        if let Some(index) = self.is_open(kind == Kind::Command) {
            return self.complete(index);
        }
        let id = match kind {
            Kind::User => format!("uuid-{}", self.items.len()),
            Kind::Message => format!("msg_{}", self.items.len()),
            Kind::Reasoning => format!("rs_{}", self.items.len()),
            Kind::Command => format!("call_{}", self.items.len()),
        };
        let item = Item { kind, id, texts: Vec::new(), is_completed: false };
        let params = json!({"turnId": TURN, "item": item.json(&item.id), "startedAtMs": 1});
        self.items.push(item);
        self.emit("item/started", params);
        if kind == Kind::User {
            self.complete(self.items.len() - 1);
        }
    }

    fn complete(&mut self, index: usize) {
        self.items[index].is_completed = true;
        self.completed.push(index);
        let item = &self.items[index];
        let params = json!({"turnId": TURN, "item": item.json(&item.id), "completedAtMs": 2});
        self.emit("item/completed", params);
    }

    /// The server sends a piece of the text of an open item.
    fn add_piece(&mut self, choice: u8) {
        let Some(index) = self.is_open(choice & 4 == 4) else { return };
        if self.is_over {
            return;
        }
        let piece = PIECES[usize::from(choice) % PIECES.len()];
        let item = &mut self.items[index];
        let id = item.id.clone();
        let method = match item.kind {
            Kind::User => return,
            Kind::Message => "item/agentMessage/delta",
            Kind::Reasoning => "item/reasoning/summaryTextDelta",
            Kind::Command => "item/commandExecution/outputDelta",
        };
        let mut params = json!({"turnId": TURN, "itemId": id, "delta": piece});
        let begins = item.texts.is_empty() || (item.kind == Kind::Reasoning && choice & 8 == 8);
        if begins {
            item.texts.push(String::new());
        }
        let last = item.texts.len() - 1;
        item.texts[last].push_str(piece);
        if item.kind == Kind::Reasoning {
            params["summaryIndex"] = last.into();
            if begins {
                let part = json!({"turnId": TURN, "itemId": id, "summaryIndex": last});
                self.emit("item/reasoning/summaryPartAdded", part);
            }
        }
        self.emit(method, params);
    }

    fn emit(&mut self, method: &str, mut params: Value) {
        params["threadId"] = THREAD.into();
        if !matches!(self.link, Link::Down) {
            self.unread.push(json!({"method": method, "params": params}).to_string());
        }
    }

    fn read(&mut self) {
        let frames = std::mem::take(&mut self.unread);
        let mut batch = EventBatch::default();
        for frame in &frames {
            self.router.handle_messages([(Incoming::scan(frame).unwrap(), frame.as_str())], &mut batch);
        }
        self.router.deliver(&mut batch);
        drop(self.router.take_effects());
    }

    /// The connection is lost, with what the client has not read, or after it.
    fn cut(&mut self, choice: u8) {
        if matches!(self.link, Link::Down) {
            return;
        }
        self.unread.truncate(usize::from(choice) % (self.unread.len() + 1));
        self.read();
        self.link = Link::Down;
        let held = self.router.hold_turns();
        let expected = HeldTurn { thread_id: THREAD.into(), turn_id: TURN.into() };
        let is_over = self.subscription.with(|buffer| buffer.end().is_some());
        assert_eq!(held, if is_over { vec![] } else { vec![expected] });
    }

    fn reconnect(&mut self, choice: u8) {
        if matches!(self.link, Link::Down) {
            // With other ids, an item that ends meanwhile must be in the description: the client resumes twice.
            let at_once = choice & 1 == 1 && !self.choices.made_up_ids;
            self.link = Link::Resuming(at_once.then(|| self.description()));
        }
    }

    /// The client gets the response to its `thread/resume`.
    fn answer(&mut self) {
        let description = match &mut self.link {
            Link::Resuming(described) => described.take(),
            _ => return,
        };
        let description = description.unwrap_or_else(|| self.description());
        self.read();
        self.link = Link::Up;
        let snapshot = Snapshot::all(&description).pop();
        self.router.restore_turn(THREAD, TURN, snapshot.as_ref(), true);
        drop(self.router.take_effects());
    }

    /// The response to `thread/resume`.
    fn description(&self) -> String {
        let shown = self.items.iter().filter(|item| item.is_completed || item.kind == Kind::Command);
        let items: Vec<_> = shown
            .enumerate()
            .map(|(number, item)| {
                let keeps_id = self.is_over || !self.choices.made_up_ids || item.kind == Kind::Command;
                item.json(&if keeps_id { item.id.clone() } else { format!("item-{}", number + 1) })
            })
            .collect();
        let status = if self.is_over { "completed" } else { "inProgress" };
        let turn = json!({"id": TURN, "items": items, "itemsView": "full", "status": status});
        json!({"thread": {"id": THREAD, "turns": [turn]}}).to_string()
    }

    /// The turn ends, and the client is connected at last.
    fn finish(&mut self) {
        while let Some(index) = self.items.iter().position(|item| !item.is_completed) {
            self.complete(index);
        }
        self.is_over = true;
        self.emit("turn/completed", json!({"turn": {"id": TURN, "items": [], "status": "completed"}}));
        self.reconnect(0);
        self.answer();
        self.read();
    }

    fn check(&mut self) {
        let stream = open(&self.subscription);
        let mut batch = Backlog::default();
        self.subscription.with(|buffer| buffer.take_events(stream, &mut batch, &mut Some(0)));
        let events: Vec<(&str, Value)> = batch
            .uncoalesced()
            .map(|event| (event.kind.unwrap().method(), serde_json::from_str(event.text).unwrap()))
            .collect();
        let places = |method: &str| events.iter().filter(|(known, _)| *known == method).count();
        assert_eq!((places("turn/started"), places("turn/completed")), (1, 1), "{events:#?}");
        assert_eq!(events[0].0, "turn/started");
        assert_eq!(events.last().unwrap().0, "turn/completed");
        let (digest, end) = self.subscription.with(|buffer| buffer.ended()).unwrap();
        assert!(matches!(end, End::Completed(_)));
        let completed: Vec<Value> = digest
            .items
            .iter()
            .map(|item| serde_json::from_str::<Value>(item.borrow().text).unwrap()["item"].take())
            .collect();
        // Without the ids, which the snapshots make up. Commands run beside the other items.
        for commands in [false, true] {
            let of_kind = |item: &&Value| (item["type"] == "commandExecution") == commands;
            let given: Vec<Value> =
                completed.iter().filter(of_kind).map(|item| without_id(item.clone())).collect();
            let expected = self.completed.iter().map(|index| self.items[*index].json(""));
            let mut expected: Vec<Value> = expected.map(without_id).collect();
            expected.retain(|item| of_kind(&item));
            assert_eq!(given, expected, "{events:#?}");
        }
        let mut by_id: BTreeMap<&str, Vec<&(&str, Value)>> = BTreeMap::new();
        for event in &events {
            let id = event.1["itemId"].as_str().or(event.1["item"]["id"].as_str());
            id.into_iter().for_each(|id| by_id.entry(id).or_default().push(event));
        }
        for (id, events) in by_id {
            let methods: Vec<&str> = events.iter().map(|(method, _)| *method).collect();
            let is = |wanted: &str| methods.iter().filter(|method| **method == wanted).count();
            assert_eq!((is("item/started"), is("item/completed")), (1, 1), "{id}: {events:#?}");
            assert_eq!((methods[0], *methods.last().unwrap()), ("item/started", "item/completed"), "{id}");
            self.check_texts(&events);
        }
    }

    /// Whether the deltas of an item are its texts.
    fn check_texts(&self, events: &[&(&str, Value)]) {
        let item = &events.last().unwrap().1["item"];
        let expected = match item["type"].as_str().unwrap() {
            "agentMessage" => vec![item["text"].as_str().unwrap()],
            "reasoning" => {
                item["summary"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
            }
            "commandExecution" => vec![item["aggregatedOutput"].as_str().unwrap()],
            _ => return,
        };
        let mut texts = vec![String::new(); expected.len()];
        let mut has_gap = false;
        for (method, params) in events {
            if *method == "item/reasoning/summaryPartAdded" {
                let index = usize::try_from(params["summaryIndex"].as_u64().unwrap()).unwrap();
                assert!(texts[index].is_empty(), "a part begins late: {events:#?}");
            }
            has_gap |= params["gap"] == true;
            if let Some(piece) = params["delta"].as_str() {
                let index = usize::try_from(params["summaryIndex"].as_u64().unwrap_or(0)).unwrap();
                texts[index].push_str(piece);
            }
        }
        assert!(!has_gap || self.choices.policy == GapPolicy::Live);
        assert!(has_gap || texts == expected, "{texts:?}: {events:#?}");
    }
}

fn without_id(mut item: Value) -> Value {
    item.as_object_mut().unwrap().remove("id");
    item
}
