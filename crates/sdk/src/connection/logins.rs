//! The logins that have not ended, and the handles that wait for each.
//!
//! The end of a login is a notification of the whole connection. It can arrive before the response that holds the login's
//! id. So the router registers a login before its request is written, and keeps early ends until the response arrives.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::connection::effect::{Effect, LoginSender, Response};
use crate::connection::frame_queue::{Event, OwnedEvent};
use crate::error::Error;
use crate::json_scan::text_member;

/// How many early ends are kept, the latest ones. Each login has one, and few logins start index once.
const MAX_EARLY_ENDS: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Logins {
    /// The logins without a response, by the id of the request.
    starting: Vec<(i64, LoginSender)>,
    /// Ends that may belong to one of `starting`, by the id of the login.
    early: VecDeque<(String, OwnedEvent)>,
    /// The logins that wait for a person, by the id of the login.
    running: Vec<(String, LoginSender)>,
}

impl Logins {
    /// Registers a login before its request is written.
    pub(crate) fn register(&mut self, request: i64, sender: LoginSender) {
        // Drops the logins whose handles have all gone.
        self.running.retain(|(_, sender)| !sender.is_closed());
        self.starting.push((request, sender));
    }

    /// Notes the response to a request. Ignores requests that are not logins.
    pub(crate) fn handle_response(&mut self, request: i64, response: &Response, effects: &mut Vec<Effect>) {
        let Some(sender) = self.take(request) else { return };
        if let Some(login_id) = response.as_deref().ok().and_then(login_id) {
            match self.early.iter().position(|(early, _)| *early == login_id) {
                Some(index) => {
                    let end = self.early.remove(index).map(|(_, end)| end);
                    effects.extend(end.map(|end| Effect::EndLogin(sender, Ok(end))));
                }
                None => self.running.push((login_id, sender)),
            }
        }
        self.drop_unclaimed_ends();
    }

    fn take(&mut self, request: i64) -> Option<LoginSender> {
        let index = self.starting.iter().position(|(id, _)| *id == request)?;
        Some(self.starting.swap_remove(index).1)
    }

    /// Notes that no call waits for the response any more.
    pub(crate) fn cancel(&mut self, request: i64) {
        if self.take(request).is_some() {
            self.drop_unclaimed_ends();
        }
    }

    /// Handles the end of a login. An API key's login has no id: its response has ended it already.
    pub(crate) fn handle_completed(&mut self, event: Event<'_>, effects: &mut Vec<Effect>) {
        let Some(login_id) = login_id(event.text) else { return };
        if let Some(index) = self.running.iter().position(|(running, _)| *running == login_id) {
            let (_, sender) = self.running.swap_remove(index);
            effects.push(Effect::EndLogin(sender, Ok(event.to_owned())));
        } else if !self.starting.is_empty() {
            if self.early.len() == MAX_EARLY_ENDS {
                self.early.pop_front();
            }
            self.early.push_back((login_id, event.to_owned()));
        }
    }

    /// Ends all logins, because the connection has ended.
    pub(crate) fn fail(&mut self, error: &Error, effects: &mut Vec<Effect>) {
        for (_, sender) in self.starting.drain(..) {
            effects.push(Effect::EndLogin(sender, Err(error.clone())));
        }
        for (_, sender) in self.running.drain(..) {
            effects.push(Effect::EndLogin(sender, Err(error.clone())));
        }
        self.early.clear();
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
    use crate::connection::effect::LoginEnd;
    use crate::error::ErrorKind;
    use openai_codex_protocol::Notification;
    use tokio::sync::watch;

    type Ended = watch::Receiver<Option<LoginEnd>>;

    fn begin(logins: &mut Logins, request: i64) -> Ended {
        let (sender, ended) = watch::channel(None);
        logins.register(request, sender);
        ended
    }

    fn answer(logins: &mut Logins, request: i64, login_id: &str) {
        let response = Ok(format!(r#"{{"type":"chatgpt","authUrl":"u","loginId":"{login_id}"}}"#));
        done(|effects| logins.handle_response(request, &response, effects));
    }

    fn complete(logins: &mut Logins, login_id: &str) {
        let params = format!(r#"{{"loginId":"{login_id}","success":true}}"#);
        let event = Event::of("account/login/completed", Some(&params), "");
        done(|effects| logins.handle_completed(event, effects));
    }

    /// Carries out the effects of a call, as the connection does.
    fn done(call: impl FnOnce(&mut Vec<Effect>)) {
        let mut effects = Vec::new();
        call(&mut effects);
        for effect in effects {
            let Effect::EndLogin(sender, end) = effect else { panic!("{effect:?}") };
            sender.send_replace(Some(end));
        }
    }

    fn ended_with(ended: &Ended) -> Option<String> {
        ended.borrow().as_ref().map(|end| match end.as_ref().unwrap().decode() {
            Notification::AccountLoginCompleted(end) => end.login_id.unwrap(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn each_login_gets_its_own_end_in_any_order() {
        let mut logins = Logins::default();
        let (first, second, third) = (begin(&mut logins, 1), begin(&mut logins, 2), begin(&mut logins, 3));
        answer(&mut logins, 1, "a");
        complete(&mut logins, "c");
        complete(&mut logins, "b");
        complete(&mut logins, "unknown");
        answer(&mut logins, 3, "c");
        answer(&mut logins, 2, "b");
        assert_eq!((ended_with(&first), logins.early.len()), (None, 0));
        complete(&mut logins, "a");
        let ends = [first, second, third].map(|ended| ended_with(&ended).unwrap());
        assert_eq!(ends, ["a", "b", "c"]);
        assert!(logins.running.is_empty());
    }

    #[test]
    fn ends_without_a_waiting_login_are_dropped() {
        let mut logins = Logins::default();
        complete(&mut logins, "early");
        assert!(logins.early.is_empty(), "no login is starting");
        let cancelled = begin(&mut logins, 1);
        (0..2 * MAX_EARLY_ENDS).for_each(|n| complete(&mut logins, &n.to_string()));
        assert_eq!(logins.early.len(), MAX_EARLY_ENDS);
        drop(cancelled);
        logins.cancel(1);
        assert!(logins.early.is_empty() && logins.starting.is_empty());
        for request in 2..10 {
            drop(begin(&mut logins, request));
            answer(&mut logins, request, "dropped");
        }
        assert_eq!(logins.running.len(), 1);
    }

    #[test]
    fn a_refused_login_is_removed_and_a_lost_connection_ends_the_others() {
        let mut logins = Logins::default();
        let refused = begin(&mut logins, 1);
        let error = Error::new(ErrorKind::Closed, "closed");
        done(|effects| logins.handle_response(1, &Err(error.clone()), effects));
        assert!(refused.borrow().is_none() && refused.has_changed().is_err());
        let (starting, running) = (begin(&mut logins, 2), begin(&mut logins, 3));
        answer(&mut logins, 3, "a");
        done(|effects| logins.fail(&error, effects));
        for ended in [starting, running] {
            let end = ended.borrow().clone().unwrap();
            assert_eq!(end.unwrap_err().kind(), ErrorKind::Closed);
        }
    }

    #[test]
    fn unusable_ids_end_no_login() {
        let mut logins = Logins::default();
        let ended = begin(&mut logins, 1);
        answer(&mut logins, 1, "a");
        for params in [r#"{"loginId":null,"success":true}"#, r#"{"loginId":7}"#, "[]", "null"] {
            let event = Event::of("account/login/completed", Some(params), "");
            done(|effects| logins.handle_completed(event, effects));
        }
        assert!(ended.borrow().is_none());
    }
}
