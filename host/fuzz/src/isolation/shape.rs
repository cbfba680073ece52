//! What a module starts with: the sizes and contents that its instances are compared with.

use arbitrary::{Result, Unstructured};

/// Elements by which tables grow to be looked at.
pub(super) const TABLE_GROWTH: u32 = 3;

/// What is shown for a null reference, and for the function that is a mark.
pub(super) const NULL: i64 = -1;
pub(super) const MARK_FUNCTION: i64 = 0x6d61_726b;

/// What is done to leave marks; see `module::mark`.
pub(super) const WAYS: u8 = 15;

/// Those that only change what can be put back: no tables, no segments.
const RESTORABLE_WAYS: [u8; 11] = [0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14];

/// Where `_initialize` counts how often it was called.
pub(super) const CALLS_AT: usize = 56;

/// Tables of a module: as many as the pool has for one.
const TABLES: usize = 1;

/// A mutable global: its type and what it starts with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Global {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(u128),
    /// Null, or the function of this number.
    Function(Option<u8>),
}

impl Global {
    /// How it is shown.
    pub(super) fn bits(self) -> Vec<i64> {
        match self {
            Self::I32(bits) => vec![i64::from(bits as u32)],
            Self::I64(bits) => vec![bits],
            Self::F32(bits) => vec![i64::from(bits)],
            Self::F64(bits) => vec![bits as i64],
            Self::V128(bits) => vec![bits as i64, (bits >> 64) as i64],
            Self::Function(None) => vec![NULL],
            Self::Function(Some(number)) => vec![i64::from(number)],
        }
    }

    fn arbitrary(u: &mut Unstructured<'_>, is_restorable: bool) -> Result<Self> {
        // NaNs may change their bits on the way.
        Ok(match u.int_in_range(0..=if is_restorable { 4 } else { 5 })? {
            0 => Self::I32(u.arbitrary()?),
            1 => Self::I64(u.arbitrary()?),
            2 => Self::F32(u32::from(u.arbitrary::<u8>()?) | 0x3f80_0000),
            3 => Self::F64(u64::from(u.arbitrary::<u8>()?) | 0x3ff0_0000_0000_0000),
            4 => Self::V128(u.arbitrary()?),
            _ => Self::Function(if u.arbitrary()? { Some(u.int_in_range(0..=3)?) } else { None }),
        })
    }
}

/// A table of functions: how many it has room for, and of these, from the first on, how many are set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) len: u32,
    pub(super) set: u32,
}

impl Table {
    /// What is shown for an element.
    pub(super) fn element(&self, index: u32) -> i64 {
        if index < self.set { i64::from(index % 4) } else { NULL }
    }
}

/// A module.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// Nothing of an instance can change but its memory and globals that are numbers: it is put back after each request.
    pub(super) is_restorable: bool,
    /// It has an `_initialize`, which runs for each request.
    pub(super) has_initialize: bool,
    /// An address and the number of a global that marks of one byte and one global are left at.
    pub(super) spot: usize,
    pub(super) global: usize,
    /// Pages of memory at the start.
    pub(super) pages: u8,
    /// Filled parts of it: where, how many bytes, and with what.
    pub(super) data: Vec<(usize, usize, u8)>,
    pub(super) globals: Vec<Global>,
    /// The first is used to call functions.
    pub(super) tables: Vec<Table>,
    /// Data that is put into memory by the program: how many bytes, and of what.
    pub(super) passive: Vec<(usize, u8)>,
    pub(super) has_passive_elements: bool,
    /// How marks are left, in this order.
    pub(super) ways: Vec<u8>,
}

impl Shape {
    pub(super) fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        let is_restorable = u.ratio(3, 4)?;
        let pages: u8 = *u.choose(&[1, 2, 3, 17])?;
        let mut data = Vec::new();
        for _ in 0..u.int_in_range(0..=3)? {
            let len = u.int_in_range(1..=300)?;
            data.push((u.int_in_range(64..=(usize::from(pages) << 16) - len)?, len, u.arbitrary()?));
        }
        let mut globals = Vec::new();
        for _ in 0..*u.choose(&[0, 1, 5, 40])? {
            globals.push(Global::arbitrary(u, is_restorable)?);
        }
        let mut tables = Vec::new();
        for _ in 0..TABLES {
            let len = u.int_in_range(1..=20)?;
            tables.push(Table { len, set: u.int_in_range(0..=len)? });
        }
        let mut passive = Vec::new();
        for _ in 0..u.int_in_range(0..=2)? {
            passive.push((u.int_in_range(8..=100)?, u.arbitrary()?));
        }
        let has_passive_elements = !is_restorable && u.arbitrary()?;
        let mut ways = Vec::new();
        for _ in 0..u.int_in_range(1..=8)? {
            ways.push(if is_restorable {
                *u.choose(&RESTORABLE_WAYS)?
            } else {
                u.int_in_range(0..=WAYS - 1)?
            });
        }
        let spot = u.int_in_range(0..=(usize::from(pages) << 16) - 1)?;
        let global = u.int_in_range(0..=globals.len().saturating_sub(1))?;
        let has_initialize = u.arbitrary()?;
        Ok(Self {
            is_restorable,
            has_initialize,
            spot,
            global,
            pages,
            data,
            globals,
            tables,
            passive,
            has_passive_elements,
            ways,
        })
    }
}
