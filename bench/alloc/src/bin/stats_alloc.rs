//! The crate stats_alloc: bytes and blocks.

#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

fn main() {
    plimsoll_bench_alloc::main(|work| work());
}
