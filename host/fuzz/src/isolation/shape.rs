//! What a module starts with: the sizes and contents that its instances are compared with.

use arbitrary::{Result, Unstructured};

/// Elements by which tables grow to be looked at.
pub(super) const TABLE_GROWTH: u32 = 3;

/// What is shown for a null reference, and for the function that is a mark.
pub(super) const NULL: i64 = -1;
pub(super) const MARK_FUNCTION: i64 = 0x6d61_726b;

/// What is done to leave marks; see `module::mark`.
pub(super) const WAYS: u8 = 12;

/// Tables of a module: as many as the pool has for one.
const TABLES: usize = 1;

/// A mutable global: its type and what it starts with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Global {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    /// Null, or the function of this number.
    Function(Option<u8>),
}

impl Global {
    /// How it is shown.
    pub(super) fn bits(self) -> i64 {
        match self {
            Self::I32(bits) => i64::from(bits as u32),
            Self::I64(bits) => bits,
            Self::F32(bits) => i64::from(bits),
            Self::F64(bits) => bits as i64,
            Self::Function(None) => NULL,
            Self::Function(Some(number)) => i64::from(number),
        }
    }

    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        // NaNs may change their bits on the way.
        Ok(match u.int_in_range(0..=4)? {
            0 => Self::I32(u.arbitrary()?),
            1 => Self::I64(u.arbitrary()?),
            2 => Self::F32(u32::from(u.arbitrary::<u8>()?) | 0x3f80_0000),
            3 => Self::F64(u64::from(u.arbitrary::<u8>()?) | 0x3ff0_0000_0000_0000),
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
        let pages: u8 = *u.choose(&[1, 2, 3, 17])?;
        let mut data = Vec::new();
        for _ in 0..u.int_in_range(0..=3)? {
            let len = u.int_in_range(1..=300)?;
            data.push((u.int_in_range(64..=(usize::from(pages) << 16) - len)?, len, u.arbitrary()?));
        }
        let mut globals = Vec::new();
        for _ in 0..*u.choose(&[0, 1, 5, 40])? {
            globals.push(Global::arbitrary(u)?);
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
        let has_passive_elements = u.arbitrary()?;
        let mut ways = Vec::new();
        for _ in 0..u.int_in_range(1..=8)? {
            ways.push(u.int_in_range(0..=WAYS - 1)?);
        }
        Ok(Self { pages, data, globals, tables, passive, has_passive_elements, ways })
    }
}
