-- Receipts that nodes hand back to each other after a loss, checkpoints of streams that still run, and what an asker
-- saw without a receipt. The table is made anew, since what is unique in it has changed.
ALTER TABLE services RENAME TO services_before;

-- Signed statements between nodes, of both sides. Of each stream the one with the highest revision is kept, and of those
-- that the asker signed the highest; what others supersede is removed.
CREATE TABLE services (
    hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    server     BLOB    NOT NULL CHECK (length(server) = 32),
    asker      BLOB    NOT NULL CHECK (length(asker) = 32),
    chain      INTEGER NOT NULL,
    stream     INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    -- In the chain, and the hash before it; 0 and zeros in a checkpoint.
    number     INTEGER NOT NULL,
    previous   BLOB    NOT NULL CHECK (length(previous) = 32),
    request    BLOB    NOT NULL CHECK (length(request) = 16),
    kept_at_ms INTEGER NOT NULL,
    receipt    BLOB    NOT NULL,
    counter    BLOB,
    -- It was lost here, or never came, and the other side handed it over.
    returned   INTEGER NOT NULL CHECK (returned IN (0, 1)),
    -- Counts all changes of this table; the other side reads on from the last one that it saw.
    changed    INTEGER NOT NULL UNIQUE,
    UNIQUE (server, asker, chain, stream, revision)
) STRICT;

-- The statement of version 1 has these at fixed places.
INSERT INTO services
    SELECT hash, server, asker, chain, number, 0, number, substr(receipt, 107, 32), substr(receipt, 139, 16),
           kept_at_ms, receipt, counter, 0, seq
    FROM services_before WHERE length(receipt) > 154;

DROP TABLE services_before;

CREATE UNIQUE INDEX services_links ON services (server, asker, chain, number) WHERE number > 0;
CREATE INDEX services_of_server ON services (server, changed);
CREATE INDEX services_of_asker ON services (asker, changed);
CREATE INDEX services_unsigned ON services (server, asker) WHERE counter IS NULL;

-- What this node saw of requests for which it has no receipt that it could sign. Nobody signed this.
CREATE TABLE claims (
    server            BLOB    NOT NULL CHECK (length(server) = 32),
    request           BLOB    NOT NULL CHECK (length(request) = 16),
    request_hash      BLOB    NOT NULL CHECK (length(request_hash) = 32),
    model             BLOB             CHECK (length(model) = 32),
    prompt_tokens     INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    began_ms          INTEGER NOT NULL,
    duration_ms       INTEGER NOT NULL,
    transcript_hash   BLOB    NOT NULL CHECK (length(transcript_hash) = 32),
    PRIMARY KEY (server, request)
) STRICT, WITHOUT ROWID;

-- This node's book: its name, which other nodes tell it by, and the last chain that it began.
CREATE TABLE service_book (
    only_one INTEGER NOT NULL PRIMARY KEY CHECK (only_one = 1),
    name     BLOB    NOT NULL CHECK (length(name) = 16),
    chain    INTEGER NOT NULL
) STRICT;

INSERT INTO service_book SELECT 1, randomblob(16), COALESCE(MAX(chain), 0) FROM services;

-- Up to where the books of others were read.
CREATE TABLE service_cursors (
    peer BLOB    NOT NULL PRIMARY KEY CHECK (length(peer) = 32),
    book BLOB    NOT NULL CHECK (length(book) = 16),
    seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
