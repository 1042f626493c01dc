//! The same within a scope.

#[global_allocator]
static ALLOCATOR: plimsoll_alloc::Scoped = plimsoll_alloc::Scoped::new();

fn main() {
    plimsoll_bench_alloc::main(|work| plimsoll_alloc::Scope::open("work").unwrap().run(work));
}
