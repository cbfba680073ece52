//! Profiles for people without tools (`debug=1`).

use std::fmt::Write as _;

use super::Profile;

/// A heading; then, from the largest value down, values and labels on one line, and the frames below it.
pub(super) fn write(profile: &Profile) -> String {
    let mut text = String::new();
    let types: Vec<_> =
        profile.values.iter().map(|value| format!("{} ({})", value.name, value.unit)).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}: {} in {} stacks", types.join(", "), profile.total(), profile.samples.len());
    if profile.lost > 0 {
        let _ = writeln!(text, "{} samples were lost", profile.lost);
    }
    let mut samples: Vec<_> = profile.samples.iter().collect();
    samples.sort_by_key(|sample| std::cmp::Reverse(sample.values.last().copied()));
    for sample in samples {
        let values: Vec<_> = sample.values.iter().map(i64::to_string).collect();
        let labels: String = sample.labels.iter().map(|(key, value)| format!(" {key}={value:?}")).collect();
        let _ = writeln!(text, "\n{}{labels}", values.join(" "));
        for place in sample.stack.iter().map(|&place| &profile.places[place]) {
            for line in &place.lines {
                let at = if line.file.is_empty() {
                    String::new()
                } else {
                    format!("  {}:{}", line.file, line.line)
                };
                let address =
                    if place.address == 0 { String::new() } else { format!("{:#018x} ", place.address) };
                let _ = writeln!(text, "    {address}{}{at}", line.function);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::ValueType;
    use super::*;

    #[test]
    fn the_largest_comes_first() {
        let mut profile = Profile::of_words(vec![ValueType { name: "space", unit: "bytes" }]);
        profile.add(&["host"], vec![5], vec![]);
        profile.add(&["guests", "hello"], vec![7], vec![("handler", "hello".into())]);
        let expected =
            "space (bytes): 12 in 2 stacks\n\n7 handler=\"hello\"\n    hello\n    guests\n\n5\n    host\n";
        assert_eq!(write(&profile), expected);
    }
}
