//! Relays one connection, with its faults.

use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, watch};

use super::plan::{Fault, Flow, Part, Place, Plan, Point};
use super::units::{Unit, Units};

/// One connection, as the test controls it.
#[derive(Debug, Default)]
pub(crate) struct Link {
    cut: Notify,
    swallows: AtomicBool,
}

impl Link {
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }

    pub(crate) fn swallow(&self) {
        self.swallows.store(true, Ordering::SeqCst);
    }
}

/// What the connections of a proxy share.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    /// How many faults have happened.
    pub(crate) faults: watch::Sender<usize>,
    /// How often the test has resumed stalled connections.
    pub(crate) resumed: watch::Sender<u64>,
}

/// Relays until both ends have ended, or the connection is cut.
pub(crate) async fn relay<C, S>(client: C, server: S, plan: Plan, link: Arc<Link>, common: Common)
where
    C: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (up, down): (Vec<_>, Vec<_>) =
        plan.faults.into_iter().partition(|(place, _)| place.flow == Flow::ToServer);
    let mut up = Direction::new(up, &link, &common);
    let mut down = Direction::new(down, &link, &common);
    {
        let both =
            pin!(both(up.run(&mut from_client, &mut to_server), down.run(&mut from_server, &mut to_client),));
        tokio::select! {
            () = both => {}
            () = link.cut.notified() => {}
        }
    }
    // So that what was passed on arrives. An error means that the peer has gone.
    let _ = to_client.shutdown().await;
    let _ = to_server.shutdown().await;
}

async fn both(up: impl Future<Output = io::Result<()>>, down: impl Future<Output = io::Result<()>>) {
    // A failure ends both: one of the peers has gone.
    let _ = tokio::try_join!(up, down);
}

/// One direction of a connection.
struct Direction<'a> {
    faults: Vec<(Place, Fault)>,
    link: &'a Link,
    common: &'a Common,
    passed: u64,
    /// The number and the method of the current message.
    message: u64,
    method: Option<String>,
    seen: Vec<String>,
}

impl<'a> Direction<'a> {
    fn new(faults: Vec<(Place, Fault)>, link: &'a Link, common: &'a Common) -> Self {
        Self { faults, link, common, passed: 0, message: 0, method: None, seen: Vec::new() }
    }

    async fn run(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let (mut units, mut pending, mut chunk) = (Units::default(), Vec::new(), vec![0; 64 * 1024]);
        loop {
            let read = from.read(&mut chunk).await?;
            if self.link.swallows.load(Ordering::SeqCst) {
                pending.clear();
                if read == 0 {
                    // The other end must not notice.
                    std::future::pending::<()>().await;
                }
                continue;
            }
            if read == 0 {
                let _ = self.pass(&pending, to).await?;
                return to.shutdown().await;
            }
            pending.extend_from_slice(&chunk[..read]);
            while let Some((length, unit)) = units.next(&pending) {
                let bytes: Vec<u8> = pending.drain(..length).collect();
                if self.pass_unit(&bytes, unit, to).await?.is_break() {
                    pending.clear();
                    break;
                }
            }
        }
    }

    /// Passes on a unit, with the faults around and inside it. Breaks if nothing more may pass.
    async fn pass_unit(
        &mut self,
        bytes: &[u8],
        unit: Unit,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<ControlFlow<()>> {
        let Unit::Fragment { is_first, is_last, method } = unit else { return self.pass(bytes, to).await };
        if is_first {
            self.message += 1;
            // Only the first message of a method counts.
            self.method = method.filter(|method| !self.seen.contains(method));
            self.seen.extend(self.method.clone());
            if self.happen_around(Part::Before).await.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if self.faults.iter().any(|(place, _)| self.is_here(place, Part::Inside)) {
                let (half, rest) = bytes.split_at(bytes.len() / 2);
                if self.pass(half, to).await?.is_break() || self.happen_around(Part::Inside).await.is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
                if self.pass(rest, to).await?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                return Ok(self.happen_after(is_last).await);
            }
        }
        if self.pass(bytes, to).await?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        Ok(self.happen_after(is_last).await)
    }

    async fn happen_after(&mut self, is_last: bool) -> ControlFlow<()> {
        if is_last { self.happen_around(Part::After).await } else { ControlFlow::Continue(()) }
    }

    /// Writes bytes, with the faults between them.
    async fn pass(
        &mut self,
        bytes: &[u8],
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<ControlFlow<()>> {
        let mut rest = bytes;
        loop {
            let end = self.passed + rest.len() as u64;
            let positions =
                self.faults.iter().enumerate().filter_map(|(index, (place, _))| match place.point {
                    Point::Byte(count) if count <= end => Some((count.max(self.passed), index)),
                    _ => None,
                });
            let next = positions.min();
            let count = next.map_or(rest.len(), |(position, _)| (position - self.passed) as usize);
            to.write_all(&rest[..count]).await?;
            to.flush().await?;
            self.passed += count as u64;
            rest = &rest[count..];
            let Some((_, index)) = next else { return Ok(ControlFlow::Continue(())) };
            let (_, fault) = self.faults.remove(index);
            if self.happen(fault).await.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    fn is_here(&self, place: &Place, part: Part) -> bool {
        place.part == part
            && match &place.point {
                Point::Byte(_) => false,
                Point::Message(number) => *number == self.message,
                Point::Method(method) => Some(method) == self.method.as_ref(),
            }
    }

    /// Lets the faults of this part of the current message happen.
    async fn happen_around(&mut self, part: Part) -> ControlFlow<()> {
        while let Some(index) = self.faults.iter().position(|(place, _)| self.is_here(place, part)) {
            let (_, fault) = self.faults.remove(index);
            if self.happen(fault).await.is_break() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    async fn happen(&mut self, fault: Fault) -> ControlFlow<()> {
        let mut resumed = self.common.resumed.subscribe();
        let count = || self.common.faults.send_modify(|count| *count += 1);
        match fault {
            Fault::Cut => {
                self.link.cut();
                count();
                // The other direction ends too.
                std::future::pending().await
            }
            Fault::Swallow => {
                self.link.swallow();
                count();
                ControlFlow::Break(())
            }
            Fault::Stall => {
                count();
                // The proxy ends this wait too.
                let _ = resumed.changed().await;
                ControlFlow::Continue(())
            }
            Fault::Delay(time) => {
                tokio::time::sleep(time).await;
                count();
                ControlFlow::Continue(())
            }
        }
    }
}
