-- Private databases are sealed: what they say, and what hangs on it, is encrypted under a key of the database's own.
-- `sealed`: 0 nothing is; 1 what comes is, and what was there before is being sealed; 2 all is.
-- What is sealed is a blob where it would be a text else; names of attachments are keyed hashes.
ALTER TABLE databases ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;

-- The database's key, encrypted for each who may open it: a principal by his id, or the node by its public key.
CREATE TABLE wraps (
    db INTEGER NOT NULL REFERENCES databases (key) ON DELETE CASCADE,
    recipient TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    PRIMARY KEY (db, recipient)
) WITHOUT ROWID;
CREATE INDEX wraps_by_recipient ON wraps (recipient);
