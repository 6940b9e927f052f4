//! Writes many rows with few statements, each of a text that SQLite has compiled before.

use sqlx::sqlite::{SqliteArguments, SqliteConnection};

use crate::StoreError;

/// How many rows one statement has: as many of each as fit, so that there are three texts of each kind.
const SIZES: [usize; 3] = [64, 8, 1];

pub(super) type Query = sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments>;

/// Runs `<head> VALUES (?, …), … <tail>` over all rows. `bind` binds the columns of one.
pub(super) async fn insert<T>(
    connection: &mut SqliteConnection,
    head: &str,
    columns: usize,
    tail: &str,
    rows: &[T],
    bind: impl Fn(Query, &T) -> Query,
) -> Result<(), StoreError> {
    let one = format!("({})", vec!["?"; columns].join(", "));
    let mut left = rows;
    for size in SIZES {
        let sql = format!(
            "{head} VALUES {} {tail}",
            vec![one.as_str(); size].join(", ")
        );
        while left.len() >= size {
            let (now, later) = left.split_at(size);
            let mut query: Query = sqlx::query(sqlx::AssertSqlSafe(sql.as_str()));
            for row in now {
                query = bind(query, row);
            }
            query.execute(&mut *connection).await?;
            left = later;
        }
    }
    Ok(())
}
