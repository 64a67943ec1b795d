//! Plays scripts over the SDK's transports.

use std::collections::VecDeque;
use std::io;

use bytes::{Bytes, BytesMut};
use openai_codex::transport::{FrameReader, FrameWriter, ReadState, Transport};

use super::port::Port;

/// A transport. It cuts the script's bytes into frames at line ends.
pub(crate) struct Frames {
    /// `None` after `close_input`.
    reader: Option<Box<dyn FrameReader>>,
    /// `None` after `close`.
    writer: Option<Box<dyn FrameWriter>>,
    received: VecDeque<Bytes>,
    /// The start of a frame whose line end is still missing.
    half: BytesMut,
    pub(crate) stderr: String,
}

impl Frames {
    pub(crate) fn new(transport: Transport) -> Self {
        let (reader, writer) = transport.into_halves();
        let (received, half, stderr) = Default::default();
        Self { reader: Some(reader), writer: Some(writer), received, half, stderr }
    }

    /// Cuts at line ends. Like an empty line, empty input makes no frame.
    fn cut(&mut self, mut bytes: Bytes) -> Vec<Bytes> {
        let mut frames = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let mut frame = bytes.split_to(end);
            let _ = bytes.split_to(1);
            if !self.half.is_empty() {
                self.half.extend_from_slice(&frame);
                frame = self.half.split().freeze();
            }
            if !frame.is_empty() {
                frames.push(frame);
            }
        }
        self.half.extend_from_slice(&bytes);
        frames
    }
}

impl Port for Frames {
    async fn receive(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(frame) = self.received.pop_front() {
                return Ok(Some(frame));
            }
            let mut frames = Vec::new();
            let Some(reader) = &mut self.reader else { return Ok(None) };
            if reader.read(&mut frames).await? == ReadState::Ended {
                return Ok(None);
            }
            self.received.extend(frames);
        }
    }

    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        let frames = self.cut(bytes);
        match &mut self.writer {
            Some(writer) if !frames.is_empty() => writer.write(&frames).await,
            _ => Ok(()),
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        // The end of the stream also ends a line.
        let half = self.half.split().freeze();
        match self.writer.take() {
            Some(mut writer) if !half.is_empty() => match writer.write(&[half]).await {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                other => other,
            },
            _ => Ok(()),
        }
    }

    fn close_input(&mut self) -> io::Result<()> {
        self.reader = None;
        Ok(())
    }

    fn log(&mut self, text: &str) {
        self.stderr.push_str(text);
    }
}
