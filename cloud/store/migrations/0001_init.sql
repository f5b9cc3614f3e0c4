-- Times are milliseconds since 1970 UTC; 0 is "never". Epochs and sites are numbered in order
-- of first sight, so that (epoch, seq) orders everything a site ever sent.

CREATE TABLE sites (
  id             AUTO_ID,
  org            TEXT NOT NULL,
  site           TEXT NOT NULL,
  name           TEXT NOT NULL DEFAULT '',
  first_seen     BIGINT NOT NULL,
  last_heartbeat BIGINT NOT NULL DEFAULT 0,  -- the cloud's clock
  heartbeat      BYTEA,                        -- wire.Heartbeat, the newest
  model          BYTEA,                        -- edge.Site of the newest snapshot
  snapshot_epoch BIGINT NOT NULL DEFAULT 0,
  snapshot_seq   BIGINT NOT NULL DEFAULT 0,
  snapshot_at    BIGINT NOT NULL DEFAULT 0,
  UNIQUE (org, site)
);

CREATE TABLE epochs (
  id         AUTO_ID,
  site       BIGINT NOT NULL REFERENCES sites (id),
  epoch      TEXT NOT NULL,
  first_seen BIGINT NOT NULL,
  UNIQUE (site, epoch)
);

-- How far each lane of each epoch is applied. current marks the newest epoch of a lane.
CREATE TABLE marks (
  epoch    BIGINT NOT NULL REFERENCES epochs (id),
  lane     TEXT NOT NULL,
  seq      BIGINT NOT NULL,
  crc      BIGINT NOT NULL,
  current  BIGINT NOT NULL,
  conflict TEXT NOT NULL DEFAULT '',
  updated  BIGINT NOT NULL,
  PRIMARY KEY (epoch, lane)
);

-- Records that the hub declared lost, and the chain value after them.
CREATE TABLE lost (
  epoch BIGINT NOT NULL REFERENCES epochs (id),
  lane  TEXT NOT NULL,
  first BIGINT NOT NULL,
  last  BIGINT NOT NULL,
  crc   BIGINT NOT NULL,
  at    BIGINT NOT NULL,
  PRIMARY KEY (epoch, lane, first)
);

-- The events lane. id is the cursor of everything that follows events.
CREATE TABLE events (
  id       AUTO_ID,
  site     BIGINT NOT NULL,
  epoch    BIGINT NOT NULL,
  seq      BIGINT NOT NULL,
  type     TEXT NOT NULL,
  subject  TEXT NOT NULL,
  time     BIGINT NOT NULL,            -- when the hub committed it
  at       BIGINT NOT NULL,            -- what it holds for
  input    BIGINT NOT NULL,
  backfill BIGINT NOT NULL,            -- older than a snapshot that was shown before
  body     BYTEA NOT NULL                -- the record, the journal's own bytes
);
CREATE UNIQUE INDEX events_once ON events (epoch, seq);
CREATE INDEX events_site ON events (site, id);
CREATE INDEX events_occupancy ON events (site, subject, at) WHERE type = 'occupancy.changed';

CREATE INDEX events_notify ON events (id) WHERE type IN ('alert.raised', 'alert.cleared', 'action.delivered', 'action.failed');

-- The readings lane; a row is one record of many readings.
CREATE TABLE readings (
  id    AUTO_ID,
  site  BIGINT NOT NULL,
  epoch BIGINT NOT NULL,
  seq   BIGINT NOT NULL,
  time  BIGINT NOT NULL,
  body  BYTEA NOT NULL
);
CREATE UNIQUE INDEX readings_once ON readings (epoch, seq);

-- Which records carry readings of a sensor.
CREATE TABLE sensor_readings (
  site   BIGINT NOT NULL,
  sensor TEXT NOT NULL,
  epoch  BIGINT NOT NULL,
  seq    BIGINT NOT NULL,
  PRIMARY KEY (site, sensor, epoch, seq)
);

-- Records and whole messages that could not be read, kept as they came.
CREATE TABLE unreadable (
  id     AUTO_ID,
  site   BIGINT NOT NULL,
  epoch  BIGINT NOT NULL,              -- 0: a message whose header could not be read
  lane   TEXT NOT NULL,
  seq    BIGINT NOT NULL,              -- of the record; for a message its place in the stream
  reason TEXT NOT NULL,
  at     BIGINT NOT NULL,
  body   BYTEA NOT NULL,
  UNIQUE (site, epoch, lane, seq)
);

-- The twin: the newest that is known. (epoch, seq) is what it is known from.
CREATE TABLE spaces (
  site      BIGINT NOT NULL,
  space     TEXT NOT NULL,
  occupancy BYTEA NOT NULL,
  epoch     BIGINT NOT NULL,
  seq       BIGINT NOT NULL,
  PRIMARY KEY (site, space)
);

CREATE TABLE sensors (
  site   BIGINT NOT NULL,
  sensor TEXT NOT NULL,
  status BYTEA NOT NULL,                 -- edge.SensorStatus
  epoch  BIGINT NOT NULL,              -- of the status; what readings add is ordered by time
  seq    BIGINT NOT NULL,
  PRIMARY KEY (site, sensor)
);

CREATE TABLE alerts (
  site     BIGINT NOT NULL,
  alert    TEXT NOT NULL,
  rule     TEXT NOT NULL,
  subject  TEXT NOT NULL,
  cloud    BIGINT NOT NULL,            -- 1: raised by the cloud itself
  open     BIGINT NOT NULL,
  raised   BIGINT NOT NULL,
  doc      BYTEA NOT NULL,               -- edge.Alert as its owner last told it
  epoch    BIGINT NOT NULL,
  seq      BIGINT NOT NULL,
  ack_at   BIGINT NOT NULL DEFAULT 0,  -- acknowledged here
  ack_by   TEXT NOT NULL DEFAULT '',
  ack_note TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (site, alert)
);
CREATE INDEX alerts_open ON alerts (site) WHERE open = 1;
CREATE UNIQUE INDEX alerts_cloud ON alerts (site, rule, subject) WHERE cloud = 1 AND open = 1;

CREATE TABLE loss (
  site   BIGINT NOT NULL,
  cause  TEXT NOT NULL,
  source TEXT NOT NULL,
  first  BIGINT NOT NULL,
  last   BIGINT NOT NULL,
  count  BIGINT NOT NULL,
  detail TEXT NOT NULL,
  epoch  BIGINT NOT NULL,
  seq    BIGINT NOT NULL,
  PRIMARY KEY (site, cause, source)
);

-- One row per step of an alert and webhook: what was or will be told to whom. A step that a
-- hub tells again (a restored store) is not told again.
CREATE TABLE outbox (
  id       AUTO_ID,
  event    BIGINT NOT NULL,
  org      TEXT NOT NULL,
  site     BIGINT NOT NULL,
  webhook  TEXT NOT NULL,
  alert    TEXT NOT NULL,
  type     TEXT NOT NULL,
  state    TEXT NOT NULL,               -- see store.DeliveryState
  reason   TEXT NOT NULL DEFAULT '',
  attempts BIGINT NOT NULL DEFAULT 0,
  owner    TEXT NOT NULL DEFAULT '',    -- the process that tries, until claimed
  claimed  BIGINT NOT NULL DEFAULT 0,
  at       BIGINT NOT NULL,            -- of the event
  updated  BIGINT NOT NULL,
  UNIQUE (site, alert, type, webhook)
);
CREATE INDEX outbox_due ON outbox (id) WHERE state = 'due';
CREATE INDEX outbox_alert ON outbox (site, alert);

-- How far each follower has come: of the event table, or of a stream.
CREATE TABLE cursors (
  name     TEXT PRIMARY KEY,
  position BIGINT NOT NULL,
  tag      TEXT NOT NULL DEFAULT ''     -- identity of what is followed
);
