//! A turn runs once, however many calls of `ensure` ask for it at once: calls of one client, of several, or of two runtimes.

use std::time::Duration;

use openai_codex::{AsyncCodex, EnsureOutcome};

use crate::ensure::begun;
use crate::support::{Model, RunningServer, bounded_async};

/// Many calls at once, each by a client of its own.
async fn all_at_once(clients: &[AsyncCodex], thread_id: &str) -> Vec<(EnsureOutcome, String)> {
    let calls: Vec<_> = clients
        .iter()
        .map(|codex| {
            let (codex, id) = (codex.clone(), thread_id.to_owned());
            tokio::spawn(async move {
                let thread = codex.thread_resume(id).writer_timeout(Duration::from_secs(60)).await.unwrap();
                let ensured = thread.ensure("k", "go").await.unwrap();
                assert_eq!(ensured.result.final_response.as_deref(), Some("done"));
                (ensured.outcome, ensured.result.turn.id)
            })
        })
        .collect();
    let mut ended = Vec::new();
    for call in calls {
        ended.push(call.await.unwrap());
    }
    ended
}

fn assert_one_turn(model: &Model, ended: &[(EnsureOutcome, String)]) {
    assert!(ended.iter().all(|(_, turn)| *turn == ended[0].1), "{ended:?}");
    assert_eq!(begun(model, "go"), 1, "{ended:?}");
    assert!(ended.iter().all(|(outcome, _)| *outcome != EnsureOutcome::Continued(1)), "{ended:?}");
}

#[test]
fn calls_of_one_client_at_once_run_one_turn() {
    bounded_async(async || {
        let model = Model::start();
        model.reply("first");
        model.fallback("done");
        let codex = AsyncCodex::with_config(model.config());
        let thread = codex.thread_start().cwd(model.folder()).await.unwrap();
        thread.run("one").await.unwrap();
        let ended = all_at_once(&vec![codex.clone(); 8], thread.id()).await;
        assert_one_turn(&model, &ended);
        let ran = ended.iter().filter(|(outcome, _)| *outcome == EnsureOutcome::Ran).count();
        assert_eq!(ran, 1, "{ended:?}");
        codex.close().await.unwrap();
    });
}

#[test]
fn calls_of_two_runtimes_on_one_home_at_once_run_one_turn() {
    bounded_async(async || {
        let model = Model::start();
        model.reply("first");
        model.fallback("done");
        let codex = AsyncCodex::with_config(model.config());
        let thread = codex.thread_start().cwd(model.folder()).await.unwrap();
        thread.run("one").await.unwrap();
        codex.close().await.unwrap();
        let clients = [(); 2].map(|()| AsyncCodex::with_config(model.config()));
        let calls = clients.clone().map(|codex| {
            let id = thread.id().to_owned();
            tokio::spawn(async move {
                let thread = codex.thread_resume(id).writer_timeout(Duration::from_secs(60)).await.unwrap();
                let ensured = thread.ensure("k", "go").await.unwrap();
                // The other runtime gets the thread when this one has ended.
                codex.close().await.unwrap();
                (ensured.outcome, ensured.result.turn.id)
            })
        });
        let mut ended = Vec::new();
        for call in calls {
            ended.push(call.await.unwrap());
        }
        assert_one_turn(&model, &ended);
        ended.sort_by_key(|(outcome, _)| *outcome == EnsureOutcome::FoundDone);
        assert_eq!([ended[0].0, ended[1].0], [EnsureOutcome::Ran, EnsureOutcome::FoundDone]);
    });
}

#[test]
fn calls_of_clients_of_one_server_at_once_run_one_turn() {
    bounded_async(async || {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        model.reply("first");
        model.fallback("done");
        let owner = AsyncCodex::with_config(server.config());
        let thread = owner.thread_start().cwd(model.folder().display().to_string()).await.unwrap();
        thread.run("one").await.unwrap();
        let clients = [(); 4].map(|()| AsyncCodex::with_config(server.config()));
        let ended = all_at_once(&clients, thread.id()).await;
        assert!(ended.iter().all(|(_, turn)| *turn == ended[0].1), "{ended:?}");
        assert_eq!(thread.turns().await.unwrap().data.len(), 2, "{ended:?}");
        for client in clients {
            client.close().await.unwrap();
        }
        owner.close().await.unwrap();
    });
}
