//! Key-value stores and SQL databases.

use std::collections::BTreeMap;

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
    // While a deployment goes and the next one has other settings, there are two of a name: the latest counts.
    let databases = resources.databases().open_ones();
    let databases: BTreeMap<_, _> =
        databases.iter().map(|database| (database.name(), database.operations())).collect();
    let of_databases = || databases.iter().map(|(name, operations)| (vec![("database", *name)], *operations));
    let help = "Statements, and begins and commits of transactions.";
    page.operations("wasmux_sql_operations_total", help, of_databases());
    page.family("wasmux_sql_operation_seconds_total", Kind::Counter, "How long they took together.");
    for (who, operations) in of_databases() {
        page.sample(&who, operations.seconds());
    }
}
