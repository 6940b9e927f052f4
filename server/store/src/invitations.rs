//! Invitations of this node, and who used them. The tickets themselves are not kept.

use kwaainet_core::{NodeId, Tier};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Acquire, Row};

use crate::members::{node, tier};
use crate::{MemberRecord, Store, StoreError, members};

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationRecord {
    /// Names it.
    pub id: [u8; 16],
    /// What whoever uses it is taken for.
    pub tier: Tier,
    /// How many nodes may use it.
    pub uses: u32,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// From then on nobody new may use it.
    pub expires_at_ms: i64,
    /// When it was taken back.
    pub revoked_at_ms: Option<i64>,
    /// Who used it, first one first.
    pub redeemed: Vec<NodeId>,
}

/// What came of showing an invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// The node is a member, now or since long.
    Member(MemberRecord),
    /// There is no such invitation.
    Unknown,
    /// Its time is over.
    Expired,
    /// It was taken back, or the node was removed since it was made.
    Revoked,
    /// Others have used it up.
    UsedUp,
}

impl Store {
    /// Stores a new invitation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_invitation(&self, invitation: &InvitationRecord) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO invitations (id, tier, uses, created_at_ms, expires_at_ms) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(invitation.id.as_slice())
        .bind(invitation.tier.number())
        .bind(invitation.uses)
        .bind(invitation.created_at_ms)
        .bind(invitation.expires_at_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// All invitations, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invitations(&self) -> Result<Vec<InvitationRecord>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        // One transaction, so that both queries see the same.
        let mut transaction = connection.begin().await?;
        let rows = sqlx::query("SELECT * FROM invitations ORDER BY created_at_ms, id")
            .fetch_all(&mut *transaction)
            .await?;
        let mut invitations: Vec<_> = rows.iter().map(record).collect::<Result<_, _>>()?;
        for invitation in &mut invitations {
            let rows = sqlx::query(
                "SELECT node FROM redemptions WHERE invitation = ? ORDER BY redeemed_at_ms, node",
            )
            .bind(invitation.id.as_slice())
            .fetch_all(&mut *transaction)
            .await?;
            let nodes = rows.iter().map(|row| node(row, "node"));
            invitation.redeemed = nodes.collect::<Result<_, _>>()?;
        }
        Ok(invitations)
    }

    /// Takes an invitation back; `false` if there is none with this id. A second time changes nothing, and whoever
    /// used it before stays a member.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_invitation(&self, id: [u8; 16], now_ms: i64) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE invitations SET revoked_at_ms = COALESCE(revoked_at_ms, ?) WHERE id = ?",
        )
        .bind(now_ms)
        .bind(id.as_slice())
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Makes a member of the node that shows an invitation, in one transaction. The first nodes that show it, as many
    /// as it has uses, are bound to it; to those it stays good for as long as they are members.
    ///
    /// # Errors
    /// When the database fails; then nothing was written.
    pub async fn redeem(
        &self,
        id: [u8; 16],
        node: NodeId,
        now_ms: i64,
    ) -> Result<Redeemed, StoreError> {
        // Holds off other processes from the first look on, so that nobody comes in between.
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let redeemed = redeem(&mut transaction, id, node, now_ms).await?;
        transaction.commit().await?;
        Ok(redeemed)
    }
}

async fn redeem(
    connection: &mut SqliteConnection,
    id: [u8; 16],
    node: NodeId,
    now_ms: i64,
) -> Result<Redeemed, StoreError> {
    let found = sqlx::query("SELECT * FROM invitations WHERE id = ?")
        .bind(id.as_slice())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(invitation) = found.as_ref().map(record).transpose()? else {
        return Ok(Redeemed::Unknown);
    };
    let known = sqlx::query("SELECT * FROM members WHERE node = ?")
        .bind(node.0.as_slice())
        .fetch_optional(&mut *connection)
        .await?;
    let removed_at_ms: Option<i64> = match &known {
        Some(row) => row.try_get("removed_at_ms")?,
        None => None,
    };
    let known = known.as_ref().map(members::record).transpose()?;
    if removed_at_ms.is_some_and(|removed| invitation.created_at_ms <= removed) {
        return Ok(Redeemed::Revoked);
    }
    let uses = sqlx::query(
        "SELECT COUNT(*) AS used, COUNT(*) FILTER (WHERE node = ?) AS by_this FROM redemptions
         WHERE invitation = ?",
    )
    .bind(node.0.as_slice())
    .bind(id.as_slice())
    .fetch_one(&mut *connection)
    .await?;
    let is_bound = uses.try_get::<i64, _>("by_this")? > 0;
    match known {
        Some(member) if is_bound && removed_at_ms.is_none() => return Ok(Redeemed::Member(member)),
        _ if invitation.revoked_at_ms.is_some() => return Ok(Redeemed::Revoked),
        _ if now_ms >= invitation.expires_at_ms => return Ok(Redeemed::Expired),
        _ if uses.try_get::<i64, _>("used")? >= i64::from(invitation.uses) => {
            return Ok(Redeemed::UsedUp);
        }
        _ => {}
    }
    // A member that shows another invitation never becomes less by it.
    let row = sqlx::query(
        "INSERT INTO members (node, tier, address, joined_at_ms) VALUES (?, ?, x'', ?)
         ON CONFLICT (node) DO UPDATE SET
             tier = IIF(removed_at_ms IS NULL, MIN(tier, excluded.tier), excluded.tier),
             joined_at_ms = IIF(removed_at_ms IS NULL, joined_at_ms, excluded.joined_at_ms),
             met_at_ms = IIF(removed_at_ms IS NULL, met_at_ms, NULL),
             removed_at_ms = NULL
         RETURNING *",
    )
    .bind(node.0.as_slice())
    .bind(invitation.tier.number())
    .bind(now_ms)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO redemptions (invitation, node, redeemed_at_ms) VALUES (?, ?, ?)")
        .bind(id.as_slice())
        .bind(node.0.as_slice())
        .bind(now_ms)
        .execute(&mut *connection)
        .await?;
    Ok(Redeemed::Member(members::record(&row)?))
}

fn record(row: &SqliteRow) -> Result<InvitationRecord, StoreError> {
    let id: Vec<u8> = row.try_get("id")?;
    let uses: i64 = row.try_get("uses")?;
    Ok(InvitationRecord {
        id: id
            .try_into()
            .map_err(|_| StoreError::Malformed("invitation id"))?,
        tier: tier(row)?,
        uses: u32::try_from(uses).map_err(|_| StoreError::Malformed("number of uses"))?,
        created_at_ms: row.try_get("created_at_ms")?,
        expires_at_ms: row.try_get("expires_at_ms")?,
        revoked_at_ms: row.try_get("revoked_at_ms")?,
        redeemed: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
