//! A small chat in the terminal: streams the replies, and lists, resumes and forks threads.
//!
//! `cargo run --example chat`, with a runtime (`cargo xtask runtime`) and an account (`codex login`). Ctrl-C ends the
//! reply, not the program. The agent may read files but not change them.

use std::error::Error;
use std::io::{IsTerminal, Write, stdin, stdout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openai_codex::types::{
    SortDirection, ThreadBackgroundTerminalsCleanParams, ThreadItem, ThreadSortKey, TurnItemsView,
    TurnStatus, UserInput,
};
use openai_codex::{
    ApprovalMode, Codex, ErrorKind, Notification, Result, Sandbox, Thread, TurnHandle, methods,
};

const HELP: &str = "/list, /resume N or ID, /fork, /new, /quit; Ctrl-C ends an answer";

fn main() -> Result<(), Box<dyn Error>> {
    let running = Running::default();
    let interrupted = running.clone();
    ctrlc::set_handler(move || interrupted.interrupt())?;
    let codex = Codex::new()?;
    let mut chat = Chat { thread: start(&codex)?, codex: codex.clone(), listed: Vec::new(), running };
    println!("{HELP}");
    while let Some(line) = read_line()? {
        let outcome = match line.split_once(' ').unwrap_or((&line, "")) {
            ("", _) => Ok(()),
            ("/quit", _) => break,
            ("/list", _) => chat.list(),
            ("/resume", which) if !which.trim().is_empty() => chat.resume(which.trim()),
            ("/fork", _) => chat.fork(),
            ("/new", _) => chat.new_thread(),
            (command, _) if command.starts_with('/') => {
                println!("{HELP}");
                Ok(())
            }
            _ => chat.say(&line),
        };
        match outcome {
            Err(error) if error.kind() == ErrorKind::TransportClosed => return Err(error.into()),
            Err(error) => println!("error: {error}"),
            Ok(()) => {}
        }
    }
    codex.close()?;
    Ok(())
}

/// The user's next line, or `None` at the end.
fn read_line() -> std::io::Result<Option<String>> {
    prompt();
    let mut line = String::new();
    let more = stdin().read_line(&mut line)? > 0;
    Ok(more.then(|| line.trim().to_owned()))
}

fn prompt() {
    if stdin().is_terminal() {
        print!("> ");
        flush();
    }
}

fn flush() {
    let _ = stdout().flush(); // a closed terminal shows nothing
}

fn start(codex: &Codex) -> Result<Thread> {
    codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(Sandbox::ReadOnly).send()
}

/// The turn that Ctrl-C interrupts.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<Option<TurnHandle>>>);

impl Running {
    fn turn(&self) -> MutexGuard<'_, Option<TurnHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called on its own thread. If there is no turn to interrupt, the user is at the prompt.
    fn interrupt(&self) {
        match &*self.turn() {
            Some(turn) => {
                let _ = turn.interrupt(); // an error if the turn has just ended by itself
            }
            None => {
                println!("\n/quit ends the chat");
                prompt();
            }
        }
    }
}

struct Chat {
    codex: Codex,
    thread: Thread,
    /// The ids of the last listed threads.
    listed: Vec<String>,
    running: Running,
}

impl Chat {
    fn say(&self, text: &str) -> Result<()> {
        let turn = {
            let mut running = self.running.turn(); // Ctrl-C waits until there is a turn
            running.insert(self.thread.turn(text).send()?).clone()
        };
        let shown = show(&turn);
        *self.running.turn() = None;
        shown?;
        if turn.run()?.is_interrupted() {
            println!("\n(interrupted)"); // a line may be unfinished
            // The turn has ended, but one of its commands has not.
            let params = ThreadBackgroundTerminalsCleanParams::new(self.thread.id());
            self.codex.request::<methods::ThreadBackgroundTerminalsClean>(params)?;
        }
        Ok(())
    }

    fn list(&mut self) -> Result<()> {
        let threads = self.codex.thread_list().sort_key(ThreadSortKey::UpdatedAt).limit(10).send()?.data;
        for (number, thread) in threads.iter().enumerate() {
            let title = thread.name.as_ref().unwrap_or(&thread.preview);
            let title: String = title.lines().next().unwrap_or_default().chars().take(60).collect();
            let here = if thread.id == self.thread.id() { " (this one)" } else { "" };
            println!("{}  {title}{here}", number + 1);
        }
        self.listed = threads.into_iter().map(|thread| thread.id).collect();
        Ok(())
    }

    fn resume(&mut self, which: &str) -> Result<()> {
        let place = which.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let id = place.and_then(|place| self.listed.get(place)).map_or(which, String::as_str);
        let resume = self.codex.thread_resume(id).include_turns(false);
        self.thread = resume.approval_mode(ApprovalMode::DenyAll).sandbox(Sandbox::ReadOnly).send()?;
        let newest = self.thread.turns().limit(1).sort_direction(SortDirection::Desc);
        for turn in newest.items_view(TurnItemsView::Full).send()?.data {
            turn.items.iter().for_each(print_message);
        }
        Ok(())
    }

    fn fork(&mut self) -> Result<()> {
        let fork = self.codex.thread_fork(self.thread.id()).include_turns(false);
        let fork = fork.approval_mode(ApprovalMode::DenyAll).sandbox(Sandbox::ReadOnly).send()?;
        println!("a fork of {}", self.thread.id());
        self.thread = fork;
        Ok(())
    }

    fn new_thread(&mut self) -> Result<()> {
        self.thread = start(&self.codex)?;
        println!("a new thread");
        Ok(())
    }
}

/// Prints what the agent writes and runs, as it happens.
fn show(turn: &TurnHandle) -> Result<()> {
    let mut in_message = false;
    for event in turn.stream() {
        match event? {
            Notification::AgentMessageDelta(piece) => {
                print!("{}", piece.delta);
                flush();
                in_message = true;
            }
            Notification::ItemStarted(started) => {
                if let ThreadItem::CommandExecution(runs) = started.item {
                    println!("$ {}", runs.command);
                }
            }
            Notification::ItemCompleted(_) if in_message => {
                println!();
                in_message = false;
            }
            Notification::Error(problem) if problem.will_retry => println!("({})", problem.error.message),
            Notification::TurnCompleted(done) if in_message && done.turn.status == TurnStatus::Failed => {
                println!();
            }
            _ => {}
        }
    }
    Ok(())
}

fn print_message(item: &ThreadItem) {
    match item {
        ThreadItem::UserMessage(message) => {
            for part in &message.content {
                if let UserInput::Text(text) = part {
                    println!("> {}", text.text);
                }
            }
        }
        ThreadItem::AgentMessage(message) => println!("{}", message.text),
        _ => {}
    }
}
