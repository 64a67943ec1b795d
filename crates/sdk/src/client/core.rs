//! What both clients and all their handles share: the configuration and the current session.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openai_codex_protocol::types::InitializeResponse;

use super::Session;
use crate::connection::observers::Hub;
use crate::transport::Transport;
use crate::{CodexConfig, Error, ErrorKind, Result};

/// A client, started or not.
pub(crate) struct Core {
    config: CodexConfig,
    pub(crate) hub: Arc<Hub>,
    link: Mutex<Link>,
    /// Held while a session is being started, so that concurrent first calls start one.
    starting: tokio::sync::Mutex<()>,
}

/// Short: handles hold it, and what is inside is nobody's business.
impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("config", &self.config).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Link {
    /// Not started. A transport, if the client was given one.
    Idle(Option<Transport>),
    Up(Arc<Session>),
    /// Closed by the user; with the session that is or was being ended.
    Closed(Option<Arc<Session>>),
}

impl Core {
    pub(crate) fn new(config: CodexConfig, transport: Option<Transport>) -> Arc<Self> {
        Arc::new(Self {
            config,
            hub: Arc::default(),
            link: Mutex::new(Link::Idle(transport)),
            starting: tokio::sync::Mutex::default(),
        })
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Result<Option<Arc<Session>>> {
        match &*self.link() {
            Link::Idle(_) => Ok(None),
            Link::Up(session) => Ok(Some(session.clone())),
            Link::Closed(_) => Err(Error::new(ErrorKind::Closed, "the client was closed; make a new one")),
        }
    }

    /// The session; the first call starts it. A failed start leaves the client as it was.
    pub(crate) async fn session(&self) -> Result<Arc<Session>> {
        if let Some(session) = self.current()? {
            return Ok(session);
        }
        let _starting = self.starting.lock().await;
        if let Some(session) = self.current()? {
            return Ok(session);
        }
        let transport = match &mut *self.link() {
            Link::Idle(transport) => transport.take(),
            Link::Up(_) | Link::Closed(_) => None,
        };
        let session = Arc::new(Session::start(&self.config, transport, self.hub.clone()).await?);
        let mut link = self.link();
        match &mut *link {
            Link::Closed(closed) => {
                session.connection.close();
                *closed = Some(session);
                Err(Error::new(ErrorKind::Closed, "the client was closed while it was being started"))
            }
            Link::Idle(_) | Link::Up(_) => {
                *link = Link::Up(session.clone());
                Ok(session)
            }
        }
    }

    pub(crate) fn metadata(&self) -> Option<Arc<InitializeResponse>> {
        match &*self.link() {
            Link::Up(session) | Link::Closed(Some(session)) => Some(session.metadata.clone()),
            Link::Idle(_) | Link::Closed(None) => None,
        }
    }

    /// Ends the client and waits until its runtime is gone.
    pub(crate) async fn close(&self) -> Result<()> {
        {
            let mut link = self.link();
            let session = match &*link {
                Link::Idle(_) => None,
                Link::Up(session) => Some(session.clone()),
                Link::Closed(session) => session.clone(),
            };
            *link = Link::Closed(session);
        }
        self.hub.end(None);
        // A start under way finds the client closed and ends what it has started.
        drop(self.starting.lock().await);
        let ended = match &*self.link() {
            Link::Closed(Some(session)) => {
                session.connection.close();
                session.connection.ended()
            }
            _ => return Ok(()),
        };
        match ended.await.reaped {
            true => Ok(()),
            false => {
                Err(Error::new(ErrorKind::TransportClosed, "the runtime was killed but could not be reaped"))
            }
        }
    }
}
