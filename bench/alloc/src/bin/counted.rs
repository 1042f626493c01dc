//! Totals.

#[global_allocator]
static ALLOCATOR: plimsoll_alloc::Counted = plimsoll_alloc::Counted::new();

fn main() {
    plimsoll_bench_alloc::main(|work| work());
}
