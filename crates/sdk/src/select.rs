//! Waits for the first of several futures. The macro of the same name in tokio needs the crate `syn`, which takes several seconds of a
//! build.

use std::pin::Pin;
use std::task::{Context, Poll};

/// The output of one of two futures.
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

/// Two futures, of which the first one is polled first.
pub(crate) struct Race<A, B>(pub(crate) A, pub(crate) B);

impl<A: Future + Unpin, B: Future + Unpin> Future for Race<A, B> {
    type Output = Either<A::Output, B::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = Pin::new(&mut self.0).poll(context) {
            return Poll::Ready(Either::First(output));
        }
        Pin::new(&mut self.1).poll(context).map(Either::Second)
    }
}

/// The future, or one that never completes.
pub(crate) async fn only_if<T>(condition: bool, future: impl Future<Output = T>) -> T {
    if condition { future.await } else { std::future::pending().await }
}

/// Waits for the first of several futures, then drops all of them and runs the code of that one. If several complete at once, it is
/// the one that is written first.
macro_rules! select {
    ($($pattern:pat = $future:expr => $code:expr),+ $(,)?) => {{
        let output = $crate::select::race!($($future),+).await;
        $crate::select::run!(output; $($pattern => $code),+)
    }};
}

/// Nests the futures.
macro_rules! race {
    ($last:expr) => {
        ::std::pin::pin!($last)
    };
    ($first:expr, $($rest:expr),+) => {
        $crate::select::Race(::std::pin::pin!($first), $crate::select::race!($($rest),+))
    };
}

/// Finds the code of an output.
macro_rules! run {
    ($output:expr; $last:pat => $code:expr) => {{
        let $last = $output;
        $code
    }};
    ($output:expr; $first:pat => $code:expr, $($pattern:pat => $rest:expr),+) => {
        match $output {
            $crate::select::Either::First($first) => $code,
            $crate::select::Either::Second(output) => $crate::select::run!(output; $($pattern => $rest),+),
        }
    };
}

pub(crate) use {race, run, select};

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::only_if;

    #[tokio::test]
    async fn the_first_complete_future_in_the_order_of_the_code_counts() {
        let both = select! {
            first = ready("first") => first,
            second = ready("second") => second,
        };
        assert_eq!(both, "first");
        let last = select! {
            never = pending::<&str>() => never,
            () = only_if(false, ready(())) => "not polled",
            number = only_if(true, ready(3)) => {
                assert_eq!(number, 3);
                "last"
            },
        };
        assert_eq!(last, "last");
    }

    #[tokio::test]
    async fn the_futures_are_dropped_before_the_code_runs() {
        let mut held = 1;
        let held_again = select! {
            () = async { held += 1 } => &mut held,
            () = pending() => unreachable!(),
        };
        *held_again += 1;
        assert_eq!(held, 3);
    }
}
