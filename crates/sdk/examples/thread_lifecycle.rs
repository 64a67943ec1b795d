//! The life of a thread: start, name, read, fork, archive, list, unarchive, delete.
//!
//! `cargo run --example thread_lifecycle`, with a runtime (`cargo xtask runtime`) and an account (`codex login`). It
//! deletes the two threads that it makes.

use openai_codex::{ApprovalMode, Codex, Result, Sandbox, methods, types::ThreadDeleteParams};

fn main() -> Result<()> {
    let codex = Codex::new()?;
    let start = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(Sandbox::ReadOnly);
    let thread = start.send()?;
    thread.run("Say hello.")?; // a thread is stored after its first turn
    thread.set_name("Example: hello")?;

    let stored = thread.read().include_turns(true).send()?.thread;
    println!("{:?} has {} turn", stored.name.unwrap_or_default(), stored.turns.len());

    let fork = codex.thread_fork(thread.id()).send()?; // the same history; from here on independent
    fork.set_name("Example: hello in French")?;
    let result = fork.run("The same in French.")?;
    println!("the fork says: {}", result.final_response.unwrap_or_default());

    codex.thread_archive(thread.id())?;
    println!("listed: {:?}", names(&codex, false)?);
    println!("archived: {:?}", names(&codex, true)?);

    codex.thread_unarchive(thread.id())?;
    println!("listed again: {:?}", names(&codex, false)?);

    for id in [fork.id(), thread.id()] {
        // Delete the fork first, because it needs the other's history. `request` sends any method of the protocol.
        codex.request::<methods::ThreadDelete>(ThreadDeleteParams::new(id))?;
    }
    println!("after deleting: {:?}", names(&codex, false)?);
    codex.close()
}

/// The names of this example's threads, in order.
fn names(codex: &Codex, archived: bool) -> Result<Vec<String>> {
    let threads = codex.thread_list().search_term("Example: hello").archived(archived).all();
    let mut names = threads.map(|thread| Ok(thread?.name.unwrap_or_default())).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
