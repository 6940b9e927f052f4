-- Whoever signed in here, by his DID.
CREATE TABLE accounts (
    did           TEXT    NOT NULL PRIMARY KEY,
    -- What passkeys call him.
    handle        BLOB    NOT NULL UNIQUE CHECK (length(handle) = 16),
    -- The key that let him in, or 'owner'; while it is good, he may have these scopes.
    admitted_by   TEXT,
    scopes        TEXT    NOT NULL,
    -- SHA-256 of the DID that comes after this one, and who may say which does if the key is lost.
    next_key      BLOB    CHECK (length(next_key) = 32),
    recovery      TEXT,
    created_at_ms INTEGER NOT NULL,
    seen_at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Other DIDs of an account, each with what its owner signed to say so.
CREATE TABLE account_links (
    linked        TEXT    NOT NULL PRIMARY KEY,
    account       TEXT    NOT NULL REFERENCES accounts (did) ON DELETE CASCADE ON UPDATE CASCADE,
    message       TEXT    NOT NULL,
    signature     TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX account_links_by_account ON account_links (account);

CREATE TABLE sessions (
    id            TEXT    NOT NULL PRIMARY KEY,
    hash          BLOB    NOT NULL CHECK (length(hash) = 32),
    account       TEXT    NOT NULL REFERENCES accounts (did) ON DELETE CASCADE ON UPDATE CASCADE,
    scopes        TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    ended_at_ms   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_account ON sessions (account, created_at_ms);
CREATE INDEX sessions_by_expiry ON sessions (expires_at_ms);

CREATE TABLE passkeys (
    id            BLOB    NOT NULL PRIMARY KEY,
    account       TEXT    NOT NULL REFERENCES accounts (did) ON DELETE CASCADE ON UPDATE CASCADE,
    record        TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    used_at_ms    INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX passkeys_by_account ON passkeys (account);

-- That an account showed a credential of an issuer whom the owner accepts; not the credential itself.
CREATE TABLE shown_credentials (
    account       TEXT    NOT NULL REFERENCES accounts (did) ON DELETE CASCADE ON UPDATE CASCADE,
    issuer        TEXT    NOT NULL,
    credential    TEXT,
    shown_at_ms   INTEGER NOT NULL,
    -- Until then it counts, and has to be shown again.
    good_until_ms INTEGER NOT NULL,
    PRIMARY KEY (account, issuer)
) STRICT, WITHOUT ROWID;

-- Credentials that this node issued: where their state stands, and not what they say.
CREATE TABLE issued_credentials (
    list          INTEGER NOT NULL,
    place         INTEGER NOT NULL,
    id            TEXT    NOT NULL UNIQUE,
    issued_by     TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER,
    PRIMARY KEY (list, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX issued_credentials_revoked ON issued_credentials (list, place) WHERE revoked_at_ms IS NOT NULL;

CREATE TABLE revoked_capabilities (
    id            BLOB    NOT NULL PRIMARY KEY,
    revoked_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which DID came after which, with what was signed to say so.
CREATE TABLE account_successions (
    old           TEXT    NOT NULL PRIMARY KEY,
    new           TEXT    NOT NULL,
    message       TEXT    NOT NULL,
    signature     TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
