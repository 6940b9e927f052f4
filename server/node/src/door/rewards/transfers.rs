//! `GET /v1/rewards/transfers`: in JSON, or for other programs.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kwaainet_audit::AuditOutcome;
use kwaainet_core::Principal;
use kwaainet_openapi::{LedgerFormat, PendingTransferState, RewardsTransfer, RewardsTransferList};
use kwaainet_rewards::{
    Account, AccountId, CSV_HEAD, Line, Numbered, PendingState, TransferFlags, TransferId,
    TransferKind, beancount_account, beancount_head, beancount_transfer, csv_line,
};
use serde::Deserialize;
use serde_json::Map;

use super::super::logs::{self, limit};
use super::super::path::ApiQuery;
use super::{ACCOUNTS_MAX, ApiError, App, subject};
use crate::audit::Deed;

/// Transfers of one page.
const TRANSFERS_MAX: u32 = 1_000;

#[derive(Debug, Deserialize)]
pub(crate) struct TransfersQuery {
    from: Option<String>,
    limit: Option<String>,
    state: Option<String>,
    format: Option<String>,
}

/// Lists transfers from and to the caller's accounts, oldest first.
#[utoipa::path(
    get,
    path = "/v1/rewards/transfers",
    tag = "rewards",
    operation_id = "listRewardsTransfers",
    params(
        ("from" = Option<u64>, Query, maximum = 9_223_372_036_854_775_807_i64, description = "Those from this index on; from the first if not given."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1_000, description = "At most so many; 1,000 if not given."),
        ("state" = inline(Option<PendingTransferState>), Query, description = "Those only that reserve something, and of them those of which this has become."),
        ("format" = inline(Option<LedgerFormat>), Query, description = "In which form; `json` if not given."),
    ),
    responses((status = 200, description = "A page of transfers.", content(
        (RewardsTransferList = "application/json"),
        (String = "application/jsonl"),
        (String = "text/csv"),
        (String = "text/plain"),
    )))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<TransfersQuery>,
) -> Result<Response, ApiError> {
    let subject = subject(&principal)?;
    let from = logs::number("from", query.from.as_deref())?.unwrap_or(0);
    let limit = limit(query.limit.as_deref(), TRANSFERS_MAX)?;
    let state = query.state.as_deref().map(state).transpose()?;
    let form = form(query.format.as_deref())?;
    if form != Form::Json {
        exported(&app, &principal, query.format.as_deref()).await?;
    }
    let own = match subject {
        None => None,
        Some(_) => Some(
            app.store
                .ledger_accounts(subject, None, ACCOUNTS_MAX)
                .await?,
        ),
    };
    let ids: Option<Vec<AccountId>> = own.map(|own| own.iter().map(|account| account.id).collect());
    let mut page = match &ids {
        // Who has no account has no transfer.
        Some(ids) if ids.is_empty() => Vec::new(),
        ids => {
            app.store
                .ledger_transfers(ids.as_deref(), state, from, limit + 1)
                .await?
        }
    };
    let has_more = page.len() > limit as usize;
    page.truncate(limit as usize);
    let text = |kind, text: String| ([(header::CONTENT_TYPE, kind)], text).into_response();
    Ok(match form {
        Form::Json => Json(RewardsTransferList {
            object: "list",
            data: page.iter().map(transfer).collect(),
            has_more,
        })
        .into_response(),
        Form::Lines => {
            let lines = page.iter().map(|one| Line::Transfer(one.into()).text());
            text("application/jsonl", lines.collect())
        }
        Form::Csv => {
            let head = std::iter::once(CSV_HEAD.to_owned());
            let lines = head.chain(page.iter().map(csv_line)).collect();
            text("text/csv; charset=utf-8", lines)
        }
        Form::Beancount => {
            let file = beancount(&app, &page, ids.as_deref()).await?;
            text("text/plain; charset=utf-8", file)
        }
    })
}

/// Records that transfers leave for another program.
async fn exported(app: &App, principal: &Principal, format: Option<&str>) -> Result<(), ApiError> {
    let recorded = app.audit.record(Deed {
        action: "rewards.export",
        outcome: AuditOutcome::Done,
        actor: principal,
        subject: principal.id().as_str(),
        resource: format.unwrap_or_default(),
        details: Map::new(),
    });
    let recorded = recorded.await;
    recorded.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(())
}

/// How a page is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
    Csv,
    Beancount,
}

fn state(name: &str) -> Result<PendingState, ApiError> {
    match name {
        "pending" => Ok(PendingState::Pending),
        "posted" => Ok(PendingState::Posted),
        "voided" => Ok(PendingState::Voided),
        "expired" => Ok(PendingState::Expired),
        _ => {
            let message = "Invalid 'state': expected 'pending', 'posted', 'voided' or 'expired'.";
            Err(ApiError::invalid("state", "invalid_value", message))
        }
    }
}

fn form(format: Option<&str>) -> Result<Form, ApiError> {
    match format {
        None | Some("json") => Ok(Form::Json),
        Some("jsonl") => Ok(Form::Lines),
        Some("csv") => Ok(Form::Csv),
        Some("beancount") => Ok(Form::Beancount),
        Some(_) => {
            let message = "Invalid 'format': expected 'json', 'jsonl', 'csv' or 'beancount'.";
            Err(ApiError::invalid("format", "invalid_value", message))
        }
    }
}

async fn beancount(
    app: &App,
    page: &[Numbered],
    own: Option<&[AccountId]>,
) -> Result<String, ApiError> {
    let both = |one: &Numbered| [one.posted.transfer.debit, one.posted.transfer.credit];
    let mut ids: Vec<AccountId> = page.iter().flat_map(both).collect();
    ids.sort_unstable();
    ids.dedup();
    let accounts = app.store.ledger_accounts_by_id(&ids).await?;
    let mut file = beancount_head();
    for account in &accounts {
        let is_own = own.is_none_or(|own| own.contains(&account.id));
        file += &beancount_account(account, is_own.then_some(account.subject.as_str()));
    }
    let accounts: HashMap<AccountId, Account> = accounts
        .into_iter()
        .map(|account| (account.id, account))
        .collect();
    for one in page {
        let [debit, credit] = both(one).map(|id| accounts.get(&id));
        let missing = || ApiError::internal("a transfer names an account that is not there");
        let (debit, credit) = (debit.ok_or_else(missing)?, credit.ok_or_else(missing)?);
        file += &beancount_transfer(one, debit, credit);
    }
    Ok(file)
}

fn transfer(numbered: &Numbered) -> RewardsTransfer {
    let transfer = &numbered.posted.transfer;
    let state = [
        (TransferFlags::PENDING, "pending"),
        (TransferFlags::POST, "post"),
        (TransferFlags::VOID, "void"),
    ];
    let state = state
        .into_iter()
        .find(|(flag, _)| transfer.flags.has(*flag));
    RewardsTransfer {
        object: "rewards.transfer",
        index: numbered.index,
        id: transfer.id.to_string(),
        kind: TransferKind::name(transfer.code),
        state: state.map_or("single", |(_, state)| state),
        debit: transfer.debit.to_string(),
        credit: transfer.credit.to_string(),
        amount: transfer.amount.0,
        pending_id: (transfer.pending != TransferId::NONE).then(|| transfer.pending.to_string()),
        receipt: format!("{:032x}", transfer.user_data_128),
        timeout_s: transfer.timeout_s,
        at_ns: numbered.posted.at_ns.to_string(),
    }
}
