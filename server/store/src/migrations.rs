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
        2,
        "responses and conversations",
        include_str!("../../../migrations/0002_responses.sql"),
    ),
    (
        3,
        "files",
        include_str!("../../../migrations/0003_files.sql"),
    ),
];

pub(crate) async fn run(pool: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    apply(pool, path, FILES).await
}

async fn apply(
    pool: &SqlitePool,
    path: &Path,
    files: &[(i64, &'static str, &'static str)],
) -> Result<(), StoreError> {
    let known = files
        .iter()
        .map(|(version, ..)| *version)
        .max()
        .unwrap_or(0);
    let migrations = files
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

    #[tokio::test]
    async fn a_database_of_each_earlier_version_still_opens_with_what_is_in_it() {
        for version in 1..FILES.len() {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let path = dir.path().join("node.db");
            let options = SqliteConnectOptions::new()
                .filename(&path)
                .create_if_missing(true);
            let old = SqlitePoolOptions::new()
                .max_connections(1)
                .connect_with(options)
                .await
                .expect("it opens");
            let applied = apply(&old, &path, &FILES[..version]).await;
            applied.expect("the earlier schema is sound");
            sqlx::query(
                "INSERT INTO api_keys (id, name, hash, scopes, created_at_ms)
                 VALUES ('k', 'phone', zeroblob(32), 'inference', 1)",
            )
            .execute(&old)
            .await
            .expect("the row fits");
            old.close().await;

            let store = Store::open(&path).await.expect("it is brought up to date");
            let keys = store.keys().await.expect("it answers");
            assert_eq!(keys[0].name, "phone", "from version {version}");
            store.close().await;
        }
    }
}
