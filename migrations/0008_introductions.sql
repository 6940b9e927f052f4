-- Nodes' signed words about each other's membership: this node's own, others' about it, and what it learned of others.
CREATE TABLE introductions (
    introducer  BLOB    NOT NULL CHECK (length(introducer) = 32),
    node        BLOB    NOT NULL CHECK (length(node) = 32),
    -- Milliseconds since 1970. From then on it says nothing.
    until_ms    INTEGER NOT NULL,
    -- Signed.
    word        BLOB    NOT NULL,
    -- Where the node was last; empty if that was never known.
    address     BLOB    NOT NULL,
    PRIMARY KEY (introducer, node)
) STRICT, WITHOUT ROWID;
