-- Responses and conversations: what the Responses API keeps, until it expires or is erased. The
-- words of people are in `body` and in the items, and nowhere else in this database.
CREATE TABLE kept (
    id            TEXT    NOT NULL PRIMARY KEY,
    kind          TEXT    NOT NULL CHECK (kind IN ('response', 'conversation')),
    principal     TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    -- Of the body and all items; kept up to date by the triggers below.
    bytes         INTEGER NOT NULL DEFAULT 0,
    -- Of a response: what it follows on. That may be gone, so it is no reference.
    previous      TEXT,
    conversation  TEXT,
    background    INTEGER NOT NULL DEFAULT 0,
    finished      INTEGER NOT NULL DEFAULT 1,
    -- The lengths in which its text was streamed, as JSON.
    cuts          TEXT    NOT NULL DEFAULT '[]',
    -- The wire object without its output. Last, since it may be long.
    body          TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_by_principal ON kept (principal, expires_at_ms, bytes);
CREATE INDEX kept_by_expiry ON kept (expires_at_ms);
CREATE INDEX kept_unfinished ON kept (id) WHERE finished = 0;

CREATE TABLE kept_items (
    owner     TEXT    NOT NULL REFERENCES kept (id) ON DELETE CASCADE,
    seq       INTEGER NOT NULL,
    id        TEXT    NOT NULL,
    is_output INTEGER NOT NULL,
    body      TEXT    NOT NULL,
    PRIMARY KEY (owner, seq),
    UNIQUE (owner, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_items_by_id ON kept_items (id);

CREATE TRIGGER kept_items_added AFTER INSERT ON kept_items BEGIN
    UPDATE kept SET bytes = bytes + length(CAST(NEW.body AS BLOB)) WHERE id = NEW.owner;
END;

CREATE TRIGGER kept_items_removed AFTER DELETE ON kept_items BEGIN
    UPDATE kept SET bytes = bytes - length(CAST(OLD.body AS BLOB)) WHERE id = OLD.owner;
END;
