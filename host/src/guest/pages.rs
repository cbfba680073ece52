//! Which pages of a memory are its own: asked of the kernel, which knows each page that was ever written to (PAGEMAP_SCAN,
//! Linux 6.7).
//!
//! A page of a private mapping is the mapping's own from the first write on. Before that it is nowhere, or the kernel's page
//! of zeros, or a page of the file behind the mapping: then it has what it started with.

use std::ops::Range;

/// Calls `each` with all parts of `memory`, in bytes from its start and in order, that may have been written to since it was
/// mapped; with none twice. Bytes outside them are as they were.
///
/// # Errors
/// When the kernel cannot tell, or these parts have more than `bytes_max` bytes: then some are missing.
#[cfg(target_os = "linux")]
pub(super) fn written(
    memory: &[u8],
    bytes_max: usize,
    mut each: impl FnMut(Range<usize>),
) -> std::io::Result<()> {
    let pagemap = pagemap::file()?;
    let base = memory.as_ptr().addr();
    let (mut at, end) = (base, base + memory.len());
    let mut bytes = 0;
    while at < end {
        let mut regions = [pagemap::Region::default(); pagemap::REGIONS];
        let (count, walked_to) = pagemap::scan(pagemap, at..end, &mut regions)?;
        for region in &regions[..count] {
            let part = region.range();
            // What the kernel says is never taken for more than was asked.
            if part.start < at || part.end > end || part.is_empty() {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            at = part.end;
            bytes += part.len();
            if bytes > bytes_max {
                return Err(std::io::ErrorKind::FileTooLarge.into());
            }
            each(part.start - base..part.end - base);
        }
        // It stops early only when there is no room for more regions.
        at = if count == regions.len() { at } else { walked_to };
        if count < regions.len() && at < end {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Whether the kernel tells.
///
/// # Errors
/// When it does not, or not this process.
pub fn pages_are_told() -> std::io::Result<()> {
    // Of the largest page that there is, at an address that every page can begin at.
    const PAGE: usize = 64 << 10;
    let memory = vec![1_u8; 2 * PAGE];
    let start = memory.as_ptr().align_offset(PAGE).min(PAGE);
    written(&memory[start..start + PAGE], PAGE, |_| {})
}

/// As on Linux, where it is always an error.
#[cfg(not(target_os = "linux"))]
pub(super) fn written(_: &[u8], _: usize, _: impl FnMut(Range<usize>)) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// The call: `Documentation/admin-guide/mm/pagemap.rst` and `include/uapi/linux/fs.h` of Linux.
#[cfg(target_os = "linux")]
mod pagemap {
    use std::ffi::c_void;
    use std::fs::File;
    use std::io;
    use std::marker::PhantomData;
    use std::ops::Range;
    use std::sync::LazyLock;

    use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

    /// Regions of one call; for more of them it is called again.
    pub(super) const REGIONS: usize = 32;

    const PAGE_IS_FILE: u64 = 1 << 2;
    const PAGE_IS_PRESENT: u64 = 1 << 3;
    /// In swap, or on its way to another place in memory.
    const PAGE_IS_SWAPPED: u64 = 1 << 4;
    /// The kernel's page of zeros.
    const PAGE_IS_PFNZERO: u64 = 1 << 5;

    /// `struct page_region`.
    #[derive(Clone, Copy, Default)]
    #[repr(C)]
    pub(super) struct Region {
        start: u64,
        end: u64,
        categories: u64,
    }

    impl Region {
        /// Addresses.
        pub(super) fn range(self) -> Range<usize> {
            self.start as usize..self.end as usize
        }
    }

    /// `struct pm_scan_arg`.
    #[repr(C)]
    struct Argument {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        vec: u64,
        vec_len: u64,
        max_pages: u64,
        category_inverted: u64,
        category_mask: u64,
        category_anyof_mask: u64,
        return_mask: u64,
    }

    /// One call, which writes to the regions that it borrows.
    struct Scan<'r> {
        argument: Argument,
        regions: PhantomData<&'r mut [Region]>,
    }

    // SAFETY: `opcode` is that of PAGEMAP_SCAN, _IOWR('f', 16, struct pm_scan_arg), whose argument `as_ptr` points to; its layout is
    // the kernel's. The kernel writes to `walk_end` in there, and to at most `vec_len` regions at `vec`, which `scan` borrows
    // mutably for as long as this lives. Without flags (PM_SCAN_WP_MATCHING) it changes nothing else.
    #[expect(unsafe_code, reason = "rustix wants a promise that the kernel gets what it expects")]
    unsafe impl Ioctl for Scan<'_> {
        /// Regions found, and where the kernel has stopped.
        type Output = (usize, usize);

        const IS_MUTATING: bool = true;

        fn opcode(&self) -> Opcode {
            opcode::read_write::<Argument>(b'f', 16)
        }

        fn as_ptr(&mut self) -> *mut c_void {
            (&raw mut self.argument).cast()
        }

        unsafe fn output_from_ptr(
            output: IoctlOutput,
            argument: *mut c_void,
        ) -> rustix::io::Result<Self::Output> {
            // SAFETY: it is what `as_ptr` gave, after a call that has succeeded.
            let walk_end = unsafe { (*argument.cast::<Argument>()).walk_end };
            let count = usize::try_from(output).map_err(|_| rustix::io::Errno::RANGE)?;
            Ok((count, walk_end as usize))
        }
    }

    /// What this process's memory is asked about. It has no children that go on without `exec`.
    pub(super) fn file() -> io::Result<&'static File> {
        static FILE: LazyLock<Option<File>> = LazyLock::new(|| File::open("/proc/self/pagemap").ok());
        FILE.as_ref().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// The parts of a range of addresses that are pages of their own, and where it has stopped looking.
    pub(super) fn scan(
        pagemap: &File,
        range: Range<usize>,
        regions: &mut [Region],
    ) -> io::Result<(usize, usize)> {
        let argument = Argument {
            size: size_of::<Argument>() as u64,
            flags: 0,
            start: range.start as u64,
            end: range.end as u64,
            walk_end: 0,
            vec: regions.as_mut_ptr().addr() as u64,
            vec_len: regions.len() as u64,
            max_pages: 0,
            // Neither of the file nor the page of zeros (inverted), and somewhere. A page that is not present but swapped, or
            // being moved just now, has been written to like any other.
            category_inverted: PAGE_IS_FILE | PAGE_IS_PFNZERO,
            category_mask: PAGE_IS_FILE | PAGE_IS_PFNZERO,
            category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            // Nothing of them is told apart, so that neighbours are one region.
            return_mask: 0,
        };
        let count_max = regions.len();
        let scan = Scan { argument, regions: PhantomData };
        // SAFETY: the descriptor is /proc/self/pagemap, which knows this call or refuses it, and `scan` keeps what `Ioctl` asks
        // for. The range is only looked at: whatever is in it, and whoever uses it, is not touched.
        #[expect(unsafe_code, reason = "asking the kernel is a call to it")]
        let (count, walked_to) = unsafe { ioctl(pagemap, scan)? };
        if count > count_max {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok((count, walked_to))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    fn found(memory: &[u8], bytes_max: usize) -> std::io::Result<Vec<Range<usize>>> {
        let mut found = Vec::new();
        written(memory, bytes_max, |part| found.push(part)).map(|()| found)
    }

    /// So many pages at an address that begins one, of which none was touched.
    fn fresh(pages: usize) -> Vec<u8> {
        // Large enough for the allocator to ask the kernel for it.
        vec![0; (pages + 2) * PAGE + (64 << 20)]
    }

    fn aligned(memory: &mut [u8], pages: usize) -> &mut [u8] {
        let skipped = memory.as_ptr().align_offset(64 << 10);
        &mut memory[skipped..][..pages * PAGE]
    }

    #[test]
    fn each_page_that_is_written_to_is_found_however_many() {
        let mut memory = fresh(1_000);
        let memory = aligned(&mut memory, 1_000);
        assert!(found(memory, usize::MAX).unwrap().is_empty());
        assert!(memory.iter().all(|&byte| byte == 0));
        assert!(found(memory, usize::MAX).unwrap().is_empty(), "reading is not writing");
        let mut expected = Vec::new();
        for page in (1..1_000).step_by(3) {
            memory[page * PAGE + page] = 1;
            expected.push(page * PAGE..(page + 1) * PAGE);
            if page % 100 == 1 || page > 900 {
                assert_eq!(found(memory, usize::MAX).unwrap(), expected);
            }
        }
        memory[2 * PAGE] = 1;
        expected[0].end += PAGE;
        assert_eq!(found(memory, usize::MAX).unwrap(), expected);
        // Writing what is there already is writing, too; and there is no going back.
        memory[3 * PAGE] = 0;
        expected[0].end += PAGE;
        let second = expected.remove(1);
        expected[0].end = second.end;
        assert_eq!(found(memory, usize::MAX).unwrap(), expected);
    }

    #[test]
    fn too_many_are_an_error() {
        let mut memory = fresh(100);
        let memory = aligned(&mut memory, 100);
        memory[..40 * PAGE].fill(1);
        memory[60 * PAGE..70 * PAGE].fill(1);
        assert_eq!(found(memory, 50 * PAGE).unwrap().len(), 2);
        assert!(found(memory, 50 * PAGE - 1).is_err());
        assert!(found(memory, 0).is_err());
    }
}
