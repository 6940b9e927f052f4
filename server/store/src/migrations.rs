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
        7,
        "reconciled",
        include_str!("../../../migrations/0007_reconciled.sql"),
    ),
    (
        8,
        "introductions",
        include_str!("../../../migrations/0008_introductions.sql"),
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
    (
        12,
        "carbon",
        include_str!("../../../migrations/0012_carbon.sql"),
    ),
    (
        13,
        "identity",
        include_str!("../../../migrations/0013_identity.sql"),
    ),
    (
        14,
        "sharing keys",
        include_str!("../../../migrations/0014_sharing_keys.sql"),
    ),
    (
        16,
        "verifications",
        include_str!("../../../migrations/0016_verifications.sql"),
    ),
    (
        17,
        "pairs",
        include_str!("../../../migrations/0017_pairs.sql"),
    ),
];

// Those of the file that holds documents.
const DOCUMENTS: &[(i64, &str, &str)] = &[
    (
        1,
        "documents",
        include_str!("../../../migrations/storage/0001_documents.sql"),
    ),
    (
        2,
        "blobs",
        include_str!("../../../migrations/storage/0002_blobs.sql"),
    ),
    (
        3,
        "sealed",
        include_str!("../../../migrations/storage/0003_sealed.sql"),
    ),
    (
        4,
        "replicas",
        include_str!("../../../migrations/storage/0004_replicas.sql"),
    ),
];

pub(crate) async fn run(pool: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    bring_up(FILES, pool, path).await
}

pub(crate) async fn run_documents(pool: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    bring_up(DOCUMENTS, pool, path).await
}

async fn bring_up(
    files: &'static [(i64, &str, &str)],
    pool: &SqlitePool,
    path: &Path,
) -> Result<(), StoreError> {
    let known = files
        .iter()
        .map(|(version, ..)| *version)
        .max()
        .unwrap_or(0);
    let failed = |source| StoreError::Migrate {
        path: path.to_owned(),
        source,
    };
    match migrator(files).run(pool).await {
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
    async fn receipts_between_nodes_of_before_keep_their_place() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("node.db");
        let address = format!("sqlite://{}?mode=rwc", path.display());
        let old = SqlitePool::connect(&address).await.expect("it is made");
        migrator(&FILES[..6]).run(&old).await.expect("it is new");
        let mut receipt = vec![0; 106];
        receipt.extend([7; 32]);
        receipt.extend([8; 16]);
        receipt.extend([9; 100]);
        for number in [1, 2] {
            sqlx::query("INSERT INTO services VALUES (?1, ?2, ?3, ?4, 1000, ?1, 5, ?5, ?6)")
                .bind(number)
                .bind([number as u8; 32].as_slice())
                .bind([3; 32].as_slice())
                .bind([4; 32].as_slice())
                .bind(&receipt)
                .bind((number == 2).then_some(b"signed".as_slice()))
                .execute(&old)
                .await
                .expect("the row fits");
        }
        old.close().await;
        let store = Store::open(&path).await.expect("it is brought up to date");
        let kept = store.services(None, None, 10).await.expect("it answers");
        assert_eq!(kept.len(), 2);
        for (number, kept) in (1..).zip(&kept) {
            assert_eq!((kept.place.chain, kept.place.stream), (1_000, number));
            assert_eq!((kept.number, kept.previous), (number, [7; 32]));
            assert_eq!(kept.request, [8; 16]);
            assert_eq!(kept.receipt, receipt);
        }
        let counters: Vec<_> = kept.iter().map(|kept| kept.counter.is_some()).collect();
        assert_eq!(counters, [false, true]);
        assert_eq!(store.next_chain(5).await.expect("it answers"), 1_001);
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
            footprint: None,
        };
        store.record(&[receipt]).await.expect("it is written");
        let counts = store.receipt_counts().await.expect("it answers");
        assert_eq!(counts, [1, 1, 0]);
    }
}
