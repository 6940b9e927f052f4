//! The results of transfers, with TigerBeetle's names and numbers (docs.tigerbeetle.com, "create_transfers").

macro_rules! results {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What became of a transfer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum TransferResult {
            $($(#[$doc])* $name = $number,)*
        }

        impl TransferResult {
            /// As TigerBeetle names it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

results! {
    /// It was created.
    Ok = 0, "ok";
    /// Another one of its chain failed.
    LinkedEventFailed = 1, "linked_event_failed";
    /// Its chain does not end in the batch.
    LinkedEventChainOpen = 2, "linked_event_chain_open";
    /// A flag that these books do not know.
    ReservedFlag = 4, "reserved_flag";
    /// Ids are not 0.
    IdMustNotBeZero = 5, "id_must_not_be_zero";
    /// Nor the largest.
    IdMustNotBeIntMax = 6, "id_must_not_be_int_max";
    /// Two of pending, post and void.
    FlagsAreMutuallyExclusive = 7, "flags_are_mutually_exclusive";
    /// No account to take from.
    DebitAccountIdMustNotBeZero = 8, "debit_account_id_must_not_be_zero";
    /// Nor the largest.
    DebitAccountIdMustNotBeIntMax = 9, "debit_account_id_must_not_be_int_max";
    /// No account to give to.
    CreditAccountIdMustNotBeZero = 10, "credit_account_id_must_not_be_zero";
    /// Nor the largest.
    CreditAccountIdMustNotBeIntMax = 11, "credit_account_id_must_not_be_int_max";
    /// From an account to itself.
    AccountsMustBeDifferent = 12, "accounts_must_be_different";
    /// Only posting and voiding name another transfer.
    PendingIdMustBeZero = 13, "pending_id_must_be_zero";
    /// Posting or voiding nothing.
    PendingIdMustNotBeZero = 14, "pending_id_must_not_be_zero";
    /// Nor the largest.
    PendingIdMustNotBeIntMax = 15, "pending_id_must_not_be_int_max";
    /// Posting or voiding itself.
    PendingIdMustBeDifferent = 16, "pending_id_must_be_different";
    /// Only what is pending times out.
    TimeoutReservedForPendingTransfer = 17, "timeout_reserved_for_pending_transfer";
    /// No ledger.
    LedgerMustNotBeZero = 19, "ledger_must_not_be_zero";
    /// No code.
    CodeMustNotBeZero = 20, "code_must_not_be_zero";
    /// There is no such account.
    DebitAccountNotFound = 21, "debit_account_not_found";
    /// There is no such account.
    CreditAccountNotFound = 22, "credit_account_not_found";
    /// From one ledger to another.
    AccountsMustHaveTheSameLedger = 23, "accounts_must_have_the_same_ledger";
    /// The accounts are of another ledger.
    TransferMustHaveTheSameLedgerAsAccounts = 24, "transfer_must_have_the_same_ledger_as_accounts";
    /// There is no such transfer to post or void.
    PendingTransferNotFound = 25, "pending_transfer_not_found";
    /// It was never pending.
    PendingTransferNotPending = 26, "pending_transfer_not_pending";
    /// It is of other accounts.
    PendingTransferHasDifferentDebitAccountId = 27, "pending_transfer_has_different_debit_account_id";
    /// It is of other accounts.
    PendingTransferHasDifferentCreditAccountId = 28, "pending_transfer_has_different_credit_account_id";
    /// It is of another ledger.
    PendingTransferHasDifferentLedger = 29, "pending_transfer_has_different_ledger";
    /// It has another code.
    PendingTransferHasDifferentCode = 30, "pending_transfer_has_different_code";
    /// More than was pending.
    ExceedsPendingTransferAmount = 31, "exceeds_pending_transfer_amount";
    /// What is voided is voided as a whole.
    PendingTransferHasDifferentAmount = 32, "pending_transfer_has_different_amount";
    /// Somebody posted it before.
    PendingTransferAlreadyPosted = 33, "pending_transfer_already_posted";
    /// Somebody voided it before.
    PendingTransferAlreadyVoided = 34, "pending_transfer_already_voided";
    /// Its time is over.
    PendingTransferExpired = 35, "pending_transfer_expired";
    /// The id is taken by a transfer that differs in this.
    ExistsWithDifferentFlags = 36, "exists_with_different_flags";
    /// The same.
    ExistsWithDifferentDebitAccountId = 37, "exists_with_different_debit_account_id";
    /// The same.
    ExistsWithDifferentCreditAccountId = 38, "exists_with_different_credit_account_id";
    /// The same.
    ExistsWithDifferentAmount = 39, "exists_with_different_amount";
    /// The same.
    ExistsWithDifferentPendingId = 40, "exists_with_different_pending_id";
    /// The same.
    ExistsWithDifferentUserData128 = 41, "exists_with_different_user_data_128";
    /// The same.
    ExistsWithDifferentUserData64 = 42, "exists_with_different_user_data_64";
    /// The same.
    ExistsWithDifferentUserData32 = 43, "exists_with_different_user_data_32";
    /// The same.
    ExistsWithDifferentTimeout = 44, "exists_with_different_timeout";
    /// The same.
    ExistsWithDifferentCode = 45, "exists_with_different_code";
    /// This very transfer is there.
    Exists = 46, "exists";
    /// A sum would be too large.
    OverflowsDebitsPending = 47, "overflows_debits_pending";
    /// The same.
    OverflowsCreditsPending = 48, "overflows_credits_pending";
    /// The same.
    OverflowsDebitsPosted = 49, "overflows_debits_posted";
    /// The same.
    OverflowsCreditsPosted = 50, "overflows_credits_posted";
    /// The same.
    OverflowsDebits = 51, "overflows_debits";
    /// The same.
    OverflowsCredits = 52, "overflows_credits";
    /// The end of its time cannot be written.
    OverflowsTimeout = 53, "overflows_timeout";
    /// The account has not so much.
    ExceedsCredits = 54, "exceeds_credits";
    /// The account owes not so much.
    ExceedsDebits = 55, "exceeds_debits";
    /// The same but for its ledger.
    ExistsWithDifferentLedger = 67, "exists_with_different_ledger";
    /// A transfer with this id failed for a reason that may be gone; its id stays used.
    IdAlreadyFailed = 68, "id_already_failed";
}

impl TransferResult {
    /// TigerBeetle's number.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// Whether the transfer is in the ledger, now or since before.
    pub fn is_there(self) -> bool {
        matches!(self, Self::Ok | Self::Exists)
    }

    /// Whether it depends on the state of the books, so that the same transfer could succeed later: its id is used up
    /// then, or a retry whose answer was lost would do it twice.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::DebitAccountNotFound
                | Self::CreditAccountNotFound
                | Self::PendingTransferNotFound
                | Self::ExceedsCredits
                | Self::ExceedsDebits
        )
    }
}
