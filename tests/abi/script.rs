//! Writes scripts for `tests/guests/abi/caller.wat`.

/// Size of the guest's memory.
pub(super) const MEMORY: u32 = 17 << 16;
/// Memory that scripts may use as they like, up to 0xc0000.
pub(super) const SCRATCH: u32 = 0x20000;

/// Where the script is when it runs.
const ADDRESS: u32 = 0x1000;
const STEP_BYTES: u32 = 24;

/// What a step does; the numbers are indexes of the guest's table.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    RequestHead = 1,
    RequestRead,
    RequestTrailers,
    Respond,
    ResponseInterim,
    ResponseStart,
    ResponseWrite,
    ResponseFlush,
    ResponseTrailers,
    ClientGone,
    Log,
    Enabled,
    /// (ptr, byte, len)
    Fill,
    /// (from, len, count, to)
    Repeat,
    Trap,
    WaitGone,
    /// (ptr, len)
    ReadAll,
    ResponseAbort,
    /// (ms, fields, fields_len, body, body_len), with status 503
    ResponseTimeout,
}

/// An argument: a number, or the address of data that comes with the script.
#[derive(Clone, Copy)]
pub(super) enum Arg {
    Is(u32),
    Data(u32),
}

impl std::fmt::Debug for Arg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Is(number) => write!(f, "{number:#x}"),
            Self::Data(offset) => write!(f, "data+{offset}"),
        }
    }
}

impl From<u32> for Arg {
    fn from(number: u32) -> Self {
        Self::Is(number)
    }
}

/// Host calls, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    steps: Vec<(Op, Vec<Arg>)>,
    data: Vec<u8>,
}

/// A field block (ABI.md section 3.2).
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = (fields.len() as u32).to_le_bytes().to_vec();
    for (name, value) in fields {
        block.extend((name.len() as u32).to_le_bytes());
        block.extend((value.len() as u32).to_le_bytes());
        block.extend(name.bytes());
        block.extend(value.bytes());
    }
    block
}

impl Script {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Any call with any arguments.
    pub(super) fn raw(mut self, op: Op, args: &[u32]) -> Self {
        self.steps.push((op, args.iter().map(|&number| Arg::Is(number)).collect()));
        self
    }

    fn place(&mut self, bytes: &[u8]) -> (Arg, Arg) {
        let offset = self.data.len() as u32;
        self.data.extend_from_slice(bytes);
        (Arg::Data(offset), Arg::Is(bytes.len() as u32))
    }

    /// A call whose last two arguments are these bytes.
    pub(super) fn with_bytes(mut self, op: Op, first: &[u32], bytes: &[u8]) -> Self {
        let (ptr, len) = self.place(bytes);
        let args = first.iter().map(|&number| Arg::Is(number)).chain([ptr, len]).collect();
        self.steps.push((op, args));
        self
    }

    /// `respond` with the bytes of the step before it as field block.
    pub(super) fn respond_with_last_log(mut self, status: u32) -> Self {
        let (_, args) = self.steps.last().unwrap();
        let (ptr, len) = (args[1], args[2]);
        self.steps.push((Op::Respond, vec![status.into(), ptr, len, Arg::Is(0), Arg::Is(0)]));
        self
    }

    pub(super) fn respond(mut self, status: u32, fields: &[(&str, &str)], body: &str) -> Self {
        let (ptr, len) = self.place(&block(fields));
        let (body, body_len) = self.place(body.as_bytes());
        self.steps.push((Op::Respond, vec![status.into(), ptr, len, body, body_len]));
        self
    }

    /// Prepares a 503 with this field and body for `ms` milliseconds from then.
    pub(super) fn timeout(mut self, ms: u32, field: (&str, &str), body: &str) -> Self {
        let (ptr, len) = self.place(&block(&[field]));
        let (body, body_len) = self.place(body.as_bytes());
        self.steps.push((Op::ResponseTimeout, vec![ms.into(), ptr, len, body, body_len]));
        self
    }

    /// Responds with a piece of the guest's memory.
    pub(super) fn show(self, ptr: u32, len: u32) -> Self {
        self.raw(Op::Respond, &[200, 0, 0, ptr, len])
    }

    pub(super) fn interim(self, status: u32, fields: &[(&str, &str)]) -> Self {
        self.with_bytes(Op::ResponseInterim, &[status], &block(fields))
    }

    pub(super) fn start(self, status: u32, fields: &[(&str, &str)]) -> Self {
        self.with_bytes(Op::ResponseStart, &[status], &block(fields))
    }

    pub(super) fn write(self, text: &str) -> Self {
        self.with_bytes(Op::ResponseWrite, &[], text.as_bytes())
    }

    pub(super) fn flush(self) -> Self {
        self.raw(Op::ResponseFlush, &[])
    }

    pub(super) fn trailers(self, fields: &[(&str, &str)]) -> Self {
        self.with_bytes(Op::ResponseTrailers, &[], &block(fields))
    }

    pub(super) fn log(self, level: u32, text: &[u8]) -> Self {
        self.with_bytes(Op::Log, &[level], text)
    }

    pub(super) fn trap(self) -> Self {
        self.raw(Op::Trap, &[])
    }

    pub(super) fn abort(self) -> Self {
        self.raw(Op::ResponseAbort, &[])
    }

    pub(super) fn read_all(self) -> Self {
        self.raw(Op::ReadAll, &[SCRATCH, 0x10000])
    }

    /// Puts a block of `count` fields `a: b` at [`SCRATCH`]; answers its length.
    pub(super) fn many_fields(mut self, count: u32) -> (Self, u32) {
        let unit = &block(&[("a", "b")])[4..];
        let (from, len) = self.place(unit);
        let (head, head_len) = self.place(&count.to_le_bytes());
        let to = Arg::Is(SCRATCH + 4);
        self.steps.push((Op::Repeat, vec![head, head_len, Arg::Is(1), Arg::Is(SCRATCH)]));
        self.steps.push((Op::Repeat, vec![from, len, Arg::Is(count), to]));
        (self, 4 + count * unit.len() as u32)
    }

    /// This script, then another one.
    pub(super) fn join(mut self, other: Self) -> Self {
        let moved = self.data.len() as u32;
        let place = |arg| match arg {
            Arg::Data(offset) => Arg::Data(offset + moved),
            number @ Arg::Is(_) => number,
        };
        let steps = other.steps.into_iter().map(|(op, args)| (op, args.into_iter().map(place).collect()));
        self.steps.extend(steps);
        self.data.extend(other.data);
        self
    }

    /// The script as one segment of a path.
    pub(super) fn encode(&self) -> String {
        let data = ADDRESS + STEP_BYTES * self.steps.len() as u32 + 4;
        let mut bytes = Vec::new();
        for (op, args) in &self.steps {
            let mut step = [*op as u32, 0, 0, 0, 0, 0];
            for (slot, arg) in step[1..].iter_mut().zip(args) {
                *slot = match arg {
                    Arg::Is(number) => *number,
                    Arg::Data(offset) => data + offset,
                };
            }
            bytes.extend(step.iter().flat_map(|word| word.to_le_bytes()));
        }
        bytes.extend([0; 4]);
        bytes.extend(&self.data);
        bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
    }
}
