//! One series as it is written: what of each value was not to be expected.
//!
//! Values mostly stay, move as the series to their left in the row does (resident memory and its anonymous part), or are the
//! value just before (a heap after its collection, told twice). Which of these a series does is learnt from its past, as are the
//! lengths of what is left over, so nothing has to say it and a batch of a second is as cheap as one of an hour.

use crate::coder::{Chance, Coder};
use crate::column::{POWERS, as_integral, as_scaled};

/// Lengths up to this have a chance for each of their bits.
const SHORT: u32 = 4;
/// So many differences are looked at for a power of two that all are multiples of.
const LOOKED_AT: u8 = 16;
/// A number of this length or more is written as it is.
const LONGEST: u32 = 63;

/// Whole numbers, mostly small, of a kind.
#[derive(Debug, Clone)]
pub(crate) struct Number {
    negative: Chance,
    /// A tree over the bits of the length.
    length: [Chance; 64],
    /// The bits of short numbers, by the bits before them; and the second bit of all others, by their length.
    short: [[Chance; 1 << (SHORT - 1)]; SHORT as usize + 1],
    second: [Chance; 64],
}

impl Number {
    pub(crate) const NEW: Self = Self {
        negative: Chance::NEW,
        length: [Chance::NEW; 64],
        short: [[Chance::NEW; 1 << (SHORT - 1)]; SHORT as usize + 1],
        second: [Chance::NEW; 64],
    };

    /// A number of either sign.
    pub(crate) fn signed(&mut self, coder: &mut impl Coder, value: i64) -> i64 {
        let size = self.unsigned(coder, value.unsigned_abs());
        let negative = size != 0 && coder.bit(&mut self.negative, value < 0);
        let size = size.cast_signed();
        if negative { size.wrapping_neg() } else { size }
    }

    /// A number without a sign.
    pub(crate) fn unsigned(&mut self, coder: &mut impl Coder, value: u64) -> u64 {
        let length = self.length_of(coder, (64 - value.leading_zeros()).min(LONGEST));
        if length == LONGEST {
            return coder.even(value, 64);
        }
        if length < 2 {
            return u64::from(length);
        }
        let mut bits = 1;
        let mut left = length - 1;
        let bit_at = |place: u32| value >> place & 1 == 1;
        if length <= SHORT {
            while left > 0 {
                left -= 1;
                let chance = &mut self.short[length as usize][bits as usize];
                bits = bits << 1 | u64::from(coder.bit(chance, bit_at(left)));
            }
            return bits;
        }
        left -= 1;
        let chance = &mut self.second[length as usize];
        bits = bits << 1 | u64::from(coder.bit(chance, bit_at(left)));
        bits << left | coder.even(value, left)
    }

    fn length_of(&mut self, coder: &mut impl Coder, length: u32) -> u32 {
        let mut node = 1;
        for place in (0..6).rev() {
            let bit = coder.bit(&mut self.length[node], length >> place & 1 == 1);
            node = node << 1 | usize::from(bit);
        }
        node as u32 & 63
    }
}

/// How values are numbers. What two neighbours have in common decides, so it is mostly the same for a whole series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Whole numbers of at most 53 bits (0), or such numbers divided by a power of ten.
    Decimal(u8),
    /// Anything: by its bits.
    Bits,
}

impl Form {
    /// The number that stands for a value, if it has this form.
    fn number(self, value: f64) -> Option<i64> {
        match self {
            Self::Decimal(0) => as_integral(value),
            Self::Decimal(power) => as_scaled(value, POWERS[usize::from(power)]),
            Self::Bits => {
                let plain = as_integral(value).is_some();
                (!plain).then_some(value.to_bits().cast_signed())
            }
        }
    }

    fn value(self, number: i64) -> f64 {
        match self {
            Self::Decimal(power) => number as f64 / POWERS[usize::from(power)],
            Self::Bits => f64::from_bits(number.cast_unsigned()),
        }
    }

    /// The simplest that a value has.
    fn of(value: f64) -> Self {
        (0..POWERS.len() as u8)
            .map(Self::Decimal)
            .find(|form| form.number(value).is_some())
            .unwrap_or(Self::Bits)
    }

    const fn code(self) -> u64 {
        match self {
            Self::Decimal(power) => power as u64,
            Self::Bits => 15,
        }
    }

    fn coded(code: u64) -> Self {
        match u8::try_from(code) {
            Ok(power) if usize::from(power) < POWERS.len() => Self::Decimal(power),
            _ => Self::Bits,
        }
    }
}

/// The value that was written just before, of whatever series.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Neighbour {
    number: i64,
    /// By how much it differs from the one before of its own series.
    change: i64,
}

/// The past of one series.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    value: f64,
    number: i64,
    form: Form,
    /// Differences are mostly multiples of this power of two (pages, words).
    shift: u8,
    /// The differences looked at for that, or-ed, and how many.
    looked: (i64, u8),
    /// How many bits each expectation was off by of late, in eighths.
    off: [u32; 3],
    /// By whether it stayed the last two times, and whether its neighbour did.
    stays: [Chance; 8],
    stayed: usize,
    has_form: Chance,
    is_multiple: Chance,
    surprise: Number,
}

impl Past {
    pub(crate) const NEW: Self = Self {
        value: 0.0,
        number: 0,
        form: Form::Decimal(0),
        shift: 0,
        looked: (0, 0),
        off: [0; 3],
        stays: [Chance::NEW; 8],
        stayed: 0,
        has_form: Chance::NEW,
        is_multiple: Chance::NEW,
        surprise: Number::NEW,
    };

    /// Writes or reads the next value, which is given back; `left` becomes it.
    pub(crate) fn value(
        &mut self,
        coder: &mut impl Coder,
        value: f64,
        left: &mut Neighbour,
    ) -> f64 {
        let context = self.stayed << 1 | usize::from(left.change == 0);
        let stays = coder.bit(
            &mut self.stays[context],
            value.to_bits() == self.value.to_bits(),
        );
        self.stayed = (self.stayed << 1 | usize::from(stays)) & 3;
        let before = self.number;
        if !stays {
            self.changed(coder, value, *left);
        }
        *left = Neighbour {
            number: self.number,
            change: self.number.wrapping_sub(before),
        };
        self.value
    }

    fn changed(&mut self, coder: &mut impl Coder, value: f64, left: Neighbour) {
        let number = self.form.number(value);
        if !coder.bit(&mut self.has_form, number.is_some()) {
            self.form = Form::coded(coder.even(Form::of(value).code(), 4));
            self.number = self.form.number(self.value).unwrap_or(0);
        }
        if self.form == Form::Bits {
            // Neighbours share sign, exponent and the first digits: what differs is a small number.
            let before = self.value.to_bits();
            let differs = self.surprise.unsigned(coder, value.to_bits() ^ before);
            self.value = f64::from_bits(before ^ differs);
            self.number = self.value.to_bits().cast_signed();
            return;
        }
        let number = self.form.number(value).unwrap_or(0);
        let expected = [
            self.number,
            self.number.wrapping_add(left.change),
            left.number,
        ];
        let mut best = 0;
        for other in 1..expected.len() {
            if self.off[other] < self.off[best] {
                best = other;
            }
        }
        let surprise = self.difference(coder, number.wrapping_sub(expected[best]));
        self.number = expected[best].wrapping_add(surprise);
        self.value = self.form.value(self.number);
        for (off, expected) in self.off.iter_mut().zip(expected) {
            let difference = self.number.wrapping_sub(expected).unsigned_abs();
            *off += 64 - difference.leading_zeros();
            *off -= *off / 8;
        }
    }

    /// A difference, without the zeros at its end that all have.
    fn difference(&mut self, coder: &mut impl Coder, difference: i64) -> i64 {
        if self.shift > 0 {
            let is_multiple = difference.trailing_zeros() >= u32::from(self.shift);
            if !coder.bit(&mut self.is_multiple, is_multiple) {
                self.shift = 0;
            }
        }
        let difference = self.surprise.signed(coder, difference >> self.shift) << self.shift;
        let (bits, count) = self.looked;
        self.looked = (bits | difference, count + 1);
        if self.looked.1 == LOOKED_AT {
            self.shift = (self.looked.0.trailing_zeros() as u8).min(32);
            self.looked = (0, 0);
        }
        difference
    }
}
