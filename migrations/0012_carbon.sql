-- What requests took of energy, and what that cost the climate. Null where it is not known. Microjoules, microseconds,
-- nanograms of CO2 equivalent.
ALTER TABLE receipts ADD COLUMN energy_uj INTEGER;
ALTER TABLE receipts ADD COLUMN energy_method TEXT;
ALTER TABLE receipts ADD COLUMN energy_uncertainty INTEGER;
ALTER TABLE receipts ADD COLUMN machine_us INTEGER;
ALTER TABLE receipts ADD COLUMN operational_ng INTEGER;
ALTER TABLE receipts ADD COLUMN embodied_ng INTEGER;
ALTER TABLE receipts ADD COLUMN grid_evidence TEXT;

CREATE INDEX receipts_by_time ON receipts (admitted_at_ms);

-- The node, hour by hour: what the meter saw, and what the house took and made, in milliwatt-hours.
CREATE TABLE carbon_hours (
    hour_ms         INTEGER NOT NULL PRIMARY KEY,
    total_uj        INTEGER NOT NULL DEFAULT 0,
    jobs_uj         INTEGER NOT NULL DEFAULT 0,
    unattributed_uj INTEGER NOT NULL DEFAULT 0,
    known_uj        INTEGER NOT NULL DEFAULT 0,
    carbon_ng       INTEGER NOT NULL DEFAULT 0,
    load_mwh        INTEGER NOT NULL DEFAULT 0,
    matched_mwh     INTEGER NOT NULL DEFAULT 0,
    seen_s          INTEGER NOT NULL DEFAULT 0,
    evidence        TEXT,
    CHECK (total_uj = jobs_uj + unattributed_uj)
) STRICT;

-- What live sources said.
CREATE TABLE carbon_intensities (
    location   TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('average', 'marginal')),
    from_ms    INTEGER NOT NULL,
    to_ms      INTEGER NOT NULL,
    mg_per_kwh INTEGER NOT NULL CHECK (mg_per_kwh >= 0),
    source     TEXT    NOT NULL,
    PRIMARY KEY (location, kind, from_ms)
) STRICT, WITHOUT ROWID;

-- What they expected: a list of [from_ms, to_ms, mg_per_kwh] as JSON.
CREATE TABLE carbon_forecasts (
    location        TEXT    NOT NULL,
    kind            TEXT    NOT NULL CHECK (kind IN ('average', 'marginal')),
    generated_at_ms INTEGER NOT NULL,
    heard_at_ms     INTEGER NOT NULL,
    points          TEXT    NOT NULL,
    PRIMARY KEY (location, kind, generated_at_ms)
) STRICT, WITHOUT ROWID;
