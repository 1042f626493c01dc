//! Scopes, size classes and samples are at hand, and none is used.

#[global_allocator]
static ALLOCATOR: plimsoll_alloc::Scoped = plimsoll_alloc::Scoped::new();

fn main() {
    plimsoll_bench_alloc::main(|work| work());
}
