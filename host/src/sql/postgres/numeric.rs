//! `numeric`, from the form that it travels in to the text that PostgreSQL writes.

use std::fmt::Write as _;

/// Reads four 16-bit numbers (digits, weight, sign, scale), and so many digits to the base of 10,000.
pub(super) fn text(raw: &[u8]) -> Option<String> {
    let mut words = raw.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let (count, weight, sign, scale) = (words.next()?, words.next()? as i16, words.next()?, words.next()?);
    match sign {
        0 | 0x4000 => {}
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => return None,
    }
    let digits: Vec<u16> = words.collect();
    if digits.len() != usize::from(count)
        || !raw.len().is_multiple_of(2)
        || digits.iter().any(|&digit| digit > 9_999)
    {
        return None;
    }
    // What is left out at either end is zero.
    let digit = |at: i32| usize::try_from(at).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
    let weight = i32::from(weight);
    let mut text = String::from(if sign == 0x4000 { "-" } else { "" });
    let _ = write!(text, "{}", if weight < 0 { 0 } else { digit(0) });
    for at in 1..=weight {
        let _ = write!(text, "{:04}", digit(at));
    }
    if scale > 0 {
        let mut fraction = String::new();
        for at in (weight + 1..).take(usize::from(scale).div_ceil(4)) {
            let _ = write!(fraction, "{:04}", digit(at));
        }
        let _ = write!(text, ".{}", &fraction[..usize::from(scale)]);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn numbers_are_written_as_the_server_writes_them() {
        for (words, wanted) in [
            (&[0, 0, 0, 0][..], Some("0")),
            (&[0, 0, 0, 2], Some("0.00")),
            (&[1, 0, 0x4000, 0, 7], Some("-7")),
            (&[2, 1, 0, 0, 12, 34], Some("120034")),
            (&[1, 2, 0, 0, 5], Some("500000000")),
            (&[3, 1, 0, 3, 1, 2345, 6780], Some("12345.678")),
            (&[1, (-1_i16) as u16, 0, 4, 12], Some("0.0012")),
            (&[1, (-2_i16) as u16, 0, 6, 1200], Some("0.000012")),
            (&[0, 0, 0xC000, 0], Some("NaN")),
            (&[0, 0, 0xF000, 0], Some("-Infinity")),
            (&[0, 0, 1, 0], None),
            (&[2, 0, 0, 0, 1], None),
            (&[1, 0, 0, 0, 10_000], None),
            (&[0, 0], None),
        ] {
            assert_eq!(text(&raw(words)).as_deref(), wanted, "{words:?}");
        }
    }
}
