//! The schema, as numbered files that only ever move forward.

use std::path::Path;

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::SqlitePool;

use crate::StoreError;

// Listed by hand: the macro that reads the folder would build SQLite a second time for the
// compiler's own use.
const FILES: &[(i64, &str, &str)] = &[
    (
        1,
        "keys and receipts",
        include_str!("../../../migrations/0001_keys_and_receipts.sql"),
    ),
    (
        3,
        "files",
        include_str!("../../../migrations/0003_files.sql"),
    ),
];

pub(crate) async fn run(pool: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let known = FILES
        .iter()
        .map(|(version, ..)| *version)
        .max()
        .unwrap_or(0);
    let migrations = FILES
        .iter()
        .map(|(version, description, sql)| {
            Migration::new(
                *version,
                (*description).into(),
                MigrationType::Simple,
                (*sql).into_sql_str(),
                false,
            )
        })
        .collect();
    let failed = |source| StoreError::Migrate {
        path: path.to_owned(),
        source,
    };
    match Migrator::with_migrations(migrations).run(pool).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) if found > known => Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known,
        }),
        Err(MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)) => {
            Err(StoreError::Open {
                path: path.to_owned(),
                source,
            })
        }
        Err(source) => Err(failed(source)),
    }
}
