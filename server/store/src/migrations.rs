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
    (
        4,
        "transcribe",
        include_str!("../../../migrations/0004_transcribe.sql"),
    ),
    (
        5,
        "federation",
        include_str!("../../../migrations/0005_federation.sql"),
    ),
    (
        6,
        "continued",
        include_str!("../../../migrations/0006_continued.sql"),
    ),
    (
        9,
        "ledger",
        include_str!("../../../migrations/0009_ledger.sql"),
    ),
    (
        10,
        "audit",
        include_str!("../../../migrations/0010_audit.sql"),
    ),
];

pub(crate) async fn run(pool: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let known = FILES
        .iter()
        .map(|(version, ..)| *version)
        .max()
        .unwrap_or(0);
    let failed = |source| StoreError::Migrate {
        path: path.to_owned(),
        source,
    };
    match migrator(FILES).run(pool).await {
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

fn migrator(files: &'static [(i64, &str, &str)]) -> Migrator {
    let migration = |(version, description, sql): &(i64, &'static str, &'static str)| {
        Migration::new(
            *version,
            (*description).into(),
            MigrationType::Simple,
            (*sql).into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations(files.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use kwaainet_core::{JobId, Outcome, Receipt, Usage};
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
            let applied = migrator(&FILES[..version]).run(&old).await;
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

    #[tokio::test]
    async fn receipts_of_the_first_version_are_kept_and_speech_gets_its_own() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("node.db");
        let address = format!("sqlite://{}?mode=rwc", path.display());
        let first = SqlitePool::connect(&address).await.expect("it is made");
        migrator(&FILES[..1]).run(&first).await.expect("it is new");
        let old = "INSERT INTO receipts VALUES
            (7, 'job', 'owner', NULL, 'm', 'embed', NULL, 'error', 1, 0, 2, 3, 4, NULL, 5)";
        sqlx::query(old).execute(&first).await.expect("it fits");
        first.close().await;
        let store = Store::open(&path).await.expect("it is brought up to date");
        let receipt = Receipt {
            job: JobId::random(),
            principal: "owner".into(),
            key: None,
            model: "m".into(),
            work: "transcribe",
            backend: None,
            continued: 0,
            outcome: Outcome::Done,
            usage: Usage::default(),
            admitted_at_ms: 1,
            queued_ms: 2,
            first_token_ms: None,
            duration_ms: 3,
        };
        store.record(&[receipt]).await.expect("it is written");
        let counts = store.receipt_counts().await.expect("it answers");
        assert_eq!(counts, [1, 1, 0]);
    }
}
