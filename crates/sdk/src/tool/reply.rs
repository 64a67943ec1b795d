//! A result, now or later.

use std::fmt;
use std::pin::Pin;

use openai_codex_protocol::types::DynamicToolCallResponse;

use crate::tool::output::IntoToolOutput;

/// The reply of a [`Tool`](crate::Tool)'s closure.
pub struct ToolReply(pub(crate) Reply);

pub(crate) enum Reply {
    /// The result.
    Now(DynamicToolCallResponse),
    /// A future of the result.
    Later(Pin<Box<dyn Future<Output = DynamicToolCallResponse> + Send>>),
}

impl fmt::Debug for ToolReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Reply::Now(_) => "ToolReply::Now",
            Reply::Later(_) => "ToolReply::Later",
        })
    }
}

/// A value that the closure of a [`Tool`](crate::Tool) can return: any [`IntoToolOutput`], or a future of one. `M` tells
/// these apart. The compiler infers it.
#[diagnostic::on_unimplemented(
    message = "a tool cannot return `{Self}`",
    note = "it can return a text, `Json(value)`, a `ToolOutput`, `()`, or a `Result` of these, or a future of any that is \
            `Send`"
)]
pub trait IntoToolReply<M>: sealed::Sealed<M> {
    #[doc(hidden)]
    fn into_tool_reply(self) -> ToolReply;
}

mod sealed {
    /// Marks a result.
    #[derive(Debug)]
    pub struct AtOnce;

    /// Marks a future of a result.
    #[derive(Debug)]
    pub struct Awaited;

    pub trait Sealed<M> {}
    impl<T: crate::tool::reply::IntoToolOutput> Sealed<AtOnce> for T {}
    impl<F: Future<Output: crate::tool::reply::IntoToolOutput> + Send + 'static> Sealed<Awaited> for F {}
}

impl<T: IntoToolOutput> IntoToolReply<sealed::AtOnce> for T {
    fn into_tool_reply(self) -> ToolReply {
        self.into_tool_output().into()
    }
}

impl<F> IntoToolReply<sealed::Awaited> for F
where
    F: Future<Output: IntoToolOutput> + Send + 'static,
{
    fn into_tool_reply(self) -> ToolReply {
        ToolReply(Reply::Later(Box::pin(async move { self.await.into_tool_output().into_wire() })))
    }
}
