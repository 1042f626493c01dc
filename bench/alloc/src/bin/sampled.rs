//! The same with the stacks of one block every 512 KiB.

#[global_allocator]
static ALLOCATOR: plimsoll_alloc::Scoped = plimsoll_alloc::Scoped::new();

fn main() {
    plimsoll_bench_alloc::main(|work| {
        plimsoll_alloc::sample_every(512 * 1024);
        work();
    });
}
