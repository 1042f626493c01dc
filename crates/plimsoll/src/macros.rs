//! Assertions, and tests that consist of one.

/// Asserts that an operation keeps no memory: `assert_no_leak!(|| op())`. An inconclusive check fails too, and says what would
/// settle it. (What is set by [`Check`](crate::Check) or asynchronous:
/// [`Verdict::assert_no_leak`](crate::Verdict::assert_no_leak).)
#[macro_export]
macro_rules! assert_no_leak {
    ($operation:expr $(,)?) => {
        $crate::check($operation).assert_no_leak()
    };
}

/// Asserts how many blocks an operation allocates at most, each time: `assert_allocations!(<= 3, || op())`.
#[macro_export]
macro_rules! assert_allocations {
    (<= $most:expr, $operation:expr $(,)?) => {
        $crate::assert_allocations($most, $operation)
    };
}

/// Asserts how many bytes an operation has alive at once at most: `assert_peak!(<= 1 << 20, || op())`.
#[macro_export]
macro_rules! assert_peak {
    (<= $most:expr, $operation:expr $(,)?) => {
        $crate::assert_peak($most, $operation)
    };
}

/// Tests whose bodies are repeated, and may not keep memory. Limits come first, if any.
///
/// ```
/// # #[global_allocator]
/// # static ALLOCATOR: plimsoll::Scoped = plimsoll::Scoped::new();
/// plimsoll::leak_tests! {
///     /// The parser gives everything back.
///     fn parsing_keeps_nothing() {
///         "1 2 3".split(' ').map(str::to_owned).collect::<Vec<_>>();
///     }
///
///     #[most_allocations(5)]
///     #[most_peak(1024)]
///     fn parsing_is_frugal() {
///         "1 2 3".split(' ').map(str::to_owned).collect::<Vec<_>>();
///     }
/// }
/// ```
#[macro_export]
macro_rules! leak_tests {
    () => {};
    (
        $(#[doc = $doc:expr])*
        $(#[most_allocations($allocations:expr)])?
        $(#[most_peak($peak:expr)])?
        fn $name:ident() $body:block
        $($rest:tt)*
    ) => {
        $(#[doc = $doc])*
        #[test]
        fn $name() {
            let operation = || $body;
            $($crate::assert_allocations!(<= $allocations, operation);)?
            $($crate::assert_peak!(<= $peak, operation);)?
            $crate::assert_no_leak!(operation);
        }
        $crate::leak_tests! { $($rest)* }
    };
}
