//! Tests that are written once and run with both clients.

/// Makes two tests of one body. In it `$start!(config)` starts a client and gives a `Result`, and `$wait!(call)` waits
/// for what the client's calls return: the blocking client's have waited already, the async one's are awaited.
///
/// That a body compiles for both also shows that both have the same names.
macro_rules! with_both_clients {
    ($(fn $name:ident($start:ident, $wait:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            #[test]
            #[allow(clippy::while_let_on_iterator, reason = "the async streams have no `for`")]
            pub(super) fn blocking() {
                #[allow(unused_macros, reason = "not every body needs both")]
                macro_rules! $start {
                    ($config:expr) => {
                        openai_codex::Codex::with_config($config)
                    };
                    ($config:expr, $transport:expr) => {
                        openai_codex::Codex::with_transport($config, $transport)
                    };
                }
                #[allow(unused_macros, reason = "not every body needs both")]
                macro_rules! $wait {
                    ($call:expr) => {
                        $call
                    };
                }
                $crate::support::bounded(|| $body);
            }

            #[test]
            pub(super) fn asynchronous() {
                #[allow(unused_macros, reason = "not every body needs both")]
                macro_rules! $start {
                    ($config:expr) => {{
                        let client = openai_codex::AsyncCodex::with_config($config);
                        client.start().await.map(|()| client)
                    }};
                    ($config:expr, $transport:expr) => {{
                        let client = openai_codex::AsyncCodex::with_transport($config, $transport);
                        client.start().await.map(|()| client)
                    }};
                }
                #[allow(unused_macros, reason = "not every body needs both")]
                macro_rules! $wait {
                    ($call:expr) => {
                        $call.await
                    };
                }
                $crate::support::bounded_async(async || $body);
            }
        }
    )*};
}

pub(crate) use with_both_clients;
