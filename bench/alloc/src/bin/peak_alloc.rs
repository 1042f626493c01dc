//! The crate peak_alloc: live bytes and their peak.

#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

fn main() {
    plimsoll_bench_alloc::main(|work| work());
}
