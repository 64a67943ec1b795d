//! Searches for orphaned commands, on a paused clock.

use tokio::time::Instant;

use super::*;
use crate::io::orphan_sweep;
use crate::process::orphans::{Mark, Orphans};

#[tokio::test(start_paused = true)]
async fn a_search_that_the_system_blocks_does_not_block_the_close() {
    const LIMIT: Duration = Duration::from_secs(6);
    let (connection, _peer) = connect_to(context(Arc::default()));
    let mut command = tokio::process::Command::new("sleep");
    let mut runtime = command.arg("1000").kill_on_drop(true).spawn().unwrap();
    let orphans = Arc::new(Orphans::of(&runtime, Mark::new()));
    assert!(orphans.can_search());
    // The thread of a search that does not return holds it.
    let _blocked = connection.shared.sweeps.turn().await;
    let began = Instant::now();
    orphan_sweep::finish(&connection.shared, &orphans, LIMIT).await;
    assert_eq!(began.elapsed(), LIMIT);
    runtime.kill().await.unwrap();
}
