//! Compares the queue of events with a plain list.

use std::collections::VecDeque;

use crate::connection::event::{Event, EventQueue};

/// An operation on a queue.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// An event of about this size, and whether it is a sub-agent's.
    Push(usize, bool),
    Pop {
        with_children: bool,
    },
}

/// Runs the operations on a queue and on a list.
pub(crate) fn event_queue(steps: &[Step]) {
    let mut queue = EventQueue::default();
    let mut list = VecDeque::new();
    let mut names = 0..;
    let mut frame = |size: usize| {
        let name = format!("m{}", names.next().unwrap_or(0));
        (format!(r#"{{"method":"{name}","params":"{}"}}"#, "x".repeat(size)), name)
    };
    for step in steps {
        match step {
            Step::Push(size, of_child) => push(&mut queue, &mut list, frame(*size), *of_child),
            Step::Pop { with_children } => {
                let popped =
                    queue.pop(*with_children, |event| event.decode()).map(|event| event.method().to_owned());
                while list.front().is_some_and(|(_, _, of_child)| *of_child && !with_children) {
                    list.pop_front();
                }
                assert_eq!(popped, list.pop_front().map(|(_, name, _)| name));
            }
        }
        assert_eq!(queue.is_empty(), list.is_empty());
        let listed = list.iter().map(|(frame, _, of_child)| (frame.as_str(), *of_child));
        assert!(queue.iter().map(|event| (event.text, event.of_child)).eq(listed));
    }
}

fn push(
    queue: &mut EventQueue,
    list: &mut VecDeque<(String, String, bool)>,
    (frame, name): (String, String),
    of_child: bool,
) {
    queue.push(Event { kind: None, text: &frame, of_child });
    list.push_back((frame, name, of_child));
}
