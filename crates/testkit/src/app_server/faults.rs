//! Steps for servers that misbehave.

use serde_json::{Map, Value, json};

use super::chunks::{Chunks, Random};
use super::script::Script;
use super::step::{Response, Step};

/// # Faults
///
/// A position in a message is a byte offset in its line.
///
/// Over a transport ([`connect`](Self::connect), [`play_frames`](Self::play_frames)) a frame is a whole line: the
/// transport joins the pieces of a line before the client sees them. Byte-level faults need a process
/// ([`AppServer`](super::AppServer)) or streams ([`play`](Self::play)).
impl Script {
    /// Splits all further output into pieces. A pipe may join pieces if its reader is slow. To make sure that the
    /// client reads one piece separately, send it with [`raw`](Self::raw), and wait for a request of the test before
    /// the next one.
    pub fn chunked(self, chunks: Chunks) -> Self {
        self.step(Step::Cut { chunks: Some(chunks) })
    }

    /// Ends [`chunked`](Self::chunked).
    pub fn whole(self) -> Self {
        self.step(Step::Cut { chunks: None })
    }

    /// Sends a message in pieces that end at these positions.
    pub fn send_split(mut self, message: Value, at: impl IntoIterator<Item = usize>) -> Self {
        let line = line(&message);
        let mut start = 0;
        for end in at.into_iter().chain([line.len()]) {
            let end = end.clamp(start, line.len());
            self = self.raw(&line[start..end]);
            start = end;
        }
        self
    }

    /// Sends the first bytes of a message and then nothing: the server [hangs](Self::hang).
    pub fn stall(self, message: Value, bytes: usize) -> Self {
        self.raw(part(&message, bytes)).hang()
    }

    /// Sends the first bytes of a message and then exits with this code.
    pub fn exit_within(self, message: Value, bytes: usize, code: i32) -> Self {
        self.raw(part(&message, bytes)).exit(code)
    }

    /// Sends the first bytes of a message as a whole line, which is not valid JSON.
    pub fn truncate(self, message: Value, bytes: usize) -> Self {
        self.line(part(&message, bytes))
    }

    /// Sends a message with one byte replaced by one that is invalid in UTF-8.
    pub fn corrupt(self, message: Value, at: usize) -> Self {
        let mut line = line(&message);
        // Keep the line end, so that the corruption stays within one line.
        let at = at.min(line.len() - 2);
        line[at] = 0xFF;
        self.raw(line)
    }

    /// Sends a line of this many pseudo-random bytes. The same seed gives the same bytes.
    pub fn garbage(self, seed: u64, bytes: usize) -> Self {
        let mut random = Random::new(seed);
        // The first byte is invalid in UTF-8, so the line is never valid JSON.
        let garbage = std::iter::once(0xFF).chain(std::iter::repeat_with(|| random.next() as u8));
        self.line(garbage.filter(|byte| !b"\r\n".contains(byte)).take(bytes).collect::<Vec<u8>>())
    }

    /// Sends a message with a member `padding` that makes its line this long. The line may be longer if the message is.
    pub fn send_padded(self, message: Value, bytes: u64) -> Self {
        self.step(Step::SendPadded { message, bytes })
    }

    /// Writes this many bytes of text to stderr.
    pub fn flood_stderr(self, bytes: u64) -> Self {
        self.step(Step::FloodStderr { bytes })
    }

    /// Stops reading. Steps that wait for the client wait forever; other steps go on. After the last step the server
    /// stays, with or without its client.
    pub fn stop_reading(self) -> Self {
        self.step(Step::StopReading)
    }

    /// Like [`stop_reading`](Self::stop_reading); the client's writes fail too.
    pub fn close_stdin(self) -> Self {
        self.step(Step::CloseStdin)
    }

    /// Responds twice, with different results, to the request of the last [`expect`](Self::expect).
    pub fn respond_twice(self, first: Value, second: Value) -> Self {
        self.respond(first).respond(second)
    }

    /// Responds to the request of the last [`expect`](Self::expect) with neither a result nor an error.
    pub fn respond_with_nothing(self) -> Self {
        self.step(Step::Respond { to: None, response: Response::Members(Map::new()) })
    }

    /// Sends a response with an id that the client did not use.
    pub fn respond_to_unknown(self, id: impl Into<Value>, result: Value) -> Self {
        self.send(json!({"id": id.into(), "result": result}))
    }

    /// Waits for a request of each of these methods, and then responds to all, the last one first.
    pub fn respond_in_reverse<'a>(mut self, responses: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let responses: Vec<_> = responses.into_iter().collect();
        let name = |place: usize| format!("in reverse: {place}");
        for (place, (method, _)) in responses.iter().enumerate() {
            self = self.expect_as(name(place), *method);
        }
        for (place, (_, result)) in responses.into_iter().enumerate().rev() {
            self = self.respond_to(name(place), Response::Result(result));
        }
        self
    }
}

fn line(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}

/// The first bytes of a message, without its line end.
fn part(message: &Value, bytes: usize) -> Vec<u8> {
    let mut text = message.to_string().into_bytes();
    text.truncate(bytes);
    text
}
