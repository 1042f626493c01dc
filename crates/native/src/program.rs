//! One file with code in it.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

use addr2line::Loader;
use object::read::ReadCache;
use object::{Object as _, ObjectSegment as _};

use crate::Frame;

/// A file with code, opened.
pub(crate) struct Program {
    loader: Loader,
    /// Parts of the file and the addresses they were linked for: first byte, length, address.
    segments: Vec<(u64, u64, u64)>,
}

impl Program {
    /// `None` if it cannot be read, or is nothing of the kind.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        // The segments alone: the rest is mapped by the loader as it is needed.
        let cache = ReadCache::new(File::open(path).ok()?);
        let file = object::File::parse(&cache).ok()?;
        let segments = file.segments().map(|segment| {
            let (first, length) = segment.file_range();
            (first, length, segment.address())
        });
        let segments = segments.collect();
        Some(Self {
            loader: Loader::new(path).ok()?,
            segments,
        })
    }

    /// The lines at a byte of the file, innermost first.
    pub(crate) fn frames(&self, in_file: u64) -> Vec<Frame> {
        let address = self.segments.iter().find_map(|(first, length, address)| {
            let within = in_file.checked_sub(*first).filter(|at| at < length)?;
            Some(address + within)
        });
        let Some(address) = address else {
            return Vec::new();
        };
        let mut frames = self.with_lines(address);
        if frames.iter().all(|frame| frame.function.is_empty()) {
            let symbol = self.loader.find_symbol(address);
            let name = symbol.map(|name| addr2line::demangle_auto(name.into(), None).into_owned());
            match (name, frames.last_mut()) {
                (Some(name), Some(last)) => last.function = name,
                (Some(function), None) => frames.push(Frame {
                    function,
                    file: None,
                    line: None,
                }),
                (None, _) => {}
            }
        }
        frames.retain(|frame| !frame.function.is_empty() || frame.file.is_some());
        frames
    }

    /// As debug information tells them.
    fn with_lines(&self, address: u64) -> Vec<Frame> {
        let mut frames = Vec::new();
        let Ok(mut found) = self.loader.find_frames(address) else {
            return frames;
        };
        while let Ok(Some(frame)) = found.next() {
            let name = frame
                .function
                .as_ref()
                .and_then(|name| name.demangle().ok());
            let location = frame.location;
            frames.push(Frame {
                function: name.map(Cow::into_owned).unwrap_or_default(),
                file: location.as_ref().and_then(|at| at.file).map(str::to_owned),
                line: location.and_then(|at| at.line),
            });
        }
        frames
    }
}
