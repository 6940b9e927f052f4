-- Identities that this node verified for somebody, who pays for it: `identity` one, `multi_chain` one on a chain beside
-- another. Written before it is answered.
CREATE TABLE verifications (
    seq       INTEGER NOT NULL PRIMARY KEY,
    principal TEXT    NOT NULL,
    kind      TEXT    NOT NULL CHECK (kind IN ('identity', 'multi_chain')),
    at_ms     INTEGER NOT NULL
) STRICT;

CREATE INDEX verifications_by_principal ON verifications (principal);
