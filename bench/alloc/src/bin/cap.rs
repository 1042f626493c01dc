//! The crate cap: a limit, live and total bytes.

#[global_allocator]
static ALLOCATOR: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, usize::MAX);

fn main() {
    plimsoll_bench_alloc::main(|work| work());
}
