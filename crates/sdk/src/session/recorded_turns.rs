//! Reads single turns of a thread from the runtime's records.

use openai_codex_protocol::types::{
    CommandExecutionStatus, SortDirection, ThreadItem, ThreadResumeInitialTurnsPageParams,
    ThreadResumeParams, ThreadTurnsListParams, Turn, TurnItemsView,
};
use openai_codex_protocol::{ClientRequest, methods};

use crate::background::Boxed;
use crate::error::{ErrorKind, Result};
use crate::session::history_requests::read_history;
use crate::session::runtime::Session;

/// How many of the latest turns may have begun since a turn was seen to run.
const LATEST: u32 = 20;

impl Session {
    /// One of the latest turns of a thread.
    pub(crate) fn recorded_turn<'a>(
        &'a self,
        thread_id: &'a str,
        turn_id: &'a str,
        items: TurnItemsView,
    ) -> Boxed<'a, Result<Option<Turn>>> {
        Box::pin(async move {
            let turns = self.latest_turns(thread_id, LATEST, items).await?;
            Ok(turns.into_iter().find(|turn| turn.id == turn_id))
        })
    }

    /// The latest turns of a thread, the last one first.
    pub(crate) fn latest_turns<'a>(
        &'a self,
        thread_id: &'a str,
        count: u32,
        items: TurnItemsView,
    ) -> Boxed<'a, Result<Vec<Turn>>> {
        Box::pin(async move {
            let params = ThreadTurnsListParams::new(thread_id)
                .sort_direction(SortDirection::Desc)
                .items_view(items)
                .limit(count);
            let page = read_history::<methods::ThreadTurnsList>(self, &params, thread_id).await?;
            Ok(page.map(|page| page.data).unwrap_or_default())
        })
    }

    /// The ids of the command items of a running turn that are in progress. The runtime reports them in the response to a resume
    /// only: it stores a command when it ends. Resuming a loaded thread without options changes nothing.
    pub(crate) fn running_commands<'a>(
        &'a self,
        thread_id: &'a str,
        turn_id: &'a str,
    ) -> Boxed<'a, Result<Vec<Box<str>>>> {
        Box::pin(async move {
            if !self.supports(methods::ThreadResume::METHOD, "initialTurnsPage").await {
                return Ok(Vec::new());
            }
            let page = ThreadResumeInitialTurnsPageParams::new().items_view(TurnItemsView::Full).limit(1_u32);
            let mut params = ThreadResumeParams::new(thread_id).initial_turns_page(page);
            params.exclude_turns =
                self.supports(methods::ThreadResume::METHOD, "excludeTurns").await.then_some(true);
            let response = match self.call::<methods::ThreadResume>(&params, Some(thread_id)).await {
                // While the first turn of a thread is young, the runtime cannot list turns yet.
                Err(error) if error.kind() == ErrorKind::MethodNotFound => {
                    let params = ThreadResumeParams::new(thread_id);
                    self.call::<methods::ThreadResume>(&params, Some(thread_id)).await?
                }
                response => response?,
            };
            let turns = response.initial_turns_page.map_or(response.thread.turns, |page| page.data);
            let mut running = Vec::new();
            for turn in turns.into_iter().filter(|turn| turn.id == turn_id) {
                for item in turn.items {
                    if let ThreadItem::CommandExecution(command) = item
                        && command.status == CommandExecutionStatus::InProgress
                    {
                        running.push(command.id.into_boxed_str());
                    }
                }
            }
            Ok(running)
        })
    }
}
