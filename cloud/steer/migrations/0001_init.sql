-- What each site is to run, and what its hub says became of that.
CREATE TABLE steer_sites (
  site     BIGINT PRIMARY KEY,
  rev      BIGINT NOT NULL DEFAULT 0,   -- desired; 0 = the hub's own file alone
  runs     BIGINT NOT NULL DEFAULT 0,   -- what the hub says it runs
  on_trial INTEGER NOT NULL DEFAULT 0,
  refused  BIGINT NOT NULL DEFAULT 0,
  reasons  TEXT NOT NULL DEFAULT '[]',
  reported BIGINT NOT NULL DEFAULT 0    -- when the hub last said so; 0 = never
);

CREATE TABLE steer_desired (
  site   BIGINT NOT NULL,
  rev    BIGINT NOT NULL,
  doc    TEXT NOT NULL,
  author TEXT NOT NULL,
  note   TEXT NOT NULL,
  at     BIGINT NOT NULL,
  PRIMARY KEY (site, rev)
);

CREATE TABLE steer_commands (
  id       TEXT PRIMARY KEY,
  site     BIGINT NOT NULL,
  kind     TEXT NOT NULL,
  subject  TEXT NOT NULL,
  args     TEXT NOT NULL,
  author   TEXT NOT NULL,
  who      TEXT NOT NULL,               -- the caller, for a token when it is sent
  state    TEXT NOT NULL,               -- waiting, sent, applied, refused, failed
  code     TEXT NOT NULL DEFAULT '',
  reason   TEXT NOT NULL DEFAULT '',
  created  BIGINT NOT NULL,
  deadline BIGINT NOT NULL,
  done     BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX steer_commands_site ON steer_commands (site, created);
CREATE INDEX steer_commands_waiting ON steer_commands (state) WHERE state IN ('waiting', 'sent');
