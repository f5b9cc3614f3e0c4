-- Times are milliseconds since 1970 UTC; 0 is "never". Epochs and sites are numbered in order
-- of first sight, so that (epoch, seq) orders everything a site ever sent.

CREATE TABLE sites (
  id             INTEGER PRIMARY KEY,
  org            TEXT NOT NULL,
  site           TEXT NOT NULL,
  name           TEXT NOT NULL DEFAULT '',
  first_seen     INTEGER NOT NULL,
  last_heartbeat INTEGER NOT NULL DEFAULT 0,  -- the cloud's clock
  heartbeat      BLOB,                        -- wire.Heartbeat, the newest
  model          BLOB,                        -- edge.Site of the newest snapshot
  snapshot_epoch INTEGER NOT NULL DEFAULT 0,
  snapshot_seq   INTEGER NOT NULL DEFAULT 0,
  snapshot_at    INTEGER NOT NULL DEFAULT 0,
  UNIQUE (org, site)
);

CREATE TABLE epochs (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  site       INTEGER NOT NULL REFERENCES sites (id),
  epoch      TEXT NOT NULL,
  first_seen INTEGER NOT NULL,
  UNIQUE (site, epoch)
);

-- How far each lane of each epoch is applied. current marks the newest epoch of a lane.
CREATE TABLE marks (
  epoch    INTEGER NOT NULL REFERENCES epochs (id),
  lane     TEXT NOT NULL,
  seq      INTEGER NOT NULL,
  crc      INTEGER NOT NULL,
  current  INTEGER NOT NULL,
  conflict TEXT NOT NULL DEFAULT '',
  updated  INTEGER NOT NULL,
  PRIMARY KEY (epoch, lane)
) WITHOUT ROWID;

-- Records that the hub declared lost, and the chain value after them.
CREATE TABLE lost (
  epoch INTEGER NOT NULL REFERENCES epochs (id),
  lane  TEXT NOT NULL,
  first INTEGER NOT NULL,
  last  INTEGER NOT NULL,
  crc   INTEGER NOT NULL,
  at    INTEGER NOT NULL,
  PRIMARY KEY (epoch, lane, first)
) WITHOUT ROWID;

-- The events lane. id is the cursor of everything that follows events.
CREATE TABLE events (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  site     INTEGER NOT NULL,
  epoch    INTEGER NOT NULL,
  seq      INTEGER NOT NULL,
  type     TEXT NOT NULL,
  subject  TEXT NOT NULL,
  time     INTEGER NOT NULL,            -- when the hub committed it
  at       INTEGER NOT NULL,            -- what it holds for
  input    INTEGER NOT NULL,
  backfill INTEGER NOT NULL,            -- older than a snapshot that was shown before
  body     BLOB NOT NULL                -- the record, the journal's own bytes
);
CREATE UNIQUE INDEX events_once ON events (epoch, seq);
CREATE INDEX events_site ON events (site, id);
CREATE INDEX events_occupancy ON events (site, subject, at) WHERE type = 'occupancy.changed';

CREATE INDEX events_notify ON events (id) WHERE type IN ('alert.raised', 'alert.cleared', 'action.delivered', 'action.failed');

-- The readings lane; a row is one record of many readings.
CREATE TABLE readings (
  id    INTEGER PRIMARY KEY,
  site  INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  seq   INTEGER NOT NULL,
  time  INTEGER NOT NULL,
  body  BLOB NOT NULL
);
CREATE UNIQUE INDEX readings_once ON readings (epoch, seq);

-- Which records carry readings of a sensor.
CREATE TABLE sensor_readings (
  site   INTEGER NOT NULL,
  sensor TEXT NOT NULL,
  epoch  INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  PRIMARY KEY (site, sensor, epoch, seq)
) WITHOUT ROWID;

-- Records and whole messages that could not be read, kept as they came.
CREATE TABLE unreadable (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  site   INTEGER NOT NULL,
  epoch  INTEGER NOT NULL,              -- 0: a message whose header could not be read
  lane   TEXT NOT NULL,
  seq    INTEGER NOT NULL,              -- of the record; for a message its place in the stream
  reason TEXT NOT NULL,
  at     INTEGER NOT NULL,
  body   BLOB NOT NULL,
  UNIQUE (site, epoch, lane, seq)
);

-- The twin: the newest that is known. (epoch, seq) is what it is known from.
CREATE TABLE spaces (
  site      INTEGER NOT NULL,
  space     TEXT NOT NULL,
  occupancy BLOB NOT NULL,
  epoch     INTEGER NOT NULL,
  seq       INTEGER NOT NULL,
  PRIMARY KEY (site, space)
);

CREATE TABLE sensors (
  site   INTEGER NOT NULL,
  sensor TEXT NOT NULL,
  status BLOB NOT NULL,                 -- edge.SensorStatus
  epoch  INTEGER NOT NULL,              -- of the status; what readings add is ordered by time
  seq    INTEGER NOT NULL,
  PRIMARY KEY (site, sensor)
);

CREATE TABLE alerts (
  site     INTEGER NOT NULL,
  alert    TEXT NOT NULL,
  rule     TEXT NOT NULL,
  subject  TEXT NOT NULL,
  cloud    INTEGER NOT NULL,            -- 1: raised by the cloud itself
  open     INTEGER NOT NULL,
  raised   INTEGER NOT NULL,
  doc      BLOB NOT NULL,               -- edge.Alert as its owner last told it
  epoch    INTEGER NOT NULL,
  seq      INTEGER NOT NULL,
  ack_at   INTEGER NOT NULL DEFAULT 0,  -- acknowledged here
  ack_by   TEXT NOT NULL DEFAULT '',
  ack_note TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (site, alert)
);
CREATE INDEX alerts_open ON alerts (site) WHERE open = 1;
CREATE UNIQUE INDEX alerts_cloud ON alerts (site, rule, subject) WHERE cloud = 1 AND open = 1;

CREATE TABLE loss (
  site   INTEGER NOT NULL,
  cause  TEXT NOT NULL,
  source TEXT NOT NULL,
  first  INTEGER NOT NULL,
  last   INTEGER NOT NULL,
  count  INTEGER NOT NULL,
  detail TEXT NOT NULL,
  epoch  INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  PRIMARY KEY (site, cause, source)
);

-- One row per step of an alert and webhook: what was or will be told to whom. A step that a
-- hub tells again (a restored store) is not told again.
CREATE TABLE outbox (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  event    INTEGER NOT NULL,
  org      TEXT NOT NULL,
  site     INTEGER NOT NULL,
  webhook  TEXT NOT NULL,
  alert    TEXT NOT NULL,
  type     TEXT NOT NULL,
  state    TEXT NOT NULL,               -- see store.DeliveryState
  reason   TEXT NOT NULL DEFAULT '',
  attempts INTEGER NOT NULL DEFAULT 0,
  owner    TEXT NOT NULL DEFAULT '',    -- the process that tries, until claimed
  claimed  INTEGER NOT NULL DEFAULT 0,
  at       INTEGER NOT NULL,            -- of the event
  updated  INTEGER NOT NULL,
  UNIQUE (site, alert, type, webhook)
);
CREATE INDEX outbox_due ON outbox (id) WHERE state = 'due';
CREATE INDEX outbox_alert ON outbox (site, alert);

-- How far each follower has come: of the event table, or of a stream.
CREATE TABLE cursors (
  name     TEXT PRIMARY KEY,
  position INTEGER NOT NULL,
  tag      TEXT NOT NULL DEFAULT ''     -- identity of what is followed
) WITHOUT ROWID;
