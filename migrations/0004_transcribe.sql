-- Receipts of transcriptions. SQLite changes no constraint in place, so the table is made anew.
CREATE TABLE receipts_with_speech (
    seq               INTEGER NOT NULL PRIMARY KEY,
    job               TEXT    NOT NULL UNIQUE,
    principal         TEXT    NOT NULL,
    key               TEXT    REFERENCES api_keys (id),
    model             TEXT    NOT NULL,
    work              TEXT    NOT NULL CHECK (work IN ('generate', 'embed', 'transcribe')),
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

INSERT INTO receipts_with_speech
SELECT seq, job, principal, key, model, work, backend, outcome, prompt_tokens, cached_tokens,
       completion_tokens, admitted_at_ms, queued_ms, first_token_ms, duration_ms
FROM receipts;

DROP TABLE receipts;
ALTER TABLE receipts_with_speech RENAME TO receipts;

CREATE INDEX receipts_by_principal ON receipts (principal, admitted_at_ms);
