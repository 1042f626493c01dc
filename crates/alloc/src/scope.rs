//! Scopes: whose work it was that allocated.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::{Context, Poll};

use crate::region::{NAME, REGION, SCOPES, SHARED, Slot, tag};
use crate::sample::{self, Survivor};
use crate::stats::{Peak, Stats, shards};
use crate::thread;

/// Blocks are counted to the scope their thread is in when they are allocated, or to none.
///
/// A scope is a test, a task, a request, a component. A thread enters it ([`enter`](Self::enter), [`run`](Self::run)), a future
/// takes it along to whichever thread polls it ([`wrap`](Self::wrap)). A block's end is counted to the scope that owns the
/// block, whoever frees it; a block that changes its size belongs to the scope that changed it.
///
/// A scope opened within another is part of it: the outer counts what the inner does. (One that was opened elsewhere and is
/// only entered within it is not.)
///
/// Handles are counted; with the last of them the scope ends. Blocks it leaves behind stay in the counts of the process.
pub struct Scope {
    tag: u64,
}

/// All scopes that can be open at once are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyScopes;

impl fmt::Display for TooManyScopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} allocation scopes are open already, and there can be no more",
            SCOPES - 1
        )
    }
}

impl std::error::Error for TooManyScopes {}

impl Scope {
    /// Opens a scope, within the one that the calling thread is in. A name longer than 88 bytes is cut.
    ///
    /// # Errors
    /// If 1,023 scopes are open.
    pub fn open(name: &str) -> Result<Self, TooManyScopes> {
        let is_free = |&number: &usize| {
            let holders = &REGION.slots[number].holders;
            holders.load(Relaxed) == 0 && holders.compare_exchange(0, 1, AcqRel, Relaxed).is_ok()
        };
        // Slot 0 is no scope.
        let number = (1..SCOPES).find(is_free).ok_or(TooManyScopes)?;
        REGION.head.slots_used.fetch_max(number as u32 + 1, AcqRel);
        let slot = &REGION.slots[number];
        let tag = tag::of(number, slot.generation.fetch_add(1, Relaxed));
        slot.parent.store(thread::current(), Relaxed);
        slot.sample_every.store(0, Relaxed);
        slot.set_name(name);
        thread::restart(&REGION.shards[SHARED].rows[number], tag);
        slot.tag.store(tag, Release);
        Ok(Self { tag })
    }

    /// The scope the calling thread is in.
    pub fn current() -> Option<Self> {
        let tag = thread::current();
        let held = tag != 0 && REGION.slots[tag::slot(tag)].hold(tag);
        held.then(|| Self { tag })
    }

    /// Enters the scope on this thread, until what is returned is dropped. Scopes can be left in any order: the thread is
    /// in the one entered last of those not yet left. More than 64 at once on one thread change nothing any more.
    pub fn enter(&self) -> Entered<'_> {
        Entered {
            place: thread::enter(self.tag),
            _scope: PhantomData,
        }
    }

    /// Runs `work` within the scope.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = self.enter();
        work()
    }

    /// The future, polled and dropped within the scope, on whatever thread.
    pub fn wrap<F: Future>(&self, future: F) -> InScope<F> {
        InScope {
            scope: self.clone(),
            future: Some(future),
        }
    }

    /// What was counted to it, and to the scopes opened within it.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        let mut freed_bytes = 0_u64;
        let mut freed_blocks = 0_u64;
        let (mut peaks, mut rows) = (0_i64, 0);
        for slot in &REGION.slots[..slots_used()] {
            let scope = slot.tag.load(Acquire);
            if !self.includes(scope) {
                continue;
            }
            for shard in shards() {
                let row = &shard.rows[tag::slot(scope)];
                if row.tag.load(Acquire) != scope {
                    continue;
                }
                freed_bytes = freed_bytes.wrapping_add(row.freed_bytes.load(Acquire));
                freed_blocks += row.freed_blocks.load(Acquire);
                let bytes = row.allocated_bytes.load(Acquire);
                stats.allocated_bytes += bytes;
                stats.allocated_blocks += row.allocated_blocks.load(Acquire);
                peaks += row.peak.load(Acquire);
                rows += usize::from(bytes > 0 || row.freed_bytes.load(Acquire) > 0);
            }
        }
        stats.take_off(freed_bytes, freed_blocks);
        let at_most = peaks.max(0) as u64;
        stats.peak = Peak {
            at_least: if rows == 1 {
                at_most
            } else {
                stats.live_bytes.max(0) as u64
            },
            at_most,
        };
        stats
    }

    /// Keeps the stacks of some blocks allocated within it, one every so many bytes in the mean: 1 keeps every block, 0 is
    /// as [`sample_every`](crate::sample_every) says for the process. Heeded by threads that enter the scope afterwards.
    pub fn sample_every(&self, bytes: u64) {
        REGION.slots[tag::slot(self.tag)]
            .sample_every
            .store(bytes, Relaxed);
        thread::resample();
    }

    /// Calls `each` with the sampled blocks that are alive, of this scope and of those opened within it.
    pub fn survivors(&self, mut each: impl FnMut(&Survivor<'_>)) {
        sample::survivors(|scope| self.includes(scope), &mut each);
    }

    fn includes(&self, mut scope: u64) -> bool {
        // As deep as there are slots: a chain cannot be longer.
        for _ in 0..SCOPES {
            if scope == self.tag {
                return true;
            }
            if scope == 0 {
                return false;
            }
            let slot = &REGION.slots[tag::slot(scope)];
            let parent = slot.parent.load(Relaxed);
            if slot.tag.load(Acquire) != scope {
                return false;
            }
            scope = parent;
        }
        false
    }
}

fn slots_used() -> usize {
    (REGION.head.slots_used.load(Acquire) as usize).min(SCOPES)
}

/// Handles of the same scope are equal.
impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.tag == other.tag
    }
}

impl Eq for Scope {}

impl Clone for Scope {
    fn clone(&self) -> Self {
        let slot = &REGION.slots[tag::slot(self.tag)];
        slot.holders.fetch_add(1, Relaxed);
        Self { tag: self.tag }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        REGION.slots[tag::slot(self.tag)].release(self.tag);
    }
}

/// Holders of a slot whose scope is just ending.
const ENDING: u32 = u32::MAX;

impl Slot {
    /// Whether the scope `tag` is still open here, and has one more holder now.
    fn hold(&self, tag: u64) -> bool {
        let one_more = |holders| (holders != 0 && holders != ENDING).then(|| holders + 1);
        if self
            .holders
            .fetch_update(AcqRel, Relaxed, one_more)
            .is_err()
        {
            return false;
        }
        let is_it = self.tag.load(Acquire) == tag;
        if !is_it {
            self.release(self.tag.load(Acquire));
        }
        is_it
    }

    fn release(&self, tag: u64) {
        let one_less = |holders| Some(if holders == 1 { ENDING } else { holders - 1 });
        if self.holders.fetch_update(AcqRel, Acquire, one_less) != Ok(1) {
            return;
        }
        // Scopes opened within it that go on belong to the one around it.
        let parent = self.parent.load(Relaxed);
        for inner in &REGION.slots[..slots_used()] {
            let _ = inner.parent.compare_exchange(tag, parent, AcqRel, Relaxed);
        }
        self.tag.store(0, Release);
        self.holders.store(0, Release);
    }

    fn set_name(&self, name: &str) {
        let end = name.floor_char_boundary(NAME);
        let mut bytes = [0; NAME];
        bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
        for (word, chunk) in self.name.iter().zip(bytes.chunks_exact(8)) {
            let chunk = chunk.try_into().unwrap_or_default();
            word.store(u64::from_le_bytes(chunk), Relaxed);
        }
        self.name_bytes.store(end as u32, Relaxed);
    }

    fn name<'a>(&self, bytes: &'a mut [u8; NAME]) -> &'a str {
        for (word, chunk) in self.name.iter().zip(bytes.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&word.load(Relaxed).to_le_bytes());
        }
        let end = (self.name_bytes.load(Relaxed) as usize).min(NAME);
        str::from_utf8(&bytes[..end]).unwrap_or_default()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; NAME];
        let name = REGION.slots[tag::slot(self.tag)].name(&mut bytes);
        f.debug_struct("Scope").field("name", &name).finish()
    }
}

/// A thread is in a scope as long as this lives. It stays on its thread.
#[derive(Debug)]
#[must_use = "the scope is left when this is dropped"]
pub struct Entered<'a> {
    place: Option<usize>,
    // Not `Send`: what a thread enters, it leaves.
    _scope: PhantomData<(&'a Scope, *const ())>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            thread::leave(place);
        }
    }
}

/// A future that is polled and dropped within a scope. See [`Scope::wrap`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct InScope<F> {
    scope: Scope,
    /// Taken only by being dropped in its place.
    future: Option<F>,
}

impl<F: Future> Future for InScope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is pinned with `self`: it is not moved here, and `drop` ends it where it lies.
        let this = unsafe { self.get_unchecked_mut() };
        let _entered = this.scope.enter();
        match &mut this.future {
            // SAFETY: as above.
            Some(future) => unsafe { Pin::new_unchecked(future) }.poll(context),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for InScope<F> {
    fn drop(&mut self) {
        let _entered = self.scope.enter();
        self.future = None;
    }
}
