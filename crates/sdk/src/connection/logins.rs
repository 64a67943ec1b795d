//! Logins under way: whose handle the end of each belongs to.
//!
//! The end of a login is a notification of the whole connection, and may come before the answer that tells the login's
//! id. So a login is registered before its request is written, and ends that come early are kept until that answer.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::connection::effect::{Answer, Effect, Ending};
use crate::connection::frame_queue::{Event, OwnedEvent};
use crate::error::Error;
use crate::json_scan::text_member;

/// How many early ends are kept, the latest ones. There is one for each login, and few logins start at once.
const MAX_EARLY_ENDS: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Logins {
    /// Those whose answer has not come, by the id of the request.
    pending_turns: Vec<(i64, Ending)>,
    /// Ends that may be of one of those, by the id of the login.
    early: VecDeque<(String, OwnedEvent)>,
    /// Those that wait for a person, by the id of the login.
    running: Vec<(String, Ending)>,
}

impl Logins {
    /// A login is about to be asked for.
    pub(crate) fn begin(&mut self, request: i64, ending: Ending) {
        // Whose handles have all gone.
        self.running.retain(|(_, ending)| !ending.is_closed());
        self.pending_turns.push((request, ending));
    }

    /// The answer to a request has come; other requests than those of logins are nothing to do with it.
    pub(crate) fn answered(&mut self, request: i64, answer: &Answer, effects: &mut Vec<Effect>) {
        let Some(ending) = self.take(request) else { return };
        if let Some(login_id) = answer.as_deref().ok().and_then(login_of) {
            match self.early.iter().position(|(early, _)| *early == login_id) {
                Some(at) => {
                    let end = self.early.remove(at).map(|(_, end)| end);
                    effects.extend(end.map(|end| Effect::EndLogin(ending, Ok(end))));
                }
                None => self.running.push((login_id, ending)),
            }
        }
        self.forget_early();
    }

    fn take(&mut self, request: i64) -> Option<Ending> {
        let at = self.pending_turns.iter().position(|(start, _)| *start == request)?;
        Some(self.pending_turns.swap_remove(at).1)
    }

    /// Nobody waits for the answer to a request any more.
    pub(crate) fn abandon(&mut self, request: i64) {
        if self.take(request).is_some() {
            self.forget_early();
        }
    }

    /// A login has ended. One that has no id is that of an API key, which its answer has ended already.
    pub(crate) fn completed(&mut self, event: Event<'_>, effects: &mut Vec<Effect>) {
        let Some(login_id) = login_of(event.text) else { return };
        if let Some(at) = self.running.iter().position(|(running, _)| *running == login_id) {
            let (_, ending) = self.running.swap_remove(at);
            effects.push(Effect::EndLogin(ending, Ok(event.to_owned())));
        } else if !self.pending_turns.is_empty() {
            if self.early.len() == MAX_EARLY_ENDS {
                self.early.pop_front();
            }
            self.early.push_back((login_id, event.to_owned()));
        }
    }

    /// The connection has ended, and all logins with it.
    pub(crate) fn fail(&mut self, error: &Error, effects: &mut Vec<Effect>) {
        for (_, ending) in self.pending_turns.drain(..) {
            effects.push(Effect::EndLogin(ending, Err(error.clone())));
        }
        for (_, ending) in self.running.drain(..) {
            effects.push(Effect::EndLogin(ending, Err(error.clone())));
        }
        self.early.clear();
    }

    /// Early ends are for the starts that are under way; with none of those they are nobody's.
    fn forget_early(&mut self) {
        if self.pending_turns.is_empty() {
            self.early.clear();
        }
    }
}

/// The id of the login that an answer or a notification is about.
fn login_of(text: &str) -> Option<String> {
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
        let (ending, ended) = watch::channel(None);
        logins.begin(request, ending);
        ended
    }

    fn answer(logins: &mut Logins, request: i64, login_id: &str) {
        let answer = Ok(format!(r#"{{"type":"chatgpt","authUrl":"u","loginId":"{login_id}"}}"#));
        done(|effects| logins.answered(request, &answer, effects));
    }

    fn complete(logins: &mut Logins, login_id: &str) {
        let params = format!(r#"{{"loginId":"{login_id}","success":true}}"#);
        let event = Event::of("account/login/completed", Some(&params), "");
        done(|effects| logins.completed(event, effects));
    }

    /// What the connection does with the effects of a call.
    fn done(call: impl FnOnce(&mut Vec<Effect>)) {
        let mut effects = Vec::new();
        call(&mut effects);
        for effect in effects {
            let Effect::EndLogin(ending, end) = effect else { panic!("{effect:?}") };
            ending.send_replace(Some(end));
        }
    }

    fn ended_with(ended: &Ended) -> Option<String> {
        ended.borrow().as_ref().map(|end| match end.as_ref().unwrap().decode() {
            Notification::AccountLoginCompleted(end) => end.login_id.unwrap(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn each_login_gets_its_own_end_in_whatever_order() {
        let mut logins = Logins::default();
        let (first, second, third) = (begin(&mut logins, 1), begin(&mut logins, 2), begin(&mut logins, 3));
        answer(&mut logins, 1, "a");
        complete(&mut logins, "c");
        complete(&mut logins, "b");
        complete(&mut logins, "nobody's");
        answer(&mut logins, 3, "c");
        answer(&mut logins, 2, "b");
        assert_eq!((ended_with(&first), logins.early.len()), (None, 0));
        complete(&mut logins, "a");
        let ends = [first, second, third].map(|ended| ended_with(&ended).unwrap());
        assert_eq!(ends, ["a", "b", "c"]);
        assert!(logins.running.is_empty());
    }

    #[test]
    fn what_nobody_waits_for_is_not_kept() {
        let mut logins = Logins::default();
        complete(&mut logins, "early");
        assert!(logins.early.is_empty(), "no login was asked for");
        let abandoned = begin(&mut logins, 1);
        (0..2 * MAX_EARLY_ENDS).for_each(|n| complete(&mut logins, &n.to_string()));
        assert_eq!(logins.early.len(), MAX_EARLY_ENDS);
        drop(abandoned);
        logins.abandon(1);
        assert!(logins.early.is_empty() && logins.pending_turns.is_empty());
        for request in 2..10 {
            drop(begin(&mut logins, request));
            answer(&mut logins, request, "dropped");
        }
        assert_eq!(logins.running.len(), 1);
    }

    #[test]
    fn a_refused_login_is_forgotten_and_a_lost_connection_ends_the_others() {
        let mut logins = Logins::default();
        let refused = begin(&mut logins, 1);
        let error = Error::new(ErrorKind::Closed, "closed");
        done(|effects| logins.answered(1, &Err(error.clone()), effects));
        assert!(refused.borrow().is_none() && refused.has_changed().is_err());
        let (asked, running) = (begin(&mut logins, 2), begin(&mut logins, 3));
        answer(&mut logins, 3, "a");
        done(|effects| logins.fail(&error, effects));
        for ended in [asked, running] {
            let end = ended.borrow().clone().unwrap();
            assert_eq!(end.unwrap_err().kind(), ErrorKind::Closed);
        }
    }

    #[test]
    fn odd_ids_end_nothing() {
        let mut logins = Logins::default();
        let ended = begin(&mut logins, 1);
        answer(&mut logins, 1, "a");
        for params in [r#"{"loginId":null,"success":true}"#, r#"{"loginId":7}"#, "[]", "null"] {
            let event = Event::of("account/login/completed", Some(params), "");
            done(|effects| logins.completed(event, effects));
        }
        assert!(ended.borrow().is_none());
    }
}
