//! The ids that were erased in each database, as digests.

use std::collections::{BTreeMap, HashMap};

use kwaainet_storage::erased_digest;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use crate::StoreError;

/// Of one database. The oldest are forgotten for new ones.
const ERASED_MAX: i64 = 100_000;

/// Of these ids those that were erased, with the generation at or below which nothing is taken again.
pub(super) async fn floors<'a>(
    db: i64,
    uuid: &str,
    ids: impl Iterator<Item = &'a str>,
    connection: &mut SqliteConnection,
) -> Result<HashMap<String, u64>, StoreError> {
    let digests: HashMap<String, &str> = ids.map(|id| (erased_digest(uuid, id), id)).collect();
    let wanted: Vec<&String> = digests.keys().collect();
    let rows = sqlx::query(
        "SELECT e.hash, e.floor FROM json_each(?2) AS wanted
         CROSS JOIN erased AS e ON e.db = ?1 AND e.hash = wanted.value",
    )
    .bind(db)
    .bind(serde_json::to_string(&wanted).expect("texts are JSON"))
    .fetch_all(connection)
    .await?;
    let mut floors = HashMap::new();
    for row in &rows {
        let floor: i64 = row.try_get("floor")?;
        if let Some(id) = digests.get(row.try_get::<&str, _>("hash")?) {
            floors.insert((*id).to_owned(), floor.max(0) as u64);
        }
    }
    Ok(floors)
}

/// Remembers ids that are erased.
pub(super) async fn remember(
    db: i64,
    uuid: &str,
    floors: &BTreeMap<String, u64>,
    now_ms: i64,
    connection: &mut SqliteConnection,
) -> Result<(), StoreError> {
    for (id, floor) in floors {
        sqlx::query(
            "INSERT INTO erased (db, hash, floor, erased_at_ms) VALUES (?, ?, ?, ?)
             ON CONFLICT (db, hash) DO UPDATE SET floor = MAX(floor, excluded.floor),
             erased_at_ms = excluded.erased_at_ms",
        )
        .bind(db)
        .bind(erased_digest(uuid, id))
        .bind(*floor as i64)
        .bind(now_ms)
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query(
        "DELETE FROM erased WHERE db = ?1 AND hash IN (
             SELECT hash FROM erased WHERE db = ?1 ORDER BY erased_at_ms DESC, hash LIMIT -1 OFFSET ?2)",
    )
    .bind(db)
    .bind(ERASED_MAX)
    .execute(connection)
    .await?;
    Ok(())
}
