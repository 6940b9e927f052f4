-- Blobs: bytes under their BLAKE3, each once on the disk, whoever has them.
CREATE TABLE blobs (
    hash TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE blob_holders (
    owner TEXT NOT NULL,
    hash TEXT NOT NULL REFERENCES blobs (hash),
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (owner, hash)
) WITHOUT ROWID;
CREATE INDEX blob_holders_by_hash ON blob_holders (hash);

-- Uploads that are under way. How far each came is the length of its file.
CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX uploads_by_owner ON uploads (owner);

-- How much lay here for how long. `rest` is what is not a whole byte-second: bytes times milliseconds.
CREATE TABLE storage_meters (
    owner TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    metered_at_ms INTEGER NOT NULL,
    byte_seconds INTEGER NOT NULL DEFAULT 0,
    rest INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
