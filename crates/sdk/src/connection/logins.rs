//! The logins that have not ended, and the handles that wait for each.
//!
//! The end of a login is a notification of the whole connection. It can arrive before the response that holds the login's
//! id. So the router registers a login before its request is written, and keeps early ends until the response arrives.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::connection::effect::Response;
use crate::connection::event::{Event, OwnedEvent};
use crate::connection::host::LoginToken;
use crate::json_scan::text_member;

/// How many early ends are kept, the latest ones. Each login has one, and few logins start at once.
const MAX_EARLY_ENDS: usize = 64;

/// `L` is the host's token that gets the end of a login.
#[derive(Debug)]
pub(crate) struct Logins<L> {
    /// The logins without a response, by the id of the request.
    starting: Vec<(i64, L)>,
    /// Ends that may belong to one of `starting`, by the id of the login.
    early: VecDeque<(String, OwnedEvent)>,
    /// The logins that wait for a person, by the id of the login.
    running: Vec<(String, L)>,
}

impl<L> Default for Logins<L> {
    fn default() -> Self {
        Self { starting: Vec::new(), early: VecDeque::new(), running: Vec::new() }
    }
}

impl<L: LoginToken> Logins<L> {
    /// Registers a login before its request is written.
    pub(crate) fn register(&mut self, request: i64, login: L) {
        self.running.retain(|(_, login)| !login.is_abandoned());
        self.starting.push((request, login));
    }

    /// Notes the response to a request. Ignores requests that are not logins. Returns a login that has ended already.
    pub(crate) fn handle_response(&mut self, request: i64, response: &Response) -> Option<(L, OwnedEvent)> {
        let login = self.take(request)?;
        let mut ended = None;
        if let Some(login_id) = response.as_deref().ok().and_then(login_id) {
            match self.early.iter().position(|(early, _)| *early == login_id) {
                Some(index) => ended = self.early.remove(index).map(|(_, end)| (login, end)),
                None => self.running.push((login_id, login)),
            }
        }
        self.drop_unclaimed_ends();
        ended
    }

    fn take(&mut self, request: i64) -> Option<L> {
        let index = self.starting.iter().position(|(id, _)| *id == request)?;
        Some(self.starting.swap_remove(index).1)
    }

    /// Notes that no call waits for the response any more.
    pub(crate) fn cancel(&mut self, request: i64) {
        if self.take(request).is_some() {
            self.drop_unclaimed_ends();
        }
    }

    /// Handles the end of a login, and returns the login. An API key's login has no id: its response has ended it already.
    pub(crate) fn handle_completed(&mut self, event: Event<'_>) -> Option<L> {
        let login_id = login_id(event.text)?;
        if let Some(index) = self.running.iter().position(|(running, _)| *running == login_id) {
            return Some(self.running.swap_remove(index).1);
        }
        if !self.starting.is_empty() {
            if self.early.len() == MAX_EARLY_ENDS {
                self.early.pop_front();
            }
            self.early.push_back((login_id, event.to_owned()));
        }
        None
    }

    /// Removes and returns all logins, because the connection has ended.
    pub(crate) fn end(&mut self) -> impl Iterator<Item = L> {
        self.early.clear();
        let starting = self.starting.drain(..).map(|(_, login)| login);
        starting.chain(self.running.drain(..).map(|(_, login)| login))
    }

    /// Drops the early ends if no login waits for its response.
    fn drop_unclaimed_ends(&mut self) {
        if self.starting.is_empty() {
            self.early.clear();
        }
    }
}

/// The id of the login in a response or a notification.
fn login_id(text: &str) -> Option<String> {
    text_member(text, "loginId").map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use openai_codex_protocol::Notification;

    /// A login by its name. Its handles have gone if the name is empty.
    impl LoginToken for &'static str {
        fn is_abandoned(&self) -> bool {
            self.is_empty()
        }
    }

    type Ended = Option<(&'static str, String)>;

    fn respond(logins: &mut Logins<&'static str>, request: i64, login_id: &str) -> Ended {
        let response = Ok(format!(r#"{{"type":"chatgpt","authUrl":"u","loginId":"{login_id}"}}"#));
        let (login, end) = logins.handle_response(request, &response)?;
        match end.decode() {
            Notification::AccountLoginCompleted(end) => Some((login, end.login_id.unwrap())),
            other => panic!("{other:?}"),
        }
    }

    fn complete(logins: &mut Logins<&'static str>, login_id: &str) -> Option<&'static str> {
        let params = format!(r#"{{"loginId":"{login_id}","success":true}}"#);
        logins.handle_completed(Event::of("account/login/completed", Some(&params), ""))
    }

    #[test]
    fn each_login_gets_its_own_end_in_any_order() {
        let mut logins = Logins::default();
        for (request, login) in [(1, "first"), (2, "second"), (3, "third")] {
            logins.register(request, login);
        }
        assert_eq!(respond(&mut logins, 1, "a"), None);
        for login_id in ["c", "b", "unknown"] {
            assert_eq!(
                complete(&mut logins, login_id),
                None,
                "{login_id} may belong to a login without a response"
            );
        }
        assert_eq!(respond(&mut logins, 3, "c"), Some(("third", "c".to_owned())));
        assert_eq!(respond(&mut logins, 2, "b"), Some(("second", "b".to_owned())));
        assert_eq!(logins.early.len(), 0);
        assert_eq!(complete(&mut logins, "a"), Some("first"));
        assert!(logins.running.is_empty());
    }

    #[test]
    fn ends_without_a_waiting_login_are_dropped() {
        let mut logins = Logins::default();
        complete(&mut logins, "early");
        assert!(logins.early.is_empty(), "no login is starting");
        logins.register(1, "cancelled");
        for n in 0..2 * MAX_EARLY_ENDS {
            complete(&mut logins, &n.to_string());
        }
        assert_eq!(logins.early.len(), MAX_EARLY_ENDS);
        logins.cancel(1);
        assert!(logins.early.is_empty() && logins.starting.is_empty());
        for request in 2..10 {
            logins.register(request, "");
            respond(&mut logins, request, "abandoned");
        }
        assert_eq!(logins.running.len(), 1);
    }

    #[test]
    fn a_refused_login_is_removed_and_a_lost_connection_ends_the_others() {
        let mut logins = Logins::default();
        logins.register(1, "refused");
        let error = Error::new(ErrorKind::Closed, "closed");
        assert!(logins.handle_response(1, &Err(error)).is_none());
        logins.register(2, "starting");
        logins.register(3, "running");
        respond(&mut logins, 3, "a");
        assert_eq!(logins.end().collect::<Vec<_>>(), ["starting", "running"]);
        assert_eq!(logins.end().count(), 0);
    }

    #[test]
    fn unusable_ids_end_no_login() {
        let mut logins = Logins::default();
        logins.register(1, "login");
        respond(&mut logins, 1, "a");
        for params in [r#"{"loginId":null,"success":true}"#, r#"{"loginId":7}"#, "[]", "null"] {
            let event = Event::of("account/login/completed", Some(params), "");
            assert_eq!(logins.handle_completed(event), None, "{params}");
        }
    }
}
