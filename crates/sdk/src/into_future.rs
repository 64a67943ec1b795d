//! Lets a program await an async builder: `codex.thread_start().await` does the same as `.send().await`.

use std::pin::Pin;

use crate::error::Result;

/// The future of an awaited builder.
pub(crate) type Sending<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// Implements `IntoFuture` for a builder of the async client, with its `send`.
macro_rules! awaits_send {
    ($builder:ident, $response:ty) => {
        /// Awaiting the builder does the same as [`send`](Self::send).
        impl IntoFuture for $builder<crate::session::clients::AsyncCodex> {
            type Output = crate::error::Result<$response>;
            type IntoFuture = crate::into_future::Sending<$response>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.send())
            }
        }
    };
}

pub(crate) use awaits_send;
