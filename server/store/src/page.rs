//! Lists in pages: an id of the page before is where the next one goes on.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use crate::{Store, StoreError};

/// Which part of a list is wanted.
#[derive(Clone, Debug)]
pub struct Page {
    /// Go on after the item with this id.
    pub after: Option<String>,
    /// End before the item with this id.
    pub before: Option<String>,
    /// At most so many.
    pub limit: u32,
    /// Newest first, else oldest first.
    pub newest_first: bool,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// In the order that was asked for.
    pub items: Vec<T>,
    /// Whether there is more in the direction that was asked for.
    pub has_more: bool,
}

/// A table whose rows have a `seq`, the column with their ids, and the condition for the rows of one list.
pub(crate) struct List<'a> {
    pub(crate) columns: &'a str,
    pub(crate) table: &'a str,
    pub(crate) id: &'a str,
    /// Columns that have to have these values.
    pub(crate) wanted: Vec<(&'a str, &'a str)>,
}

impl Store {
    /// A page of a list; `None` when `after` or `before` is not in it.
    pub(crate) async fn list<T>(
        &self,
        list: &List<'_>,
        page: &Page,
        read: impl Fn(&SqliteRow) -> Result<T, StoreError>,
    ) -> Result<Option<Listed<T>>, StoreError> {
        let mut query = list.select(list.columns);
        // Backwards from `before`, so that the page is the one next to it.
        let backwards = page.before.is_some() && page.after.is_none();
        for (cursor, upwards) in [
            (&page.after, !page.newest_first),
            (&page.before, page.newest_first),
        ] {
            let Some(cursor) = cursor else { continue };
            let Some(seq) = self.seq(list, cursor).await? else {
                return Ok(None);
            };
            query.push(if upwards {
                " AND seq > "
            } else {
                " AND seq < "
            });
            query.push_bind(seq);
        }
        let descending = page.newest_first != backwards;
        query.push(if descending {
            " ORDER BY seq DESC LIMIT "
        } else {
            " ORDER BY seq LIMIT "
        });
        query.push_bind(i64::from(page.limit) + 1);
        let mut rows = query.build().fetch_all(&self.readers).await?;
        let has_more = rows.len() > page.limit as usize;
        rows.truncate(page.limit as usize);
        if backwards {
            rows.reverse();
        }
        let items = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Some(Listed { items, has_more }))
    }

    async fn seq(&self, list: &List<'_>, id: &str) -> Result<Option<i64>, StoreError> {
        let mut query = list.select("seq");
        query
            .push(format_args!(" AND {} = ", list.id))
            .push_bind(id);
        let row = query.build().fetch_optional(&self.readers).await?;
        Ok(row.map(|row| row.try_get("seq")).transpose()?)
    }
}

impl<'a> List<'a> {
    fn select(&self, columns: &str) -> QueryBuilder<Sqlite> {
        let (table, mut query) = (self.table, QueryBuilder::new("SELECT "));
        query.push(format_args!("{columns} FROM {table} WHERE TRUE"));
        for (column, value) in &self.wanted {
            query.push(format_args!(" AND {column} = "));
            query.push_bind((*value).to_owned());
        }
        query
    }
}
