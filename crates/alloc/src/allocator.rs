//! The two allocators: [`Counted`] and [`Scoped`].

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

use crate::thread;

/// Counts live and total bytes and blocks of the process over the allocator beneath. Cheap enough to stay in production.
///
/// ```
/// use plimsoll_alloc::Counted;
///
/// #[global_allocator]
/// static ALLOCATOR: Counted = Counted::new();
///
/// let before = plimsoll_alloc::stats();
/// let kept = vec![0_u8; 1000];
/// assert_eq!(plimsoll_alloc::stats().live_bytes - before.live_bytes, 1000);
/// # drop(kept);
/// ```
#[derive(Debug, Default, Clone, Copy)]
pub struct Counted<A = System> {
    inner: A,
}

/// Counts by [`Scope`](crate::Scope) and by size class too, and samples the stacks of blocks that survive. For tests, and for
/// whoever searches a leak.
///
/// Each block is eight bytes longer beneath: the scope that owns it stands behind it, so that its end is counted to its
/// owner, whichever thread frees it and however late.
///
/// ```
/// use plimsoll_alloc::{Scope, Scoped};
///
/// #[global_allocator]
/// static ALLOCATOR: Scoped = Scoped::new();
///
/// let scope = Scope::open("sessions")?;
/// let kept = scope.run(|| vec![0_u8; 1000]);
/// assert_eq!(scope.stats().live_bytes, 1000);
/// std::thread::spawn(move || drop(kept)).join().unwrap();
/// assert_eq!(scope.stats().live_bytes, 0);
/// # Ok::<(), plimsoll_alloc::TooManyScopes>(())
/// ```
#[derive(Debug, Default, Clone, Copy)]
pub struct Scoped<A = System> {
    inner: A,
}

impl Counted {
    /// Over the allocator of the system.
    pub const fn new() -> Self {
        Self::over(System)
    }
}

impl<A> Counted<A> {
    /// Over any other allocator.
    pub const fn over(inner: A) -> Self {
        Self { inner }
    }
}

impl Scoped {
    /// Over the allocator of the system.
    pub const fn new() -> Self {
        Self::over(System)
    }
}

impl<A> Scoped<A> {
    /// Over any other allocator.
    pub const fn over(inner: A) -> Self {
        Self { inner }
    }
}

// SAFETY: every block is one of the inner allocator's, with the layout that it is asked for; counting neither allocates
// nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counted<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        let block = unsafe { self.inner.alloc(layout) };
        if !block.is_null() {
            thread::allocated::<false>(block, layout.size());
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        let block = unsafe { self.inner.alloc_zeroed(layout) };
        if !block.is_null() {
            thread::allocated::<false>(block, layout.size());
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !thread::freed_fast::<false>(layout.size(), 0) {
            // SAFETY: the caller's promise, passed on.
            return unsafe { dealloc_slow::<false, A>(&self.inner, block, layout, 0) };
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { self.inner.dealloc(block, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        let moved = unsafe { self.inner.realloc(block, layout, size) };
        if !moved.is_null() {
            thread::moved::<false>(block, layout.size(), 0, moved, size);
        }
        moved
    }
}

/// Counts and frees: one call at the end of the fast path, which so needs no frame of its own.
///
/// # Safety
/// `block` was allocated by `inner` with `layout`; with a trailer (`SCOPED`), `layout` includes it.
#[cold]
#[inline(never)]
unsafe fn dealloc_slow<const SCOPED: bool, A: GlobalAlloc>(
    inner: &A,
    block: *mut u8,
    layout: Layout,
    trailer: u64,
) {
    let size = layout.size() - if SCOPED { TRAILER } else { 0 };
    thread::freed_slow::<SCOPED>(block, size, trailer);
    // SAFETY: the caller's promise.
    unsafe { inner.dealloc(block, layout) };
}

/// Bytes of the trailer.
const TRAILER: usize = size_of::<u64>();

/// The layout with room for the trailer behind `size` bytes; `None` where no block can be so large.
#[inline]
fn with_trailer(size: usize, align: usize) -> Option<Layout> {
    // What `Layout::from_size_align` asks, without asking once more whether the alignment is a power of two.
    let most = isize::MAX as usize - (align - 1) - TRAILER;
    if size > most {
        return None;
    }
    // SAFETY: `align` is that of a layout, and the size rounded up to it is no more than `isize::MAX`.
    Some(unsafe { Layout::from_size_align_unchecked(size + TRAILER, align) })
}

// SAFETY: every block is one of the inner allocator's, with the alignment that is asked for and eight bytes more behind
// it, which no caller knows of; a block is given back with the layout it was allocated with. Counting neither allocates
// nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Scoped<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = with_trailer(layout.size(), layout.align()) else {
            return ptr::null_mut();
        };
        // SAFETY: the size is not zero.
        let block = unsafe { self.inner.alloc(whole) };
        // SAFETY: `block` is null or has room for the trailer.
        unsafe { begin(block, layout.size()) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = with_trailer(layout.size(), layout.align()) else {
            return ptr::null_mut();
        };
        // SAFETY: the size is not zero.
        let block = unsafe { self.inner.alloc_zeroed(whole) };
        // SAFETY: `block` is null or has room for the trailer.
        unsafe { begin(block, layout.size()) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` was allocated here with this layout, so its trailer was written; and a layout that could be
        // made once can be made again.
        let (trailer, whole) = unsafe {
            (
                trailer_of(block, layout.size()),
                with_trailer(layout.size(), layout.align()).unwrap_unchecked(),
            )
        };
        if !thread::freed_fast::<true>(layout.size(), trailer) {
            // SAFETY: the layout it was allocated with, and its trailer.
            return unsafe { dealloc_slow::<true, A>(&self.inner, block, whole, trailer) };
        }
        // SAFETY: the layout it was allocated with.
        unsafe { self.inner.dealloc(block, whole) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(new) = with_trailer(size, layout.align()) else {
            return ptr::null_mut();
        };
        // SAFETY: as in `dealloc`. The trailer is read before what lies there becomes part of the block, or is cut off.
        let (trailer, whole) = unsafe {
            (
                trailer_of(block, layout.size()),
                with_trailer(layout.size(), layout.align()).unwrap_unchecked(),
            )
        };
        // SAFETY: the layout it was allocated with; the new size is not zero and fits.
        let moved = unsafe { self.inner.realloc(block, whole, new.size()) };
        if moved.is_null() {
            // The block is as it was, its trailer too.
            return moved;
        }
        let trailer = thread::moved::<true>(block, layout.size(), trailer, moved, size);
        // SAFETY: there is room for the trailer behind the new size.
        unsafe { moved.add(size).cast::<u64>().write_unaligned(trailer) };
        moved
    }
}

/// Counts a block and writes what stands behind it.
///
/// # Safety
/// `block` is null, or `size` and a trailer long.
#[inline]
unsafe fn begin(block: *mut u8, size: usize) -> *mut u8 {
    if !block.is_null() {
        let trailer = thread::allocated::<true>(block, size);
        // SAFETY: the caller's promise. The block may have any size, so the trailer may lie at any address.
        unsafe { block.add(size).cast::<u64>().write_unaligned(trailer) };
    }
    block
}

/// What stands behind a block.
///
/// # Safety
/// `block` was begun with this size.
#[inline]
unsafe fn trailer_of(block: *mut u8, size: usize) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { block.add(size).cast::<u64>().read_unaligned() }
}
