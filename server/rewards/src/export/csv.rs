//! For spreadsheets (RFC 4180). No field needs quotes.

use super::{Numbered, date, day_of};
use crate::{TransferFlags, TransferKind};

/// The first line.
pub const CSV_HEAD: &str = "index,at,id,kind,state,debit,credit,amount_micro_vda,amount_vda,pending_id,\
user_data_128,user_data_64,user_data_32,timeout_s,code,flags,at_ns\r\n";

/// The line of a transfer.
pub fn csv_line(transfer: &Numbered) -> String {
    let posted = &transfer.posted;
    let moved = &posted.transfer;
    let (day, second) = day_of(posted.at_ns);
    let state = [
        (TransferFlags::PENDING, "pending"),
        (TransferFlags::POST, "post"),
        (TransferFlags::VOID, "void"),
    ];
    let state = state.into_iter().find(|(flag, _)| moved.flags.has(*flag));
    format!(
        "{},{}T{:02}:{:02}:{:02}Z,{},{},{},{},{},{},{},{},{:032x},{},{},{},{},{},{}\r\n",
        transfer.index,
        date(day),
        second / 3_600,
        second / 60 % 60,
        second % 60,
        moved.id,
        TransferKind::name(moved.code),
        state.map_or("single", |(_, state)| state),
        moved.debit,
        moved.credit,
        moved.amount.0,
        moved.amount,
        moved.pending,
        moved.user_data_128,
        moved.user_data_64,
        moved.user_data_32,
        moved.timeout_s,
        moved.code,
        moved.flags.0,
        posted.at_ns,
    )
}
