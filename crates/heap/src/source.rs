//! Files and streams, compressed or not, as chunks.

use std::fs::File;
use std::io::{self, BufReader, Read};

use crate::error::{Error, Result};

/// How much is handed to the parser at once, and how often read pages of a map are given back.
pub(crate) const CHUNK: usize = 1 << 20;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Reads `reader` to its end, decompressing gzip and zstd, which are told by their first bytes.
pub(crate) fn stream(
    mut reader: impl Read,
    take: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut head = [0; 4];
    let mut length = 0;
    while length < head.len() {
        match reader.read(&mut head[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let head = &head[..length];
    let whole = head.chain(reader);
    if head.starts_with(&GZIP) {
        chunks(
            flate2::bufread::MultiGzDecoder::new(BufReader::new(whole)),
            take,
        )
    } else if head == ZSTD {
        chunks(zstd::stream::read::Decoder::new(whole)?, take)
    } else {
        chunks(whole, take)
    }
}

fn chunks(mut reader: impl Read, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => take(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Io(error)),
        }
    }
}

/// As [`stream`], for a file.
pub(crate) fn stream_file(file: &File, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    stream(file, take)
}

/// Whether a file can be mapped: a regular file that is not compressed.
pub(crate) fn is_plain(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    let mut head = [0; 4];
    let length = file.read_at(&mut head, 0)?;
    Ok(!head[..length].starts_with(&GZIP) && head[..length] != ZSTD && length > 0)
}
