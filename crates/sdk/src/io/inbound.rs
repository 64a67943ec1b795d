//! Routes what was read to the router and to observers.

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

/// How many messages are routed under one lock. Between chunks, callers can lock the router.
const ROUTE_CHUNK: usize = 256;

impl Shared {
    /// Handles a batch of frames and carries out the effects. An error ends the connection.
    pub(crate) fn handle_frames(self: &Arc<Self>, frames: &[Bytes]) -> Result<(), CloseReason> {
        // The reader goes on and drops the frames, so that a full pipe does not block the server.
        if self.over.load(Ordering::Acquire) {
            return Ok(());
        }
        let redacted = self.secrets.redact(frames);
        let frames = redacted.as_deref().unwrap_or(frames);
        // Nothing waits between routing and delivering. So no other task of this thread, such as the clock, the writer or the
        // watchdog, finds undelivered events. Other threads can: a release wants none of the events, the response to a new
        // request comes in a later batch, and a close drops the batch.
        let turns = self.router().turn_count().min(frames.len());
        let mut batch = EventBatch::with_capacity(frames.len(), turns);
        let read = frames.chunks(ROUTE_CHUNK).try_for_each(|frames| self.handle_chunk(frames, &mut batch));
        self.route(|router| router.deliver(&mut batch));
        read
    }

    /// Handles one chunk of frames.
    fn handle_chunk<'a>(
        self: &Arc<Self>,
        frames: &'a [Bytes],
        batch: &mut EventBatch<'a>,
    ) -> Result<(), CloseReason> {
        // Scanning needs no lock, so callers do not wait while a long line is scanned.
        let mut messages = Vec::with_capacity(frames.len());
        let mut seen = Vec::new();
        let read = frames.iter().try_for_each(|frame| {
            messages.extend(self.scan(frame, &mut seen)?);
            Ok(())
        });
        let effects = {
            let mut router = self.router();
            router.handle_messages(messages, batch);
            router.take_effects()
        };
        // After routing, because an observer that sees the end of a turn may start the next one.
        for (thread_id, observed) in &seen {
            self.hub.publish(thread_id.as_deref(), observed);
        }
        self.apply(effects);
        read
    }

    /// Scans a frame for the router. None if it is not a message.
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
            // A wrapper can write something first. JSON that is not a message comes from another protocol.
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
