//! One bit per node, edge or string.

/// A fixed number of bits, all zero at first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(crate) fn new(length: usize) -> Self {
        Self {
            words: vec![0; length.div_ceil(64)],
        }
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        let index = index as usize;
        self.words
            .get(index / 64)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Sets a bit below the length it was made with.
    pub(crate) fn insert(&mut self, index: u32) {
        let index = index as usize;
        self.words[index / 64] |= 1 << (index % 64);
    }

    /// Sets any bit; bits beyond the length so far are made.
    pub(crate) fn insert_anywhere(&mut self, index: u32) {
        let word = index as usize / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.insert(index);
    }

    pub(crate) fn remove(&mut self, index: u32) {
        let index = index as usize;
        self.words[index / 64] &= !(1 << (index % 64));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }
}
