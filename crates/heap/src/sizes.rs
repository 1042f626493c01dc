//! Bytes per node in four bytes each, with room for the few that need more.

use rustc_hash::FxHashMap;

/// Stands for "look in `large`".
const LARGE: u32 = u32::MAX;

/// A column of sizes. Almost all are below 4 GiB, so eight bytes each would be half wasted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sizes {
    small: Vec<u32>,
    large: FxHashMap<u32, u64>,
}

impl Sizes {
    pub(crate) fn reserve(&mut self, count: usize) -> bool {
        self.small.try_reserve_exact(count).is_ok()
    }

    pub(crate) fn len(&self) -> usize {
        self.small.len()
    }

    pub(crate) fn push(&mut self, size: u64) {
        let index = self.small.len() as u32;
        self.small.push(0);
        self.set(index, size);
    }

    pub(crate) fn get(&self, index: u32) -> u64 {
        match self.small[index as usize] {
            LARGE => self.large.get(&index).copied().unwrap_or(u64::from(LARGE)),
            small => u64::from(small),
        }
    }

    pub(crate) fn set(&mut self, index: u32, size: u64) {
        self.small[index as usize] = match u32::try_from(size) {
            Ok(small) if small != LARGE => small,
            _ => {
                self.large.insert(index, size);
                LARGE
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::Sizes;

    #[test]
    fn sizes_around_four_gibibytes_read_back() {
        let values = [0, 1, u64::from(u32::MAX) - 1, u64::from(u32::MAX), 1 << 40];
        let mut sizes = Sizes::default();
        for value in values {
            sizes.push(value);
        }
        for (index, value) in values.into_iter().enumerate() {
            assert_eq!(sizes.get(index as u32), value);
        }
        sizes.set(4, 7);
        assert_eq!(sizes.get(4), 7);
    }
}
