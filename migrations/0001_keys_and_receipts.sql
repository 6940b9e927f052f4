-- API keys. A key is never deleted, only revoked: receipts refer to it.
CREATE TABLE api_keys (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL,
    hash            BLOB    NOT NULL CHECK (length(hash) = 32),
    scopes          TEXT    NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    expires_at_ms   INTEGER,
    revoked_at_ms   INTEGER,
    last_used_at_ms INTEGER
) STRICT, WITHOUT ROWID;

-- One row for each admitted job, however it ended; append-only.
CREATE TABLE receipts (
    seq               INTEGER NOT NULL PRIMARY KEY,
    job               TEXT    NOT NULL UNIQUE,
    principal         TEXT    NOT NULL,
    key               TEXT    REFERENCES api_keys (id),
    model             TEXT    NOT NULL,
    work              TEXT    NOT NULL CHECK (work IN ('generate', 'embed')),
    backend           TEXT,
    outcome           TEXT    NOT NULL CHECK (outcome IN ('done', 'error', 'cancelled')),
    prompt_tokens     INTEGER NOT NULL CHECK (prompt_tokens >= 0),
    cached_tokens     INTEGER NOT NULL CHECK (cached_tokens >= 0),
    completion_tokens INTEGER NOT NULL CHECK (completion_tokens >= 0),
    admitted_at_ms    INTEGER NOT NULL,
    queued_ms         INTEGER NOT NULL,
    first_token_ms    INTEGER,
    duration_ms       INTEGER NOT NULL
) STRICT;

CREATE INDEX receipts_by_principal ON receipts (principal, admitted_at_ms);
