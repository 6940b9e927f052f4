-- The federation: who belongs to it, whom this node invited, and what nodes did for each other. Nodes are the 32 bytes
-- of their public keys.
CREATE TABLE members (
    node          BLOB    NOT NULL PRIMARY KEY CHECK (length(node) = 32),
    tier          INTEGER NOT NULL CHECK (tier BETWEEN 0 AND 3),
    -- Where it was last; empty if that was never known.
    address       BLOB    NOT NULL,
    -- The ticket that this node shows it until it was let in. Secret.
    ticket        BLOB,
    joined_at_ms  INTEGER NOT NULL,
    met_at_ms     INTEGER,
    -- A member that was removed keeps its row, so that no invitation from before lets it in again.
    removed_at_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE invitations (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    tier          INTEGER NOT NULL CHECK (tier BETWEEN 0 AND 3),
    uses          INTEGER NOT NULL CHECK (uses > 0),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE redemptions (
    invitation     BLOB    NOT NULL REFERENCES invitations (id),
    node           BLOB    NOT NULL REFERENCES members (node),
    redeemed_at_ms INTEGER NOT NULL,
    PRIMARY KEY (invitation, node)
) STRICT, WITHOUT ROWID;

-- Where this node may be reached: one row, written by the node that runs, read when a ticket is made.
CREATE TABLE node_address (
    only_one INTEGER NOT NULL PRIMARY KEY CHECK (only_one = 1),
    address  BLOB    NOT NULL
) STRICT;

-- Signed receipts between nodes, of both sides; append-only, but for the counter-signature that comes later.
CREATE TABLE services (
    seq        INTEGER NOT NULL PRIMARY KEY,
    hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    server     BLOB    NOT NULL CHECK (length(server) = 32),
    asker      BLOB    NOT NULL CHECK (length(asker) = 32),
    chain      INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    kept_at_ms INTEGER NOT NULL,
    receipt    BLOB    NOT NULL,
    counter    BLOB,
    UNIQUE (server, asker, chain, number)
) STRICT;
