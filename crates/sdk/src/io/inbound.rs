//! What was read, on its way to the state of the connection and to observers.

use std::str::from_utf8;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::connection::envelope::{Incoming, Outcome};
use crate::connection::event_batch::EventBatch;
use crate::connection::frame_queue::Event;
use crate::io::diagnosis::CloseReason;
use crate::io::observers::Observed;
use crate::io::preamble::excerpt;
use crate::io::shared::Shared;
use crate::trace;

/// How many messages are routed at once. Callers then have a chance to get at the router.
const ROUTE_CHUNK: usize = 256;

impl Shared {
    /// Takes in what was read at once, and then does what it led to. An error ends the connection.
    pub(crate) fn receive(self: &Arc<Self>, frames: &[Bytes]) -> Result<(), CloseReason> {
        // It is read all the same, so that the server is not held up by a full pipe.
        if self.over.load(Ordering::Acquire) {
            return Ok(());
        }
        let clean = self.secrets.redact(frames);
        let frames = clean.as_deref().unwrap_or(frames);
        // There is no wait between routing and delivering: what else runs on this thread, the clock, the writer and the
        // watchdog, never meets the router with events staged. Other threads may: a release wants none of the events, a
        // new request is answered in a later batch, and a close gives up what is staged.
        let turns = self.router().turn_count().min(frames.len());
        let mut batch = EventBatch::with_capacity(frames.len(), turns);
        let read = frames.chunks(ROUTE_CHUNK).try_for_each(|frames| self.take(frames, &mut batch));
        self.route(|router, effects| router.deliver(&mut batch, effects));
        read
    }

    /// Takes in some of what was read.
    fn take<'a>(
        self: &Arc<Self>,
        frames: &'a [Bytes],
        batch: &mut EventBatch<'a>,
    ) -> Result<(), CloseReason> {
        // Reading needs no lock: callers never wait for a long line to be scanned.
        let mut messages = Vec::with_capacity(frames.len());
        let mut seen = Vec::new();
        let read = frames.iter().try_for_each(|frame| {
            messages.extend(self.scan(frame, &mut seen)?);
            Ok(())
        });
        let mut effects = Vec::new();
        self.router().handle_messages(messages, batch, &mut effects);
        // Only now: whoever sees that a turn has ended may start the next.
        for (thread_id, observed) in &seen {
            self.hub.publish(thread_id.as_deref(), observed);
        }
        self.apply(&mut effects);
        read
    }

    /// A frame as the router takes it, if it is a message at all.
    fn scan<'a>(
        &self,
        frame: &'a [u8],
        seen: &mut Vec<(Option<Box<str>>, Observed)>,
    ) -> Result<Option<(Incoming<'a>, &'a str)>, CloseReason> {
        let text = from_utf8(frame).map_err(|error| format!("not UTF-8: {error}"));
        let scanned = text.and_then(|text| Incoming::scan(text).map(|incoming| (incoming, text)));
        let greeted = self.greeted.load(Ordering::Acquire);
        match scanned {
            Ok((Incoming::Request { .. } | Incoming::Response { outcome: Outcome::Missing, .. }, _))
                if !greeted =>
            {
                Err(CloseReason::NotCodex(excerpt(frame)))
            }
            // A wrapper may say something first. What is JSON comes from a program that speaks another protocol.
            Err(_) if !greeted && (is_json(frame) || !self.preamble.skip(frame)) => {
                Err(CloseReason::NotCodex(excerpt(frame)))
            }
            Ok((incoming, text)) => {
                if !greeted && matches!(incoming, Incoming::Response { outcome: Outcome::Result(_), .. }) {
                    self.greeted.store(true, Ordering::Release);
                }
                if self.hub.is_watched()
                    && let Incoming::Notification { method, params, route } = &incoming
                {
                    let event = Event::of(method, *params, text).to_owned();
                    seen.push((route.thread_id.as_deref().map(Box::from), Observed::Notification(event)));
                }
                Ok(Some((incoming, text)))
            }
            Err(reason) => {
                trace::malformed();
                seen.push((None, Observed::Malformed { line: excerpt(frame), reason }));
                Ok(None)
            }
        }
    }
}

fn is_json(frame: &[u8]) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(&String::from_utf8_lossy(frame)).is_ok()
}
