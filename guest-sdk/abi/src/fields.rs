//! Field blocks (ABI.md section 3.2): header, trailer and path-value lists.
//!
//! Invariant: what [`FieldsWriter`] writes, [`fields()`] reads back, and any other bytes end in [`Malformed`],
//! never in a panic or a read out of bounds.

/// A field block whose lengths do not add up to its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Bytes that a block of these fields takes.
pub fn fields_size<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> usize {
    4 + fields.map(|(name, value)| 8 + name.len() + value.len()).sum::<usize>()
}

/// Iterates over the fields of a block, names and values as they stand.
///
/// # Errors
/// [`Malformed`] when any length inside is wrong; the whole block is checked before the first field is given out.
pub fn fields(block: &[u8]) -> Result<FieldIter<'_>, Malformed> {
    if block.is_empty() {
        return Ok(FieldIter { rest: block, count: 0 });
    }
    let (count, rest) = take_u32(block).ok_or(Malformed)?;
    let checked = FieldIter { rest, count };
    let mut probe = checked.clone();
    for _ in 0..count {
        probe.take_field().ok_or(Malformed)?;
    }
    if probe.rest.is_empty() { Ok(checked) } else { Err(Malformed) }
}

/// See [`fields()`].
#[derive(Clone, Debug)]
pub struct FieldIter<'a> {
    rest: &'a [u8],
    count: u32,
}

impl<'a> FieldIter<'a> {
    fn take_field(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let (name_len, rest) = take_u32(self.rest)?;
        let (value_len, rest) = take_u32(rest)?;
        let (name, rest) = rest.split_at_checked(usize::try_from(name_len).ok()?)?;
        let (value, rest) = rest.split_at_checked(usize::try_from(value_len).ok()?)?;
        self.rest = rest;
        Some((name, value))
    }
}

impl<'a> Iterator for FieldIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        self.take_field()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count as usize, Some(self.count as usize))
    }
}

impl ExactSizeIterator for FieldIter<'_> {}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number), rest))
}

/// Writes a field block into a buffer that is known to be large enough (see [`fields_size`]).
#[derive(Debug)]
pub struct FieldsWriter<'b> {
    out: &'b mut [u8],
    at: usize,
    count: u32,
}

impl<'b> FieldsWriter<'b> {
    /// Starts a block at the front of `out`.
    ///
    /// # Panics
    /// This and [`Self::push`] panic when `out` is too short, which is the caller's miscount.
    pub fn new(out: &'b mut [u8]) -> Self {
        out[..4].fill(0);
        Self { out, at: 4, count: 0 }
    }

    /// Appends one field.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.put(&(name.len() as u32).to_le_bytes());
        self.put(&(value.len() as u32).to_le_bytes());
        self.put(name);
        self.put(value);
        self.count += 1;
        self.out[..4].copy_from_slice(&self.count.to_le_bytes());
    }

    /// Bytes written so far: the block is complete after every call.
    #[must_use]
    pub fn len(&self) -> usize {
        self.at
    }

    /// Whether no field was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    fn block(list: &[(&str, &str)]) -> Vec<u8> {
        let pairs = || list.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        let mut out = vec![0xff; fields_size(pairs())];
        let mut writer = FieldsWriter::new(&mut out);
        pairs().for_each(|(n, v)| writer.push(n, v));
        assert_eq!(writer.len(), out.len());
        out
    }

    #[test]
    fn round_trip() {
        let list = [("a", "1"), ("a", ""), ("long-name", "value with spaces")];
        let bytes = block(&list);
        let read: Vec<_> = fields(&bytes).expect("well-formed").collect();
        let want: Vec<_> = list.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        assert_eq!(read, want);
        assert_eq!(fields(&[]).expect("empty is fine").count(), 0);
        assert_eq!(fields(&block(&[])).expect("count 0 is fine").len(), 0);
    }

    #[test]
    fn every_truncation_and_extension_is_malformed() {
        let bytes = block(&[("name", "value"), ("x", "y")]);
        for end in 1..bytes.len() {
            assert_eq!(fields(&bytes[..end]).err(), Some(Malformed), "cut at {end}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(fields(&longer).err(), Some(Malformed));
        let huge = [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(fields(&huge).err(), Some(Malformed));
    }
}
