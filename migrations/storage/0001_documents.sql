-- Databases of documents, in a file of their own. What a number in here means within one database
-- (sequence, body) is counted by that database's row.

CREATE TABLE node (
    uuid TEXT NOT NULL
);
INSERT INTO node VALUES (lower(hex(randomblob(16))));

-- AUTOINCREMENT: what a number named once is never named again by it.
CREATE TABLE databases (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    mode TEXT NOT NULL,
    uuid TEXT NOT NULL,
    security TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    revs_limit INTEGER NOT NULL,
    update_seq INTEGER NOT NULL DEFAULT 0,
    purge_seq INTEGER NOT NULL DEFAULT 0,
    next_body INTEGER NOT NULL DEFAULT 1,
    next_attachment INTEGER NOT NULL DEFAULT 1,
    docs INTEGER NOT NULL DEFAULT 0,
    deleted_docs INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (owner, name)
);
CREATE INDEX databases_by_name ON databases (name);

-- Whom `security` names.
CREATE TABLE members (
    db INTEGER NOT NULL REFERENCES databases (key) ON DELETE CASCADE,
    principal TEXT NOT NULL,
    PRIMARY KEY (db, principal)
) WITHOUT ROWID;
CREATE INDEX members_by_principal ON members (principal);

-- One row for each document, also for a deleted one. `body` is the winner's.
CREATE TABLE documents (
    db INTEGER NOT NULL,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    body INTEGER NOT NULL,
    tree TEXT NOT NULL,
    PRIMARY KEY (db, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX documents_in_order ON documents (db, seq);

-- What revisions say. The key is the database's times 2^40, plus the body's number in it, so that those
-- of a database lie together and are written one after the other.
CREATE TABLE bodies (
    key INTEGER PRIMARY KEY,
    json TEXT NOT NULL,
    attachments TEXT
);

CREATE TABLE attachments (
    db INTEGER NOT NULL,
    digest TEXT NOT NULL,
    key INTEGER NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (db, digest)
) WITHOUT ROWID;

CREATE TABLE attachment_pieces (
    attachment INTEGER NOT NULL,
    n INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (attachment, n)
) WITHOUT ROWID;

-- Documents that are never replicated.
CREATE TABLE locals (
    db INTEGER NOT NULL,
    id TEXT NOT NULL,
    rev INTEGER NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (db, id)
) WITHOUT ROWID;
