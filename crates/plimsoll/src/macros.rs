//! Assertions, and types that are counted.

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

/// Has the live values of a type counted: `track!(Session);`. Fields that hold tracked [`Arc`](crate::Arc)s, in whatever
/// options, vectors, maps and locks, are named, so that cycles can be found: `track!(Node { parent, children });`.
#[macro_export]
macro_rules! track {
    ($type:ty) => {
        $crate::track!($type {});
    };
    ($type:ty { $($field:ident),* $(,)? }) => {
        impl $crate::Track for $type {
            fn kind() -> &'static $crate::Kind {
                static KIND: $crate::Kind =
                    $crate::Kind::new(stringify!($type), file!(), line!());
                &KIND
            }

            fn arcs(&self, visit: &mut dyn FnMut(usize)) {
                let _ = &visit;
                $($crate::Holds::arcs(&self.$field, visit);)*
            }
        }
    };
}
