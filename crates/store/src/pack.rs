//! One zstd stream through a whole log, cut at every batch.
//!
//! A batch of a second holds a hundred or two readings: packed by itself it would be half headers, and could not point back
//! to the one before, which looks much the same. What is unpacked is bounded whatever the bytes say.

use std::io::{Error, ErrorKind, Result};

use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

/// Fast, and measured to be within a few percent of the size of the slow levels on such columns.
const LEVEL: i32 = 3;
/// How far back a batch may point: 128 KiB, some minutes.
const WINDOW_LOG: u32 = 17;
/// How far a reader follows: 1 MiB.
const LONGEST_WINDOW_LOG: u32 = 20;

/// Packs batches, each on top of those before it.
pub(crate) struct Packer(Encoder<'static>);

impl Packer {
    pub(crate) fn try_new() -> Result<Self> {
        let mut encoder = Encoder::new(LEVEL)?;
        encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
        Ok(Self(encoder))
    }

    /// Appends the packed batch to `out`, so that a reader gets all of it from what has been written until then.
    pub(crate) fn pack(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut input = InBuffer::around(raw);
        let mut chunk = [0_u8; 8192];
        loop {
            let fed = input.pos() == raw.len();
            let mut output = OutBuffer::around(&mut chunk[..]);
            let left = if fed {
                self.0.flush(&mut output)?
            } else {
                self.0.run(&mut input, &mut output)?;
                1
            };
            out.extend_from_slice(output.as_slice());
            if fed && left == 0 {
                return Ok(());
            }
        }
    }
}

/// Unpacks batches in the order in which they were packed. Also reads batches that were each packed by themselves.
pub(crate) struct Unpacker(Decoder<'static>);

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unpacker")
    }
}

impl Unpacker {
    pub(crate) fn try_new() -> Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(LONGEST_WINDOW_LOG))?;
        Ok(Self(decoder))
    }

    /// The batch, which must be of exactly `length` bytes.
    pub(crate) fn unpack(&mut self, packed: &[u8], length: usize) -> Result<Vec<u8>> {
        let wrong = || Error::from(ErrorKind::InvalidData);
        let mut raw = vec![0; length];
        let mut input = InBuffer::around(packed);
        let mut filled = 0;
        loop {
            let (before, at) = (input.pos(), filled);
            let mut output = OutBuffer::around(&mut raw[filled..]);
            self.0.run(&mut input, &mut output)?;
            filled += output.pos();
            if input.pos() == packed.len() && filled == length {
                // More may wait within than was said to be there.
                let mut spare = [0_u8; 1];
                let mut more = OutBuffer::around(&mut spare[..]);
                self.0.run(&mut InBuffer::around(&[]), &mut more)?;
                return if more.pos() == 0 {
                    Ok(raw)
                } else {
                    Err(wrong())
                };
            }
            // No step forward: more was packed than was said, or less.
            if (input.pos(), filled) == (before, at) {
                return Err(wrong());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_unpack_one_by_one_and_help_each_other() {
        let mut packer = Packer::try_new().unwrap();
        let mut unpacker = Unpacker::try_new().unwrap();
        let mut sizes = Vec::new();
        for i in 0..50_u32 {
            // No repetition within, much of it from batch to batch.
            let raw: Vec<u8> = (0..200_u32)
                .map(|j| (j.wrapping_mul(2_654_435_761) >> 24) as u8 ^ u8::from(j == i))
                .collect();
            let mut packed = Vec::new();
            packer.pack(&raw, &mut packed).unwrap();
            sizes.push(packed.len());
            assert_eq!(unpacker.unpack(&packed, raw.len()).unwrap(), raw);
        }
        assert!(sizes[0] > 150 && sizes[49] < 40, "{sizes:?}");
    }

    #[test]
    fn a_batch_larger_than_all_buffers_and_an_empty_one_are_batches() {
        let mut packer = Packer::try_new().unwrap();
        let mut unpacker = Unpacker::try_new().unwrap();
        let mut state = 1_u32;
        for length in [0, 1, 1 << 20, 0, 7] {
            let raw: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            let mut packed = Vec::new();
            packer.pack(&raw, &mut packed).unwrap();
            assert!(unpacker.unpack(&packed, raw.len()).unwrap() == raw);
        }
    }

    #[test]
    fn a_length_that_is_not_that_of_the_batch_is_refused() {
        for said in [0, 3, 5, 1 << 20] {
            let mut packed = Vec::new();
            Packer::try_new()
                .unwrap()
                .pack(b"four", &mut packed)
                .unwrap();
            let unpacked = Unpacker::try_new().unwrap().unpack(&packed, said);
            assert!(unpacked.is_err(), "{said}");
        }
    }
}
