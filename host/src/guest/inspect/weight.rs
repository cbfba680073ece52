//! What of a binary costs something when it is loaded or instantiated, whatever its code does.

use wasmparser::{ConstExpr, DataKind, ElementItems, ElementKind, Operator, Payload};

/// Imports or exports of a binary, and of what is in it: so many names are kept at most.
const NAMES_MAX: u64 = 100_000;

/// Elements of tables, and bytes of data at places that are not known beforehand, which are copied each time an instance
/// is made, in one go. Libraries that are linked at run time have some MiB of such data.
const COPIED_ELEMENTS_MAX: u64 = 200_000;
const COPIED_BYTES_MAX: u64 = 64 << 20;

/// What of a binary costs something when it is loaded or instantiated, whatever its code does.
#[derive(Default)]
pub(super) struct Weight {
    names: u64,
    elements: u64,
    bytes: u64,
}

impl Weight {
    pub(super) fn add(&mut self, payload: &Payload<'_>) -> wasmparser::Result<Result<(), String>> {
        match payload {
            Payload::ImportSection(section) => self.names += u64::from(section.count()),
            Payload::ComponentImportSection(section) => self.names += u64::from(section.count()),
            Payload::ExportSection(section) => self.names += u64::from(section.count()),
            Payload::ComponentExportSection(section) => self.names += u64::from(section.count()),
            Payload::ElementSection(section) => {
                for element in section.clone() {
                    let element = element?;
                    if matches!(element.kind, ElementKind::Active { .. }) {
                        self.elements += 1 + match element.items {
                            ElementItems::Functions(items) => u64::from(items.count()),
                            ElementItems::Expressions(_, items) => u64::from(items.count()),
                        };
                    }
                }
            }
            Payload::DataSection(section) => {
                for data in section.clone() {
                    let data = data?;
                    if let DataKind::Active { offset_expr, .. } = data.kind
                        && !is_constant(&offset_expr)
                    {
                        self.bytes += data.data.len() as u64;
                    }
                }
            }
            _ => {}
        }
        let too_many =
            |count, what, most| Err(format!("it has {count} {what}, and {most} is the most there may be"));
        Ok(if self.names > NAMES_MAX {
            too_many(self.names, "imports and exports", NAMES_MAX)
        } else if self.elements > COPIED_ELEMENTS_MAX {
            too_many(self.elements, "elements that are put into tables", COPIED_ELEMENTS_MAX)
        } else if self.bytes > COPIED_BYTES_MAX {
            too_many(self.bytes, "bytes of data whose place is computed", COPIED_BYTES_MAX)
        } else {
            Ok(())
        })
    }
}

/// Whether it is one constant: then the data is part of the memory's image, which costs nothing.
fn is_constant(expr: &ConstExpr<'_>) -> bool {
    let mut operators = expr.get_operators_reader().into_iter();
    matches!(operators.next(), Some(Ok(Operator::I32Const { .. })))
        && matches!(operators.next(), Some(Ok(Operator::End)))
}
