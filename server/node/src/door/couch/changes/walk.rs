//! Walks along the changes of a database and puts them into the shape of a feed.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use kwaainet_core::{AdmissionError, Principal};
use kwaainet_storage::Access;
use kwaainet_store::{DatabaseRecord, DocumentRow};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{Feed, Filter, Options};
use crate::door::auth::still_good;
use crate::door::couch::database::seq_of;
use crate::door::couch::render::{Extras, quoted};
use crate::door::couch::{find_database, reading};
use crate::door::{ApiError, App};

/// Changes that are read from the file at once.
const PAGE: u64 = 200;
/// Bytes that are put together before they are sent.
const PIECE: usize = 64 << 10;
/// After so long a feed ends and its client has to come again, with a key that is still good.
const LIFE: Duration = Duration::from_secs(3_600);
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A feed on its way out.
pub(super) struct Walk {
    app: Arc<App>,
    principal: Principal,
    database: DatabaseRecord,
    options: Options,
    /// Read from the file, and not yet told.
    rows: VecDeque<DocumentRow>,
    /// How far it came.
    at: i64,
    /// Nothing after this is told.
    until: i64,
    told: u64,
    phase: Phase,
    ends: Duration,
    live: Option<Live>,
}

/// Of a feed that waits.
struct Live {
    news: watch::Receiver<i64>,
    _place: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Begin,
    Rows,
    Wait,
    End,
    Over,
}

impl Walk {
    pub(super) fn begin(
        app: Arc<App>,
        principal: Principal,
        database: DatabaseRecord,
        options: Options,
    ) -> Result<Self, ApiError> {
        let live = match options.feed {
            Feed::Normal => None,
            _ => {
                let place = Arc::clone(&app.storage.feeds).try_acquire_owned();
                let retry_after = RETRY_AFTER;
                let full = |_| ApiError::from(AdmissionError::Overloaded { retry_after });
                Some(Live {
                    // Before anything is read, so that nothing falls in between.
                    news: app.storage.documents.feed(database.key),
                    _place: place.map_err(full)?,
                })
            }
        };
        let until = match options.feed {
            Feed::Normal => database.update_seq,
            _ => i64::MAX,
        };
        Ok(Self {
            at: options.since,
            until,
            told: 0,
            phase: Phase::Begin,
            ends: app.clock.monotonic() + LIFE,
            rows: VecDeque::new(),
            app,
            principal,
            database,
            options,
            live,
        })
    }

    /// The next piece of the answer.
    pub(super) async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            match self.phase {
                Phase::Begin => {
                    self.phase = Phase::Rows;
                    if self.is_list() {
                        return Some(Ok(Bytes::from_static(b"{\"results\":[\n")));
                    }
                }
                Phase::Rows => match self.rows().await {
                    Ok(piece) if piece.is_empty() => {}
                    Ok(piece) => return Some(Ok(piece.into())),
                    Err(error) => {
                        error.record();
                        self.phase = Phase::Over;
                        // The client sees a broken answer and no end of the list.
                        return Some(Err(io::Error::other("the changes cannot be read")));
                    }
                },
                Phase::Wait => {
                    let sign = self.wait().await;
                    if !self.may_go_on().await {
                        self.phase = Phase::End;
                    } else if let Some(sign) = sign {
                        return Some(Ok(Bytes::from_static(sign)));
                    }
                }
                Phase::End => {
                    self.phase = Phase::Over;
                    return Some(Ok(self.end().await.into()));
                }
                Phase::Over => return None,
            }
        }
    }

    fn is_list(&self) -> bool {
        matches!(self.options.feed, Feed::Normal | Feed::Longpoll)
    }

    /// What is there now, as far as one piece goes.
    async fn rows(&mut self) -> Result<String, ApiError> {
        if self.rows.is_empty() {
            self.read().await?;
            if self.rows.is_empty() {
                let goes_on = !self.is_list() || self.told == 0;
                self.phase = match &self.live {
                    Some(_) if goes_on => Phase::Wait,
                    _ => Phase::End,
                };
            }
        }
        let mut out = String::new();
        while let Some(row) = self.rows.pop_front() {
            self.at = row.seq;
            let Some(said) = self.tell(&row).await? else {
                continue;
            };
            match self.options.feed {
                Feed::Normal | Feed::Longpoll => {
                    out.push_str(if self.told == 0 { "" } else { ",\n" });
                    out.push_str(&said);
                }
                Feed::Continuous => {
                    out.push_str(&said);
                    out.push('\n');
                }
                Feed::EventSource => {
                    let seq = seq_of(&self.database, row.seq);
                    out.push_str(&format!("data: {said}\nid: {seq}\n\n"));
                }
            }
            self.told += 1;
            if self.told >= self.options.limit {
                self.phase = Phase::End;
                self.rows.clear();
            }
            if out.len() > PIECE {
                break;
            }
        }
        Ok(out)
    }

    async fn read(&mut self) -> Result<(), ApiError> {
        let documents = &self.app.storage.documents;
        let limit = match self.options.filter {
            Filter::All => PAGE.min(self.options.limit - self.told),
            _ => PAGE,
        };
        let with_bodies =
            self.options.include_docs || matches!(self.options.filter, Filter::Selector(_));
        let (db, since) = (&self.database, self.options.since);
        let rows = if self.options.descending {
            let rows = documents.changes_backwards(db, since, self.until, limit, with_bodies);
            let rows = rows.await?;
            if let Some(last) = rows.last() {
                self.until = last.seq - 1;
            }
            rows
        } else {
            let rows = documents.changes(db, self.at, self.until, limit, with_bodies);
            rows.await?
        };
        self.rows = rows.into();
        Ok(())
    }

    /// One change; none if the filter leaves it out.
    async fn tell(&self, row: &DocumentRow) -> Result<Option<String>, ApiError> {
        let Some(winner) = row.tree.winner() else {
            return Ok(None);
        };
        let passes = match &self.options.filter {
            Filter::All => true,
            Filter::Design => row.id.starts_with("_design/"),
            Filter::Ids(ids) => ids.contains(&row.id),
            Filter::Selector(selector) => {
                let said = self.document(row, Extras::default()).await?;
                let said = said.and_then(|said| serde_json::from_str(&said).ok());
                said.is_some_and(|said| selector.holds(&said))
            }
        };
        if !passes {
            return Ok(None);
        }
        let leaves = if self.options.all_leaves {
            row.tree.leaves()
        } else {
            vec![winner]
        };
        let revs = leaves
            .iter()
            .map(|leaf| format!("{{\"rev\":\"{}\"}}", leaf.rev));
        let revs = revs.collect::<Vec<_>>().join(",");
        let (seq, id) = (seq_of(&self.database, row.seq), quoted(&row.id));
        let deleted = if winner.deleted {
            ",\"deleted\":true"
        } else {
            ""
        };
        let said = if self.options.include_docs {
            let said = self.document(row, self.options.extras).await?;
            format!(",\"doc\":{}", said.as_deref().unwrap_or("null"))
        } else {
            String::new()
        };
        Ok(Some(format!(
            "{{\"seq\":\"{seq}\",\"id\":{id},\"changes\":[{revs}]{deleted}{said}}}"
        )))
    }

    async fn document(
        &self,
        row: &DocumentRow,
        extras: Extras,
    ) -> Result<Option<String>, ApiError> {
        reading::winner(&self.app, &self.database, row, extras).await
    }

    /// Waits for news; gives a sign of life where one is due.
    async fn wait(&mut self) -> Option<&'static [u8]> {
        let Some(live) = &mut self.live else {
            self.phase = Phase::End;
            return None;
        };
        let left = self.ends.saturating_sub(self.app.clock.monotonic());
        let patience = self.options.heartbeat.unwrap_or(self.options.timeout);
        tokio::select! {
            news = live.news.changed() => {
                // Without a sender the database is gone.
                self.phase = if news.is_ok() { Phase::Rows } else { Phase::End };
                None
            }
            () = self.app.storage.closing.cancelled() => {
                self.phase = Phase::End;
                None
            }
            () = tokio::time::sleep(patience.min(left)) => {
                if self.options.heartbeat.is_none() || left <= patience {
                    self.phase = Phase::End;
                    return None;
                }
                Some(match self.options.feed {
                    Feed::EventSource => b"event: heartbeat\ndata: \n\n",
                    _ => b"\n",
                })
            }
        }
    }

    /// Whether the caller may still read what he waits for.
    async fn may_go_on(&self) -> bool {
        let name = self.database.name.as_str();
        let found = find_database(&self.app, &self.principal, name, Access::Read).await;
        found.is_ok_and(|found| found.key == self.database.key)
            && still_good(&self.app, &self.principal).await
    }

    async fn end(&self) -> String {
        // A list that was told to its end leads to where the database is, whatever was left out of it.
        let is_whole = self.told < self.options.limit && self.options.feed == Feed::Normal;
        let at = if is_whole && !self.options.descending {
            self.at.max(self.until)
        } else {
            self.at
        };
        let pending = self
            .app
            .storage
            .documents
            .pending(self.database.key, at)
            .await;
        let pending = pending.unwrap_or(0);
        let last = format!(
            "\"last_seq\":\"{}\",\"pending\":{pending}",
            seq_of(&self.database, at)
        );
        match self.options.feed {
            Feed::Normal | Feed::Longpoll => format!("\n],\n{last}}}\n"),
            Feed::Continuous => format!("{{{last}}}\n"),
            Feed::EventSource => String::new(),
        }
    }
}
