-- Replications that the node drives, each between a database here and one at another node. `secret` is what is shown
-- there, `opens` what opens the database here while its owner is away; both sealed with this node's key. `has_copy` stays set once something was pushed: what is erased here has to be
-- erased there.
CREATE TABLE replications (
    id TEXT PRIMARY KEY,
    db INTEGER NOT NULL REFERENCES databases (key) ON DELETE CASCADE,
    owner TEXT NOT NULL,
    key TEXT,
    url TEXT NOT NULL,
    secret BLOB NOT NULL,
    opens BLOB,
    direction TEXT NOT NULL,
    live INTEGER NOT NULL,
    has_copy INTEGER NOT NULL,
    -- Raised when it is asked for anew, so that whoever still works on the earlier one sees it.
    revision INTEGER NOT NULL DEFAULT 1,
    state TEXT NOT NULL,
    last_error TEXT,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    push_since TEXT,
    push_read INTEGER NOT NULL DEFAULT 0,
    push_written INTEGER NOT NULL DEFAULT 0,
    push_refused INTEGER NOT NULL DEFAULT 0,
    pull_since TEXT,
    pull_read INTEGER NOT NULL DEFAULT 0,
    pull_written INTEGER NOT NULL DEFAULT 0,
    pull_refused INTEGER NOT NULL DEFAULT 0,
    UNIQUE (db, url)
) WITHOUT ROWID;
CREATE INDEX replications_by_owner ON replications (owner);

-- What was erased, and whether all replicas know. `ids` is sealed with this node's key, and gone once they do. A
-- database may be deleted before that.
CREATE TABLE erasures (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    db INTEGER NOT NULL,
    name TEXT NOT NULL,
    documents INTEGER NOT NULL,
    revisions INTEGER NOT NULL,
    overwritten INTEGER NOT NULL DEFAULT 0,
    ids BLOB,
    created_at_ms INTEGER NOT NULL,
    completed_at_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX erasures_by_owner ON erasures (owner, created_at_ms);

CREATE TABLE erasure_replicas (
    erasure TEXT NOT NULL REFERENCES erasures (id) ON DELETE CASCADE,
    url TEXT NOT NULL,
    secret BLOB,
    secret_of TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    asked_at_ms INTEGER,
    last_error TEXT,
    acknowledged_at_ms INTEGER,
    PRIMARY KEY (erasure, url)
) WITHOUT ROWID;
CREATE INDEX erasure_replicas_open ON erasure_replicas (erasure) WHERE acknowledged_at_ms IS NULL;

-- Digests of ids that were erased: no replication brings back what has fewer generations than `floor`.
CREATE TABLE erased (
    db INTEGER NOT NULL REFERENCES databases (key) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    floor INTEGER NOT NULL,
    erased_at_ms INTEGER NOT NULL,
    PRIMARY KEY (db, hash)
) WITHOUT ROWID;

-- Who may do what for a while, and what for; with `documents` (a JSON array of ids) only with those.
CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    db INTEGER NOT NULL REFERENCES databases (key) ON DELETE CASCADE,
    grantee TEXT NOT NULL,
    access TEXT NOT NULL,
    purpose TEXT NOT NULL,
    documents TEXT,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX grants_by_grantee ON grants (grantee, expires_at_ms);
CREATE INDEX grants_by_db ON grants (db);
