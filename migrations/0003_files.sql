-- Files that clients uploaded or that batches made. The bytes lie in the data directory, under the id.
CREATE TABLE files (
    seq           INTEGER NOT NULL PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    principal     TEXT    NOT NULL,
    purpose       TEXT    NOT NULL,
    filename      TEXT    NOT NULL,
    bytes         INTEGER NOT NULL CHECK (bytes >= 0),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER
) STRICT;

CREATE INDEX files_by_principal ON files (principal, seq);
CREATE INDEX files_by_expiry ON files (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

-- Batches. What is under way is gone on with when the node starts.
CREATE TABLE batches (
    seq               INTEGER NOT NULL PRIMARY KEY,
    id                TEXT    NOT NULL UNIQUE,
    principal         TEXT    NOT NULL,
    key               TEXT    REFERENCES api_keys (id),
    endpoint          TEXT    NOT NULL,
    input_file        TEXT    NOT NULL,
    metadata          TEXT,
    output_expires_s  INTEGER,
    status            TEXT    NOT NULL CHECK (status IN ('validating', 'in_progress', 'finalizing',
                          'cancelling', 'completed', 'failed', 'expired', 'cancelled')),
    total             INTEGER NOT NULL DEFAULT 0,
    completed         INTEGER NOT NULL DEFAULT 0,
    failed            INTEGER NOT NULL DEFAULT 0,
    input_tokens      INTEGER NOT NULL DEFAULT 0,
    cached_tokens     INTEGER NOT NULL DEFAULT 0,
    output_tokens     INTEGER NOT NULL DEFAULT 0,
    errors            TEXT,
    output_file       TEXT,
    error_file        TEXT,
    created_at_ms     INTEGER NOT NULL,
    expires_at_ms     INTEGER NOT NULL,
    in_progress_at_ms INTEGER,
    finalizing_at_ms  INTEGER,
    cancelling_at_ms  INTEGER,
    ended_at_ms       INTEGER
) STRICT;

CREATE INDEX batches_by_principal ON batches (principal, seq);
CREATE INDEX batches_under_way ON batches (seq)
    WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling');

-- One row for each line of a batch under way that has its answer; the key keeps a line from counting twice.
CREATE TABLE batch_lines (
    batch  TEXT    NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    line   INTEGER NOT NULL,
    good   INTEGER NOT NULL CHECK (good IN (0, 1)),
    output TEXT    NOT NULL,
    PRIMARY KEY (batch, line)
) STRICT;

-- Vector stores, the files in them, and the pieces of those files with their vectors.
CREATE TABLE vector_stores (
    seq                INTEGER NOT NULL PRIMARY KEY,
    id                 TEXT    NOT NULL UNIQUE,
    principal          TEXT    NOT NULL,
    name               TEXT    NOT NULL,
    description        TEXT,
    metadata           TEXT,
    model              TEXT    NOT NULL,
    expires_after_days INTEGER,
    created_at_ms      INTEGER NOT NULL,
    last_active_at_ms  INTEGER NOT NULL
) STRICT;

CREATE INDEX vector_stores_by_principal ON vector_stores (principal, seq);

CREATE TABLE vector_store_files (
    seq            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    store          TEXT    NOT NULL REFERENCES vector_stores (id) ON DELETE CASCADE,
    file           TEXT    NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    file_batch     TEXT,
    key            TEXT    REFERENCES api_keys (id),
    status         TEXT    NOT NULL CHECK (status IN ('in_progress', 'completed', 'failed', 'cancelled')),
    error_code     TEXT,
    error_message  TEXT,
    attributes     TEXT,
    chunk_tokens   INTEGER,
    overlap_tokens INTEGER,
    bytes          INTEGER NOT NULL DEFAULT 0,
    created_at_ms  INTEGER NOT NULL,
    UNIQUE (store, file)
) STRICT;

CREATE INDEX vector_store_files_by_file ON vector_store_files (file);
CREATE INDEX vector_store_files_under_way ON vector_store_files (seq) WHERE status = 'in_progress';

CREATE TABLE vector_file_batches (
    id            TEXT    NOT NULL PRIMARY KEY,
    store         TEXT    NOT NULL REFERENCES vector_stores (id) ON DELETE CASCADE,
    created_at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX vector_file_batches_by_store ON vector_file_batches (store);

-- The vector stands before the text, so that a search need not read the texts. 32-bit floats, lowest byte
-- first, of unit length.
CREATE TABLE vector_chunks (
    seq    INTEGER NOT NULL PRIMARY KEY,
    part   INTEGER NOT NULL REFERENCES vector_store_files (seq) ON DELETE CASCADE,
    vector BLOB    NOT NULL,
    text   TEXT    NOT NULL
) STRICT;

CREATE INDEX vector_chunks_by_part ON vector_chunks (part);
