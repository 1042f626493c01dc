//! Bits at the price of their surprise: an adaptive binary arithmetic coder (Witten, Neal, Cleary 1987), carryless as in
//! Mahoney's lpaq, from the front of a batch, and bits that nothing is known about as they are, from its back.
//!
//! Whoever codes says how likely a bit is by a [`Chance`], which learns from each. Writer and reader run the same code over
//! [`Coder`]: the writer's gives back the bit it was given, the reader's the bit it found. So they cannot disagree.

/// What a bit has mostly been of late.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance {
    /// Of `true`, in 2^-16; never 0.
    of_true: u16,
    /// How many it has learnt from, as far as that matters.
    seen: u8,
}

/// How much a chance learns from the n-th bit, in 2^-16: 1 / (n + 1.5), as an average would, down to a thirty-second, so that
/// the past is forgotten.
const LEARNT: [i32; 32] = {
    let mut rates = [0; 32];
    let (mut n, mut divisor) = (0, 3);
    while n < rates.len() {
        rates[n] = (1 << 17) / divisor;
        (n, divisor) = (n + 1, divisor + 2);
    }
    rates
};

impl Chance {
    /// Nothing is known.
    pub(crate) const NEW: Self = Self {
        of_true: 1 << 15,
        seen: 0,
    };

    fn learn(&mut self, bit: bool) {
        let now = i32::from(self.of_true);
        let goal = if bit { 0xffff } else { 1 };
        let step = ((goal - now) * LEARNT[usize::from(self.seen & 31)]) >> 16;
        // Stays between 1 and 2^16 - 1: both goals do, and no step is longer than the way.
        self.of_true = (now + step) as u16;
        self.seen += u8::from(self.seen < 31);
    }
}

/// Writes bits, or reads them: then what it is given means nothing.
pub(crate) trait Coder {
    /// A bit with a chance, which learns from it.
    fn bit(&mut self, chance: &mut Chance, bit: bool) -> bool;
    /// The low `count` bits (at most 64) of something evenly spread; the others of it are 0.
    fn even(&mut self, bits: u64, count: u32) -> u64;
}

/// Where the interval that holds all that was coded is cut in two.
fn cut(low: u32, high: u32, chance: Chance) -> u32 {
    low + ((u64::from(high - low) * u64::from(chance.of_true)) >> 16) as u32
}

/// The first byte of both is the same: nothing can change it any more.
const fn is_settled(low: u32, high: u32) -> bool {
    (low ^ high) < 1 << 24
}

/// Writes bits, batch by batch.
#[derive(Debug)]
pub(crate) struct BitWriter {
    low: u32,
    high: u32,
    front: Vec<u8>,
    back: Vec<u8>,
    /// Bits for the back that are no byte yet.
    loose: u64,
    loose_count: u32,
}

impl BitWriter {
    pub(crate) const fn new() -> Self {
        Self {
            low: 0,
            high: u32::MAX,
            front: Vec::new(),
            back: Vec::new(),
            loose: 0,
            loose_count: 0,
        }
    }

    /// Appends all that was written to `out` and begins anew. Chances go on.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) {
        // As few bytes as keep the reader inside, whatever follows them.
        for bytes in 1..=4 {
            let free = 32 - 8 * bytes;
            let rest = ((1_u64 << free) - 1) as u32;
            let Some(first) = self.low.checked_add(rest).map(|v| v & !rest) else {
                continue;
            };
            if first | rest <= self.high {
                self.front
                    .extend_from_slice(&first.to_be_bytes()[..bytes as usize]);
                break;
            }
        }
        if self.loose_count > 0 {
            self.back.push(self.loose as u8);
        }
        out.append(&mut self.front);
        out.extend(self.back.iter().rev());
        self.back.clear();
        (self.low, self.high) = (0, u32::MAX);
        (self.loose, self.loose_count) = (0, 0);
    }

    fn few(&mut self, bits: u64, count: u32) {
        self.loose |= bits << self.loose_count;
        self.loose_count += count;
        while self.loose_count >= 8 {
            self.back.push(self.loose as u8);
            self.loose >>= 8;
            self.loose_count -= 8;
        }
    }
}

impl Coder for BitWriter {
    fn bit(&mut self, chance: &mut Chance, bit: bool) -> bool {
        let cut = cut(self.low, self.high, *chance);
        if bit {
            self.high = cut;
        } else {
            self.low = cut + 1;
        }
        chance.learn(bit);
        while is_settled(self.low, self.high) {
            self.front.push((self.high >> 24) as u8);
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
        }
        bit
    }

    fn even(&mut self, bits: u64, count: u32) -> u64 {
        let bits = bits & mask(count);
        if count <= 32 {
            self.few(bits, count);
        } else {
            self.few(bits & mask(32), 32);
            self.few(bits >> 32, count - 32);
        }
        bits
    }
}

/// Reads the bits of one batch. Bytes that are not there read as 0; [`BitReader::is_overdrawn`] tells.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    low: u32,
    high: u32,
    at: u32,
    /// Bytes taken from the front, with the four that are looked at ahead.
    front: usize,
    /// Bytes taken from the back.
    back: usize,
    loose: u64,
    loose_count: u32,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut reader = Self {
            bytes,
            low: 0,
            high: u32::MAX,
            at: 0,
            front: 0,
            back: 0,
            loose: 0,
            loose_count: 0,
        };
        for _ in 0..4 {
            reader.shift();
        }
        reader
    }

    /// Whether more was read than there is.
    pub(crate) const fn is_overdrawn(&self) -> bool {
        self.front.saturating_sub(4) + self.back > self.bytes.len()
    }

    fn shift(&mut self) {
        let byte = self.bytes.get(self.front).copied().unwrap_or(0);
        self.front += 1;
        self.at = self.at << 8 | u32::from(byte);
    }

    fn few(&mut self, count: u32) -> u64 {
        while self.loose_count < count {
            self.back += 1;
            let place = self.bytes.len().checked_sub(self.back);
            let byte = place.and_then(|i| self.bytes.get(i)).copied().unwrap_or(0);
            self.loose |= u64::from(byte) << self.loose_count;
            self.loose_count += 8;
        }
        let bits = self.loose & mask(count);
        self.loose >>= count;
        self.loose_count -= count;
        bits
    }
}

impl Coder for BitReader<'_> {
    fn bit(&mut self, chance: &mut Chance, _: bool) -> bool {
        let cut = cut(self.low, self.high, *chance);
        let bit = self.at <= cut;
        if bit {
            self.high = cut;
        } else {
            self.low = cut + 1;
        }
        chance.learn(bit);
        while is_settled(self.low, self.high) {
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
            self.shift();
        }
        bit
    }

    fn even(&mut self, _: u64, count: u32) -> u64 {
        if count <= 32 {
            return self.few(count);
        }
        let low = self.few(32);
        low | self.few(count - 32) << 32
    }
}

/// The low `count` bits.
const fn mask(count: u32) -> u64 {
    if count >= 64 {
        u64::MAX
    } else {
        (1 << count) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes likely, certain and even bits, in three batches; what came back.
    fn code(coder: &mut dyn Coder, chances: &mut [Chance; 3], state: &mut u64) -> Vec<(bool, u64)> {
        (0..2000_u32)
            .map(|i| {
                *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let bits = [
                    (*state >> 40).is_multiple_of(256),
                    true,
                    (*state >> 40).is_multiple_of(2),
                ];
                let which = (*state >> 60) as usize % 3;
                let bit = coder.bit(&mut chances[which], bits[which]);
                (bit, coder.even(*state, i % 65))
            })
            .collect()
    }

    #[test]
    fn what_is_likely_costs_little_and_all_reads_back_batch_by_batch() {
        let (mut writer, mut chances) = (BitWriter::new(), [Chance::NEW; 3]);
        let (mut state, mut batches) = (7, Vec::new());
        for _ in 0..3 {
            let start = state;
            let given = code(&mut writer, &mut chances, &mut state);
            let mut bytes = Vec::new();
            writer.end(&mut bytes);
            batches.push((start, given, bytes));
        }
        let mut chances = [Chance::NEW; 3];
        for (start, given, bytes) in batches {
            let mut reader = BitReader::new(&bytes);
            // The decisions are driven by what was given; what the reader is given as bits means nothing.
            let mut state = start;
            let got = code(&mut Blind(&mut reader), &mut chances, &mut state);
            assert_eq!(got, given);
            assert!(!reader.is_overdrawn());
            let even: usize = (0..2000).map(|i| i % 65).sum();
            // A third of the bits is even, the others cost next to nothing.
            assert!((bytes.len() - even / 8) * 8 < 900, "{}", bytes.len());
        }
    }

    /// Keeps from the reader what the test knows.
    struct Blind<'a, 'b>(&'a mut BitReader<'b>);

    impl Coder for Blind<'_, '_> {
        fn bit(&mut self, chance: &mut Chance, _: bool) -> bool {
            self.0.bit(chance, false)
        }
        fn even(&mut self, _: u64, count: u32) -> u64 {
            self.0.even(0, count)
        }
    }

    #[test]
    fn reading_past_the_end_is_told_and_gives_something() {
        let mut reader = BitReader::new(&[]);
        assert!(!reader.is_overdrawn());
        assert_eq!(reader.even(u64::MAX, 64), 0);
        assert!(reader.is_overdrawn());
        let mut reader = BitReader::new(&[1]);
        for _ in 0..64 {
            reader.bit(&mut Chance::NEW.clone(), false);
        }
        assert!(reader.is_overdrawn());
    }
}
