//! Key-value stores and SQL databases.

use super::page::{Kind, Page};
use crate::resources::Resources;

pub(super) fn write(page: &mut Page, resources: &Resources) {
    let stores = resources.registry().stores();
    let of_stores =
        || stores.iter().map(|(name, operations)| (vec![("store", name.as_str())], &**operations));
    page.operations("wasmux_kv_operations_total", "Operations on key-value stores.", of_stores());
    page.family("wasmux_kv_operation_seconds_total", Kind::Counter, "How long they took together.");
    for (who, operations) in of_stores() {
        page.sample(&who, operations.seconds());
    }
    let databases = resources.databases().operations();
    let of_databases =
        || databases.iter().map(|(name, operations)| (vec![("database", name.as_str())], &**operations));
    let help = "Statements, and begins and commits of transactions.";
    page.operations("wasmux_sql_operations_total", help, of_databases());
    page.family("wasmux_sql_operation_seconds_total", Kind::Counter, "How long they took together.");
    for (who, operations) in of_databases() {
        page.sample(&who, operations.seconds());
    }
}
