-- Where events go: webhooks that were set up by the API, and the sinks of the configuration file.
CREATE TABLE forward_targets (
  id       TEXT PRIMARY KEY,             -- UUIDv7 of a webhook, "sink:NAME" of a sink
  org      TEXT NOT NULL,                -- whose events
  spec     TEXT NOT NULL,                -- of a webhook, with its secret; empty for a sink
  active   INTEGER NOT NULL DEFAULT 1,
  position BIGINT NOT NULL,              -- id of the newest event that is dealt with
  failures INTEGER NOT NULL DEFAULT 0,   -- in a row
  error    TEXT NOT NULL DEFAULT '',     -- of the newest failure; empty after a success
  paused   BIGINT NOT NULL DEFAULT 0,    -- since when it is left alone after failures; 0 = it is not
  owner    TEXT NOT NULL DEFAULT '',     -- the process that sends, until lease
  lease    BIGINT NOT NULL DEFAULT 0,
  created  BIGINT NOT NULL,
  changed  TEXT NOT NULL                 -- another value after each change by hand
);
CREATE INDEX forward_targets_org ON forward_targets (org);

-- Times that are sent once more.
CREATE TABLE forward_replays (
  id       TEXT PRIMARY KEY,             -- UUIDv7
  target   TEXT NOT NULL,
  position BIGINT NOT NULL,              -- id of the newest event that is dealt with
  final    BIGINT NOT NULL,              -- id of the last event
  since    BIGINT NOT NULL,              -- events that happened before are left out; 0 = none
  until    BIGINT NOT NULL,              -- events that happened later are left out; 0 = none
  sent     BIGINT NOT NULL DEFAULT 0,
  finished INTEGER NOT NULL DEFAULT 0,
  creator  TEXT NOT NULL,
  created  BIGINT NOT NULL
);
CREATE INDEX forward_replays_target ON forward_replays (target, finished);

-- What was sent: the newest calls of each target, and all that was refused.
CREATE TABLE forward_deliveries (
  id       AUTO_ID,
  target   TEXT NOT NULL,
  state    TEXT NOT NULL,                -- delivered, dead
  oldest   BIGINT NOT NULL,              -- id of its first event
  newest   BIGINT NOT NULL,
  amount   INTEGER NOT NULL,             -- events
  attempts INTEGER NOT NULL,
  replay   TEXT NOT NULL DEFAULT '',
  error    TEXT NOT NULL DEFAULT '',
  at       BIGINT NOT NULL,
  took     BIGINT NOT NULL               -- of the last attempt, in milliseconds
);
CREATE INDEX forward_deliveries_target ON forward_deliveries (target, state, id);
