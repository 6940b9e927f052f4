-- Whom the audit log knows. The row goes when its subject is erased, and with it the key to what the log says of him.
CREATE TABLE audit_subjects (
    id      BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    subject TEXT NOT NULL UNIQUE,
    key     BLOB NOT NULL CHECK (length(key) = 32)
) STRICT, WITHOUT ROWID;

-- The audit log; append-only. Each row is a leaf of the tree of log 2, the first with the index 0. What it says of
-- people is sealed with their keys.
CREATE TABLE audit_entries (
    seq        INTEGER NOT NULL PRIMARY KEY,
    at_ms      INTEGER NOT NULL,
    action     TEXT    NOT NULL,
    outcome    TEXT    NOT NULL CHECK (outcome IN ('done', 'denied', 'failed')),
    commitment BLOB    NOT NULL CHECK (length(commitment) = 32),
    -- Chosen at random, so that it says nothing once its row in `audit_subjects` is gone.
    subject    BLOB    NOT NULL CHECK (length(subject) = 16),
    nonce      BLOB    NOT NULL CHECK (length(nonce) = 24),
    ciphertext BLOB    NOT NULL
) STRICT;

CREATE INDEX audit_entries_by_subject ON audit_entries (subject, seq);

CREATE TRIGGER audit_entries_never_change BEFORE UPDATE ON audit_entries
BEGIN
    SELECT RAISE (ABORT, 'audit entries never change');
END;

CREATE TRIGGER audit_entries_never_go BEFORE DELETE ON audit_entries
BEGIN
    SELECT RAISE (ABORT, 'audit entries never go');
END;
