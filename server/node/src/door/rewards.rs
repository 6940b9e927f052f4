//! `/v1/rewards`: the accounts. A principal is told of his own, the owner of all.

mod proofs;
mod transfers;

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use data_encoding::HEXLOWER;
use kwaainet_core::{Principal, PrincipalId, Scope};
use kwaainet_identity::sign_note;
use kwaainet_openapi::{
    RewardsAccount, RewardsAccountList, RewardsAccountStatement, RewardsPrices, RewardsStatement,
    RewardsStatementLine, RewardsTariff,
};
use kwaainet_rewards::{Account, AccountId, TARIFF, TransferKind};
use kwaainet_store::{Period, StatementLine, Terminus};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::logs::limit;
use super::path::ApiQuery;
use super::{ApiError, App};

/// Accounts of one page, and of one statement.
const ACCOUNTS_MAX: u32 = 1_000;
const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;

/// All routes of this part.
pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(balance))
        .routes(routes!(statement))
        .routes(routes!(tariff))
        .routes(routes!(transfers::list))
        .routes(routes!(proofs::checkpoint))
        .routes(routes!(proofs::inclusion))
        .routes(routes!(proofs::consistency))
}

/// Whose accounts a principal may see; none for all.
fn subject(principal: &Principal) -> Result<Option<&str>, ApiError> {
    principal.require(Scope::Rewards)?;
    let is_owner = *principal.id() == PrincipalId::operator();
    Ok((!is_owner).then(|| principal.id().as_str()))
}

#[derive(Debug, Deserialize)]
pub(crate) struct BalanceQuery {
    after: Option<String>,
    limit: Option<String>,
}

/// Lists the caller's accounts with their balances.
#[utoipa::path(
    get,
    path = "/v1/rewards/balance",
    tag = "rewards",
    operation_id = "listRewardsAccounts",
    params(
        ("after" = Option<String>, Query, pattern = "^[0-9a-f]{32}$", description = "Go on after this account."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1_000, description = "At most so many; 1,000 if not given."),
    ),
    responses((status = 200, description = "A page of accounts.", body = RewardsAccountList))
)]
pub(crate) async fn balance(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<BalanceQuery>,
) -> Result<Json<RewardsAccountList>, ApiError> {
    let subject = subject(&principal)?;
    let after = query.after.as_deref().map(|id| identifier("after", id));
    let after = after.transpose()?.map(AccountId);
    let limit = limit(query.limit.as_deref(), ACCOUNTS_MAX)?;
    let mut accounts = app.store.ledger_accounts(subject, after, limit + 1).await?;
    let has_more = accounts.len() > limit as usize;
    accounts.truncate(limit as usize);
    Ok(Json(RewardsAccountList {
        object: "list",
        data: accounts.iter().map(account).collect(),
        has_more,
    }))
}

#[derive(Debug, Deserialize)]
pub(crate) struct StatementQuery {
    month: Option<String>,
}

/// Tells what a month brought to each of the caller's accounts.
#[utoipa::path(
    get,
    path = "/v1/rewards/statement",
    tag = "rewards",
    operation_id = "retrieveRewardsStatement",
    params(("month" = Option<String>, Query, pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$", description = "Like `2026-11`, in UTC; the present one if not given.")),
    responses((status = 200, description = "One statement for each account, of the first thousand.", body = RewardsStatement))
)]
pub(crate) async fn statement(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<StatementQuery>,
) -> Result<Json<RewardsStatement>, ApiError> {
    let subject = subject(&principal)?;
    let (month, period) = month(&app, query.month.as_deref())?;
    let accounts = app
        .store
        .ledger_accounts(subject, None, ACCOUNTS_MAX)
        .await?;
    let mut statements = Vec::with_capacity(accounts.len());
    for account in accounts {
        let (terminus, lines) = app.store.statement(account.id, period).await?;
        statements.push(of_account(account, terminus, &lines));
    }
    Ok(Json(RewardsStatement {
        object: "rewards.statement",
        month,
        accounts: statements,
    }))
}

fn of_account(
    account: Account,
    terminus: Terminus,
    lines: &[StatementLine],
) -> RewardsAccountStatement {
    let line = |line: &StatementLine| RewardsStatementLine {
        kind: TransferKind::name(line.code),
        transfers: line.transfers,
        debits: line.debits.0,
        credits: line.credits.0,
    };
    RewardsAccountStatement {
        id: account.id.to_string(),
        kind: account.kind.name(),
        subject: account.subject,
        opening: terminus.opening,
        closing: terminus.closing,
        lines: lines.iter().map(line).collect(),
    }
}

/// A month and its time.
fn month(app: &App, given: Option<&str>) -> Result<(String, Period), ApiError> {
    let now = civil(app.clock.unix_ms().div_euclid(24 * 3_600 * 1_000));
    let month = given.map_or(now, str::to_owned);
    let bad = || {
        let message = "Invalid 'month': expected one like '2026-11'.";
        ApiError::invalid("month", "invalid_value", message)
    };
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|c| c.is_ascii_digit());
    let parts = month
        .split_once('-')
        .filter(|(year, month)| digits(year, 4) && digits(month, 2));
    let (year, number) = parts.ok_or_else(bad)?;
    let (year, number): (i64, i64) = (
        year.parse().map_err(|_| bad())?,
        number.parse().map_err(|_| bad())?,
    );
    // What nanoseconds since 1970 can tell in 64 bits.
    if !(1..=12).contains(&number) || !(1970..=2261).contains(&year) {
        return Err(bad());
    }
    let next = match number {
        12 => (year + 1, 1),
        _ => (year, number + 1),
    };
    let period = Period {
        from_ns: first_day(year, number) * DAY_NS,
        to_ns: first_day(next.0, next.1) * DAY_NS,
    };
    Ok((month, period))
}

/// The month of a day as it is written.
fn civil(day: i64) -> String {
    let (year, month, _) = kwaainet_core::civil_date(day);
    format!("{year:04}-{month:02}")
}

/// Days since 1970 of a month's first day.
fn first_day(year: i64, month: i64) -> i64 {
    let wanted = format!("{year:04}-{month:02}");
    // Months have 31 days at most, so no day is skipped; and an estimate by 30.4 days is off by a few.
    let estimate = (year - 1970) * 365 + (year - 1969) / 4 + (month - 1) * 30;
    let days = (estimate - 40).max(0)..estimate + 40;
    let first = days.into_iter().find(|day| civil(*day) == wanted);
    first.expect("each month from 1970 on has a first day near the estimate")
}

/// Tells what work is worth.
#[utoipa::path(
    get,
    path = "/v1/rewards/tariff",
    tag = "rewards",
    operation_id = "retrieveRewardsTariff",
    responses((status = 200, description = "The tariff that holds.", body = RewardsTariff))
)]
pub(crate) async fn tariff(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<RewardsTariff>, ApiError> {
    principal.require(Scope::Rewards)?;
    let sha256 = HEXLOWER.encode(&TARIFF.hash());
    let note = app.key.as_ref().map(|key| {
        let name = format!("kwaainet/{}/tariff", key.id());
        sign_note(
            key,
            &name,
            &format!("{name}\n{}\n{sha256}\n", TARIFF.version),
        )
    });
    Ok(Json(RewardsTariff {
        object: "rewards.tariff",
        tariff: RewardsPrices {
            version: TARIFF.version,
            compute_hour: TARIFF.compute_hour,
            class_one_tokens_per_s: TARIFF.class_one_tokens_per_s,
            gb_month: TARIFF.gb_month,
            verification: TARIFF.verification,
            multi_chain_verification: TARIFF.multi_chain,
            bonus_from_share_bp: TARIFF.bonus_from,
            bonus_min_bp: TARIFF.bonus.0,
            bonus_max_bp: TARIFF.bonus.1,
            epoch_budget: TARIFF.epoch_budget,
            pair_budget: TARIFF.pair_budget,
        },
        canonical: TARIFF.canonical(),
        sha256,
        note,
    }))
}

fn account(account: &Account) -> RewardsAccount {
    RewardsAccount {
        object: "rewards.account",
        id: account.id.to_string(),
        kind: account.kind.name(),
        subject: account.subject.clone(),
        balance: account.balance(),
        available: account.available().0,
        debits_pending: account.debits_pending.0,
        debits_posted: account.debits_posted.0,
        credits_pending: account.credits_pending.0,
        credits_posted: account.credits_posted.0,
    }
}

/// 32 hexadecimal digits.
fn identifier(param: &'static str, text: &str) -> Result<u128, ApiError> {
    let is_hex = text.len() == 32 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let id = is_hex
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten();
    id.ok_or_else(|| {
        let message = format!("Invalid '{param}': expected 32 hexadecimal digits.");
        ApiError::invalid(param, "invalid_value", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_month_begins_with_its_first_day() {
        assert_eq!(first_day(1970, 1), 0);
        assert_eq!(first_day(2000, 3), 11_017);
        for year in 1970..=2262 {
            for month in 1..=12 {
                let day = first_day(year, month);
                let (_, _, number) = kwaainet_core::civil_date(day);
                assert_eq!(number, 1, "{year}-{month}");
            }
        }
    }
}
