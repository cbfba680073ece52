//! The format of `go tool pprof`: messages of `profile.proto` (github.com/google/pprof, `proto/profile.proto`), gzip'd.
//! Numbers are those of the fields there; strings are numbers in a table that begins with the empty one.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::UNIX_EPOCH;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::{Origin, Profile, ValueType};

#[derive(Clone, PartialEq, Message)]
struct ProfileMessage {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<TypeMessage>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<SampleMessage>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<MappingMessage>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<TypeMessage>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct TypeMessage {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct SampleMessage {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct MappingMessage {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    memory_start: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    /// Names are in the profile: no tool has to look for them in files.
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<LineMessage>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct LineMessage {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// Numbers for strings.
struct Strings {
    table: Vec<String>,
    known: HashMap<String, i64>,
}

impl Strings {
    fn number(&mut self, text: &str) -> i64 {
        if let Some(&known) = self.known.get(text) {
            return known;
        }
        let number = self.table.len() as i64;
        self.table.push(text.to_owned());
        self.known.insert(text.to_owned(), number);
        number
    }

    fn value_type(&mut self, value: ValueType) -> TypeMessage {
        TypeMessage { r#type: self.number(value.name), unit: self.number(value.unit) }
    }
}

pub(super) fn encode(profile: &Profile) -> Vec<u8> {
    let bytes = message(profile).encode_to_vec();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Memory takes everything.
    let _ = encoder.write_all(&bytes);
    encoder.finish().unwrap_or_default()
}

fn message(profile: &Profile) -> ProfileMessage {
    let mut strings = Strings { table: vec![String::new()], known: HashMap::from([(String::new(), 0)]) };
    let mut functions: HashMap<(i64, i64), u64> = HashMap::new();
    // The first one is taken for the program.
    let mut mappings: Vec<_> = profile.mappings.iter().enumerate().collect();
    mappings.sort_by_key(|(_, mapping)| mapping.origin == Origin::Guest);
    let mapping = mappings.into_iter().map(|(index, mapping)| MappingMessage {
        id: index as u64 + 1,
        memory_start: mapping.addresses.start,
        memory_limit: mapping.addresses.end,
        filename: strings.number(&mapping.file),
        has_functions: true,
        has_filenames: true,
        has_line_numbers: true,
        has_inline_frames: true,
    });
    let mapping = mapping.collect();
    let location = profile.places.iter().enumerate().map(|(index, place)| {
        let line = place.lines.iter().map(|line| {
            let key = (strings.number(&line.function), strings.number(&line.file));
            let next = functions.len() as u64 + 1;
            LineMessage { function_id: *functions.entry(key).or_insert(next), line: line.line.into() }
        });
        Location {
            id: index as u64 + 1,
            mapping_id: place.mapping.map_or(0, |mapping| mapping as u64 + 1),
            address: place.address,
            line: line.collect(),
        }
    });
    let location = location.collect();
    let sample = profile.samples.iter().map(|sample| SampleMessage {
        location_id: sample.stack.iter().map(|&place| place as u64 + 1).collect(),
        value: sample.values.clone(),
        label: sample
            .labels
            .iter()
            .map(|(key, value)| Label { key: strings.number(key), str: strings.number(value) })
            .collect(),
    });
    let sample = sample.collect();
    let mut function: Vec<_> = functions.into_iter().collect();
    function.sort_unstable_by_key(|(_, id)| *id);
    let function = function
        .into_iter()
        .map(|((name, filename), id)| Function { id, name, system_name: name, filename })
        .collect();
    let lost = (profile.lost > 0).then(|| strings.number(&format!("{} samples were lost", profile.lost)));
    let began = profile.began.duration_since(UNIX_EPOCH).unwrap_or_default();
    ProfileMessage {
        sample_type: profile.values.iter().map(|&value| strings.value_type(value)).collect(),
        sample,
        mapping,
        location,
        function,
        time_nanos: began.as_nanos() as i64, // until 2262
        duration_nanos: profile.duration.as_nanos() as i64,
        period_type: profile.period.map(|(value, _)| strings.value_type(value)),
        period: profile.period.map_or(0, |(_, period)| period),
        comment: lost.into_iter().collect(),
        default_sample_type: profile.values.last().map_or(0, |value| strings.number(value.name)),
        string_table: strings.table,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut profile = Profile::of_words(vec![
            ValueType { name: "inuse_objects", unit: "count" },
            ValueType { name: "inuse_space", unit: "bytes" },
        ]);
        profile.add(&["guests", "hello", "code"], vec![1, 50], vec![("handler", "hello".into())]);
        profile.add(&["guests", "hello", "instances"], vec![2, 70], vec![("handler", "hello".into())]);
        profile.lost = 3;
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(&*encode(&profile)).read_to_end(&mut bytes).unwrap();
        let read = ProfileMessage::decode(&*bytes).unwrap();
        let text = |number: i64| read.string_table[number as usize].as_str();
        assert_eq!(text(0), "");
        assert_eq!(text(read.sample_type[1].r#type), "inuse_space");
        assert_eq!(text(read.default_sample_type), "inuse_space");
        assert_eq!(
            read.comment.iter().map(|&number| text(number)).collect::<Vec<_>>(),
            ["3 samples were lost"]
        );
        let names = |sample: &SampleMessage| {
            let functions = sample.location_id.iter().map(|id| {
                let location = read.location.iter().find(|location| location.id == *id).unwrap();
                let function = location.line[0].function_id;
                text(read.function.iter().find(|known| known.id == function).unwrap().name).to_owned()
            });
            functions.collect::<Vec<_>>().join(";")
        };
        assert_eq!(names(&read.sample[0]), "code;hello;guests", "innermost first");
        assert_eq!(read.sample[1].value, [2, 70]);
        assert_eq!(text(read.sample[1].label[0].str), "hello");
    }
}
