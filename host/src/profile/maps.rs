//! The files that this process has its own code from, and how frames of that code are unwound.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use framehop::{ExplicitModuleSectionInfo, Module};
use object::read::ReadCache;
use object::{Object as _, ObjectSection as _, ObjectSegment as _};

/// The program, or a library that it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) path: PathBuf,
    /// All of it that is in memory.
    pub(super) addresses: Range<u64>,
    /// The offset in the file of what is at the beginning of `addresses`.
    offset: u64,
}

/// All of them, by address.
pub(super) fn mapped() -> Vec<Mapped> {
    std::fs::read_to_string("/proc/self/maps").map(|maps| parse(&maps)).unwrap_or_default()
}

/// What proc(5) says of `/proc/PID/maps`: files some of whose pages may be executed.
fn parse(maps: &str) -> Vec<Mapped> {
    let mut all: Vec<(Mapped, bool)> = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(range), Some(rights), Some(offset)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let Some(path) = line.find('/').map(|at| Path::new(&line[at..])) else { continue };
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let Some((start, end)) = range.split_once('-').and_then(|(from, to)| hex(from).zip(hex(to))) else {
            continue;
        };
        let runs = rights.contains('x');
        match all.last_mut() {
            Some((last, last_runs)) if last.path == path => {
                last.addresses.end = end;
                *last_runs |= runs;
            }
            _ => {
                let offset = hex(offset).unwrap_or_default();
                all.push((Mapped { path: path.to_owned(), addresses: start..end, offset }, runs));
            }
        }
    }
    all.into_iter().filter(|(_, runs)| *runs).map(|(mapped, _)| mapped).collect()
}

impl Mapped {
    /// What its frames are unwound by; none when the file says nothing of that, or is not there any more.
    pub(super) fn module(&self) -> Option<Module<Vec<u8>>> {
        // The file may have been replaced, but not under this name.
        let is_program = std::env::current_exe().is_ok_and(|program| program == self.path);
        let file = File::open(if is_program { Path::new("/proc/self/exe") } else { &self.path }).ok()?;
        let cache = ReadCache::new(file);
        let object = object::File::parse(&cache).ok()?;
        // Addresses in the file are told by its segments.
        let segment = object.segments().find(|segment| segment.file_range().0 == self.offset)?;
        let base = self.addresses.start.wrapping_sub(segment.address());
        let part = |name: &str| {
            let section = object.section_by_name(name)?;
            let range = section.address()..section.address() + section.size();
            Some((range, section.data().ok()?.to_vec()))
        };
        let (eh_frame_svma, eh_frame) = part(".eh_frame").unzip();
        let (eh_frame_hdr_svma, eh_frame_hdr) = part(".eh_frame_hdr").unzip();
        let address = |name: &str| part(name).map(|(range, _)| range);
        let sections = ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: address(".text"),
            got_svma: address(".got"),
            eh_frame_svma,
            eh_frame,
            eh_frame_hdr_svma,
            eh_frame_hdr,
            ..Default::default()
        };
        Some(Module::new(self.path.display().to_string(), self.addresses.clone(), base, sections))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_code_are_found() {
        let maps = "\
55d0c0000000-55d0c0001000 r--p 00000000 08:01 7 /usr/bin/wasmux
55d0c0001000-55d0c0003000 r-xp 00001000 08:01 7 /usr/bin/wasmux
7f00a0000000-7f00a0010000 rw-p 00000000 00:00 0
7f00b0000000-7f00b0001000 r--p 00000000 08:01 9 /usr/share/data with spaces
7fff00000000-7fff00001000 r-xp 00000000 00:00 0 [vdso]
";
        let expected = Mapped {
            path: "/usr/bin/wasmux".into(),
            addresses: 0x55d0_c000_0000..0x55d0_c000_3000,
            offset: 0,
        };
        assert_eq!(parse(maps), [expected]);
    }

    #[test]
    fn this_program_can_be_unwound() {
        let here = files_with_code_are_found as *const () as u64;
        let own = mapped().into_iter().find(|mapped| mapped.addresses.contains(&here)).unwrap();
        assert!(own.module().is_some(), "{own:?}");
    }
}
