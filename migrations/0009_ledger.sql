-- Logs that only grow: the hashes of the complete subtrees of their Merkle trees (RFC 9162), each written once.
-- Log 1 is the ledger, log 2 the audit log.
CREATE TABLE log_nodes (
    log      INTEGER NOT NULL,
    level    INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hash     BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (log, level, position)
) STRICT, WITHOUT ROWID;

-- What this node signed of its logs, so that nobody can be shown two of them that do not fit.
CREATE TABLE log_checkpoints (
    log          INTEGER NOT NULL,
    size         INTEGER NOT NULL,
    note         TEXT    NOT NULL,
    signed_at_ms INTEGER NOT NULL,
    PRIMARY KEY (log, size)
) STRICT, WITHOUT ROWID;

-- The ledger. Ids have 128 bits, amounts are micro-VDA.
CREATE TABLE ledger_accounts (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind            TEXT    NOT NULL,
    -- Whose it is; empty for the node's own, and once its owner was erased.
    subject         TEXT    NOT NULL,
    ledger          INTEGER NOT NULL,
    flags           INTEGER NOT NULL,
    debits_pending  INTEGER NOT NULL CHECK (debits_pending >= 0),
    debits_posted   INTEGER NOT NULL CHECK (debits_posted >= 0),
    credits_pending INTEGER NOT NULL CHECK (credits_pending >= 0),
    credits_posted  INTEGER NOT NULL CHECK (credits_posted >= 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX ledger_accounts_by_subject ON ledger_accounts (subject);

-- Append-only; each is a leaf of the tree, the first with the index 0.
CREATE TABLE ledger_transfers (
    seq           INTEGER NOT NULL PRIMARY KEY,
    id            BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    debit         BLOB    NOT NULL,
    credit        BLOB    NOT NULL,
    amount        INTEGER NOT NULL CHECK (amount >= 0),
    pending       BLOB    NOT NULL,
    user_data_128 BLOB    NOT NULL,
    user_data_64  INTEGER NOT NULL,
    user_data_32  INTEGER NOT NULL,
    timeout_s     INTEGER NOT NULL,
    ledger        INTEGER NOT NULL,
    code          INTEGER NOT NULL,
    flags         INTEGER NOT NULL,
    at_ns         INTEGER NOT NULL
) STRICT;

CREATE INDEX ledger_transfers_by_debit ON ledger_transfers (debit, seq);
CREATE INDEX ledger_transfers_by_credit ON ledger_transfers (credit, seq);

CREATE TRIGGER ledger_transfers_never_change BEFORE UPDATE ON ledger_transfers
BEGIN
    SELECT RAISE (ABORT, 'transfers never change');
END;

CREATE TRIGGER ledger_transfers_never_go BEFORE DELETE ON ledger_transfers
BEGIN
    SELECT RAISE (ABORT, 'transfers never go');
END;

-- What became of pending transfers: 0 pending, 1 posted, 2 voided, 3 expired.
CREATE TABLE ledger_pending (
    transfer      BLOB    NOT NULL PRIMARY KEY,
    state         INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3),
    expires_at_ns INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX ledger_pending_by_end ON ledger_pending (expires_at_ns) WHERE state = 0 AND expires_at_ns IS NOT NULL;

-- Ids of transfers that failed for a reason that may be gone: they stay used.
CREATE TABLE ledger_failed (
    id BLOB NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- What was worked and is less than a micro-VDA.
CREATE TABLE ledger_meters (
    consumer  BLOB    NOT NULL,
    provider  BLOB    NOT NULL,
    kind      INTEGER NOT NULL,
    tariff    BLOB    NOT NULL,
    remainder INTEGER NOT NULL CHECK (remainder >= 0),
    PRIMARY KEY (consumer, provider, kind, tariff)
) STRICT, WITHOUT ROWID;

-- One row for each receipt that was accrued, whatever it came to: that is what makes it exactly once.
CREATE TABLE ledger_accruals (
    channel     BLOB    NOT NULL CHECK (length(channel) = 32),
    number      INTEGER NOT NULL,
    reference   BLOB    NOT NULL CHECK (length(reference) = 32),
    kind        INTEGER NOT NULL,
    work        INTEGER NOT NULL,
    class_milli INTEGER NOT NULL,
    consumer    BLOB    NOT NULL,
    provider    BLOB    NOT NULL,
    at_ms       INTEGER NOT NULL,
    -- 0 nothing to pay, 1 paid, 2 held, 3 refused, with TigerBeetle's number of why.
    state       INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3),
    why         INTEGER NOT NULL,
    paid        INTEGER NOT NULL,
    charged     INTEGER NOT NULL,
    bonus       INTEGER NOT NULL,
    PRIMARY KEY (channel, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX ledger_accruals_held ON ledger_accruals (reference) WHERE state = 2;

-- Up to where each kind of receipt was accrued.
CREATE TABLE ledger_cursors (
    source TEXT    NOT NULL PRIMARY KEY,
    after  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
