//! The allocator of the system alone.

fn main() {
    plimsoll_bench_alloc::main(|work| work());
}
