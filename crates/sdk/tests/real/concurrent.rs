//! Calls on one thread at the same time: changes of its settings, and starts of its turns. Each test tries every order.

use std::pin::pin;
use std::time::Duration;

use openai_codex::{
    ApprovalMode, AsyncCodex, AsyncEvents, AsyncThread, AsyncTurnHandle, Codex, ErrorKind, Event,
    Notification, RestartPolicy, Result, Sandbox,
};
use openai_codex_testkit::{ModelReply, ModelToolCall};

use crate::death::kill;
use crate::support::{Model, bounded, bounded_async, one_step, output, steps};

/// No call of these tests waits more often.
const MOST_STEPS: usize = 12;

/// A thread that has run a turn, so that it is stored.
async fn stored_thread(sandbox: Option<Sandbox>) -> (Model, AsyncCodex, AsyncThread) {
    let model = Model::start();
    model.reply("ready");
    let codex = AsyncCodex::with_config(model.config());
    let start = codex.thread_start();
    let start = match sandbox {
        Some(sandbox) => model.sandboxed(start, sandbox),
        None => start.cwd(model.folder()),
    };
    let thread = start.send().await.unwrap();
    thread.run("one").await.unwrap();
    (model, codex, thread)
}

/// Makes the runtime unload a thread.
async fn unload(codex: &AsyncCodex, thread_id: &str) {
    codex.thread_archive(thread_id).await.unwrap();
    drop(codex.thread_unarchive(thread_id).await.unwrap());
}

/// Runs two calls until both have completed. The first one is ahead by some steps, and by all its steps if these are the most.
async fn both<A: Future, B: Future>(
    ahead: usize,
    most: usize,
    first: A,
    second: B,
) -> (A::Output, B::Output) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let of_first = steps(ahead, first.as_mut()).await;
    assert!(of_first.is_some() || ahead < most, "a call waits more often than {most} times");
    let of_second = one_step(second.as_mut()).await;
    tokio::join!(output(of_first, first), output(of_second, second))
}

#[test]
fn of_two_resumes_of_an_unloaded_thread_the_second_one_is_refused_if_its_options_differ() {
    bounded_async(async || {
        let (model, codex, thread) = stored_thread(None).await;
        model.fallback("done");
        let id = thread.id().to_owned();
        drop(thread);
        for ahead in 0..=MOST_STEPS {
            unload(&codex, &id).await;
            let resume = |instructions| codex.thread_resume(&id).base_instructions(instructions).send();
            let (brief, long) = both(ahead, MOST_STEPS, resume("be brief"), resume("be long")).await;
            let (applied, other, thread, refused) = match (brief, long) {
                (Ok(thread), Err(error)) => ("be brief", "be long", thread, error),
                (Err(error), Ok(thread)) => ("be long", "be brief", thread, error),
                both => panic!("{ahead}: {both:?}"),
            };
            assert_eq!(refused.kind(), ErrorKind::OptionNotApplied, "{refused}");
            assert!(refused.to_string().contains("`base_instructions`"), "{refused}");
            thread.run("two").await.unwrap();
            let request = model.last_request().unwrap().body.to_string();
            assert!(request.contains(applied) && !request.contains(other), "{ahead}");
            // The same options are not refused.
            codex.thread_resume(&id).base_instructions(applied).send().await.unwrap();
        }
        codex.close().await.unwrap();
    });
}

#[test]
fn two_resumes_of_an_unloaded_thread_both_get_the_same_options() {
    bounded_async(async || {
        let (_model, codex, thread) = stored_thread(None).await;
        for ahead in 0..=MOST_STEPS {
            unload(&codex, thread.id()).await;
            let resume = || codex.thread_resume(thread.id()).base_instructions("be brief").send();
            let (first, second) = both(ahead, MOST_STEPS, resume(), resume()).await;
            first.unwrap();
            second.unwrap();
        }
        codex.close().await.unwrap();
    });
}

/// Waits for a notification of a thread's turn.
async fn until(events: &mut AsyncEvents, wanted: fn(&Notification) -> bool) {
    while !matches!(events.next().await, Some(Ok(Event::Notification(seen))) if wanted(&seen)) {}
}

#[test]
fn a_turn_start_that_is_held_and_not_polled_does_not_delay_a_resume() {
    bounded_async(async || {
        let (model, codex, thread) = stored_thread(Some(Sandbox::ReadOnly)).await;
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).delta("done"));
        let mut events = codex.events();
        let mut start = pin!(thread.turn("two").sandbox(Sandbox::FullAccess).send());
        assert!(one_step(start.as_mut()).await.is_none());
        until(&mut events, |seen| matches!(seen, Notification::TurnStarted(_))).await;
        let resume = || codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send();
        assert_eq!(resume().await.unwrap_err().kind(), ErrorKind::OptionNotApplied);
        gate.release();
        until(&mut events, |seen| matches!(seen, Notification::TurnCompleted(_))).await;
        resume().await.unwrap();
        start.await.unwrap();
        // The turn's sandbox is older than that of the resume.
        unload(&codex, thread.id()).await;
        assert!(!writes(&model, &thread).await);
        codex.close().await.unwrap();
    });
}

#[test]
fn a_resume_that_is_dropped_leaves_the_thread_with_its_sandbox() {
    bounded_async(async || {
        let (model, codex, thread) = stored_thread(Some(Sandbox::ReadOnly)).await;
        for polls in 0.. {
            let mut resume = Box::pin(codex.thread_resume(thread.id()).sandbox(Sandbox::FullAccess).send());
            let resumed = steps(polls, resume.as_mut()).await;
            drop(resume);
            assert_eq!(writes(&model, &thread).await, resumed.is_some(), "{polls}");
            if resumed.is_some() {
                assert!(polls > 2, "the resume has not been dropped at each of its requests");
                break;
            }
        }
        codex.close().await.unwrap();
    });
}

// The runtime's end also ends the timers of the connection.
#[test]
fn a_call_that_waits_for_another_one_when_the_runtime_ends_says_so() {
    bounded_async(async || {
        let (model, codex, thread) = stored_thread(None).await;
        let mut first = pin!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send());
        // It keeps the others out, and is not polled any more.
        assert!(one_step(first.as_mut()).await.is_none());
        let mut second = pin!(thread.run("two"));
        assert!(one_step(second.as_mut()).await.is_none());
        kill(&model);
        let error = second.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TransportClosed, "{error}");
        assert!(first.await.is_err());
        codex.close().await.unwrap();
    });
}

/// Whether a turn of the thread can write a file.
async fn writes(model: &Model, thread: &AsyncThread) -> bool {
    let file = model.folder().join("written");
    model.reply(ModelReply::exec_command(format!("touch {}", file.display())));
    model.reply("done");
    thread.run("write").await.unwrap();
    file.exists()
}

/// What happens to the thread before each try.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Nothing,
    Unload,
    Restart,
}

/// A thread with full access, whose turns wait before their command.
struct Writer {
    model: Model,
    codex: AsyncCodex,
    before: Before,
    tries: usize,
}

impl Writer {
    fn new(before: Before) -> Self {
        let model = Model::start();
        let config = model.config().config_override("sandbox_mode", "danger-full-access");
        let pause = Duration::from_millis(1);
        let restart = RestartPolicy::new().max_attempts(100).initial_delay(pause).max_delay(pause);
        Self { codex: AsyncCodex::with_config(config.restart(restart)), model, before, tries: 0 }
    }

    /// Opens a thread that may write. It has run a turn, so that it is stored.
    async fn open(&mut self) -> AsyncThread {
        self.tries += 1;
        self.model.reply("ready");
        let start = self.codex.thread_start().sandbox(Sandbox::FullAccess);
        let start = start.approval_mode(ApprovalMode::DenyAll).cwd(self.model.folder());
        let thread = start.send().await.unwrap();
        thread.run("one").await.unwrap();
        match self.before {
            Before::Nothing => {}
            Before::Unload => unload(&self.codex, thread.id()).await,
            Before::Restart => {
                kill(&self.model);
                while self.codex.models().send().await.is_err() {}
            }
        }
        thread
    }

    /// Lets a turn that writes and a resume with `ReadOnly` run in an order. Either the turn does not write, or the resume is
    /// refused. Returns whether the resume was refused.
    async fn try_order<T>(
        &mut self,
        thread: &AsyncThread,
        order: impl AsyncFnOnce(Starting<'_>, Resuming<'_>) -> T,
    ) -> bool
    where
        T: Into<(Result<AsyncTurnHandle>, Result<AsyncThread>)>,
    {
        let file = self.model.folder().join(format!("written-{}", self.tries));
        let gate = self.model.gate();
        let call = ModelToolCall::exec_command(format!("touch {}", file.display()));
        self.model.reply(ModelReply::new().pause(&gate).call(call));
        self.model.reply("done");
        let resume = self.codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly);
        let (turn, resumed) =
            order(Box::pin(thread.turn("write").send()), Box::pin(resume.send())).await.into();
        gate.release();
        turn.unwrap().run().await.unwrap();
        match &resumed {
            Ok(_) => assert!(!file.exists(), "a thread that was resumed with ReadOnly has written"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
                assert!(error.to_string().contains("a turn is running in the thread"), "{error}");
                assert!(file.exists(), "the turn writes with the sandbox that it began with");
            }
        }
        resumed.is_err()
    }
}

type Starting<'a> = std::pin::Pin<Box<dyn Future<Output = Result<AsyncTurnHandle>> + 'a>>;
type Resuming<'a> = std::pin::Pin<Box<dyn Future<Output = Result<AsyncThread>> + 'a>>;

/// Tries every order. In the first and the last one, the calls follow each other.
async fn every_order(before: Before, most: usize) {
    let mut writer = Writer::new(before);
    for ahead in 0..=most {
        let thread = writer.open().await;
        writer
            .try_order(&thread, async |turn, resume| {
                let (resumed, turn) = both(ahead, most, resume, turn).await;
                (turn, resumed)
            })
            .await;
        let thread = writer.open().await;
        writer.try_order(&thread, async |turn, resume| both(ahead, most, turn, resume).await).await;
    }
    let thread = writer.open().await;
    let refused = writer
        .try_order(&thread, async |turn, resume| {
            let resumed = resume.await;
            (turn.await, resumed)
        })
        .await;
    assert!(!refused);
    let thread = writer.open().await;
    assert!(writer.try_order(&thread, async |turn, resume| (turn.await, resume.await)).await);
    writer.codex.close().await.unwrap();
}

#[test]
fn no_turn_writes_in_a_thread_that_was_resumed_read_only_at_the_same_time() {
    bounded_async(async || every_order(Before::Nothing, 6).await);
}

#[test]
fn no_turn_writes_in_an_unloaded_thread_that_was_resumed_read_only_at_the_same_time() {
    bounded_async(async || every_order(Before::Unload, 8).await);
}

#[cfg(target_os = "linux")]
#[test]
fn no_turn_writes_in_a_thread_of_a_new_runtime_that_was_resumed_read_only_at_the_same_time() {
    bounded_async(async || every_order(Before::Restart, 6).await);
}

// The server does not store the thread yet.
#[test]
fn the_first_turn_of_a_thread_can_be_followed_while_it_starts() {
    bounded_async(async || {
        let model = Model::start();
        let gate = model.gate();
        let codex = AsyncCodex::with_config(model.config());
        for _ in 0..8 {
            model.reply(ModelReply::new().pause(&gate).delta("hello"));
            let thread = codex.thread_start().cwd(model.folder()).send().await.unwrap();
            let other = thread.clone();
            let running = tokio::spawn(async move { other.run("go").await });
            let followed = loop {
                if let Some(turn) = thread.follow().await.unwrap() {
                    break turn;
                }
            };
            followed.interrupt().await.unwrap();
            assert!(running.await.unwrap().unwrap().is_interrupted());
        }
        codex.close().await.unwrap();
    });
}

#[test]
fn the_first_turn_of_a_thread_can_be_followed_while_a_blocking_call_starts_it() {
    bounded(|| {
        let model = Model::start();
        let gate = model.gate();
        let codex = Codex::with_config(model.config()).unwrap();
        for _ in 0..8 {
            model.reply(ModelReply::new().pause(&gate).delta("hello"));
            let thread = codex.thread_start().cwd(model.folder()).send().unwrap();
            let other = thread.clone();
            let running = std::thread::spawn(move || other.run("go"));
            let followed = loop {
                if let Some(turn) = thread.follow().unwrap() {
                    break turn;
                }
            };
            followed.interrupt().unwrap();
            assert!(running.join().unwrap().unwrap().is_interrupted());
        }
        codex.close().unwrap();
    });
}
