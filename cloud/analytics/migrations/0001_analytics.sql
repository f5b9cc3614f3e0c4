-- Times are milliseconds since 1970 UTC; stretches of time are milliseconds.

-- The occupancy of a space that was taken in last: hours are folded up to it.
CREATE TABLE analytics_spaces (
  site     BIGINT NOT NULL,
  space    TEXT NOT NULL,
  at       BIGINT NOT NULL,
  state    TEXT NOT NULL,
  persons  BIGINT NOT NULL,
  capacity BIGINT NOT NULL,
  begins   BIGINT NOT NULL,
  PRIMARY KEY (site, space)
);

-- Totals per hour of the wall clock.
CREATE TABLE analytics_hours (
  site     BIGINT NOT NULL,
  space    TEXT NOT NULL,
  hour     BIGINT NOT NULL,           -- its beginning
  known    BIGINT NOT NULL,
  vacant   BIGINT NOT NULL,
  occupied BIGINT NOT NULL,
  over_cap BIGINT NOT NULL,
  rated    BIGINT NOT NULL,           -- known, with a capacity
  persons  BIGINT NOT NULL,           -- persons times known time
  seated   BIGINT NOT NULL,           -- persons times rated time
  seats    BIGINT NOT NULL,           -- capacity times rated time
  low      BIGINT NOT NULL,
  high     BIGINT NOT NULL,
  high_at  BIGINT NOT NULL,
  spells   BIGINT NOT NULL,
  capacity BIGINT NOT NULL,
  PRIMARY KEY (site, space, hour)
);

-- The zone by which a site's hours were cut.
CREATE TABLE analytics_sites (
  site BIGINT PRIMARY KEY,
  zone TEXT NOT NULL
);

-- Stretches of a space's past that the hub has revised.
CREATE TABLE analytics_revisions (
  site     BIGINT NOT NULL,
  space    TEXT NOT NULL,
  begins   BIGINT NOT NULL,
  ends     BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  PRIMARY KEY (site, space, begins, ends)
);

-- Events per hour and kind; total is what they sum up to, such as the time to acknowledge.
CREATE TABLE analytics_counts (
  site    BIGINT NOT NULL,
  kind    TEXT NOT NULL,
  subject TEXT NOT NULL,
  hour    BIGINT NOT NULL,
  n       BIGINT NOT NULL,
  total   BIGINT NOT NULL,
  PRIMARY KEY (site, kind, subject, hour)
);

-- Steps of alerts that were counted: each counts once, whoever tells it again.
CREATE TABLE analytics_alerts (
  site    BIGINT NOT NULL,
  alert   TEXT NOT NULL,
  raised  BIGINT NOT NULL,
  acked   BIGINT NOT NULL,
  cleared BIGINT NOT NULL,
  PRIMARY KEY (site, alert)
);

-- What sensors ("sensor:ID"), the hub ("hub") and its line to the cloud ("link") were from at on.
CREATE TABLE analytics_states (
  site    BIGINT NOT NULL,
  subject TEXT NOT NULL,
  at      BIGINT NOT NULL,
  state   TEXT NOT NULL,
  PRIMARY KEY (site, subject, at)
);

CREATE TABLE analytics_settings (
  site BIGINT PRIMARY KEY,
  doc  TEXT NOT NULL
);

CREATE TABLE analytics_reports (
  id       TEXT PRIMARY KEY,
  site     BIGINT NOT NULL,
  doc      TEXT NOT NULL,             -- what was asked for
  schedule TEXT NOT NULL DEFAULT '',
  state    TEXT NOT NULL,             -- queued, running, done, failed
  attempts BIGINT NOT NULL DEFAULT 0,
  reason   TEXT NOT NULL DEFAULT '',
  author   TEXT NOT NULL,
  created  BIGINT NOT NULL,
  finished BIGINT NOT NULL DEFAULT 0,
  owner    TEXT NOT NULL DEFAULT '',  -- the process that makes it, until claimed
  claimed  BIGINT NOT NULL DEFAULT 0,
  lines    BIGINT NOT NULL DEFAULT 0,
  content  BYTEA
);
CREATE INDEX analytics_reports_site ON analytics_reports (site, created);
CREATE INDEX analytics_reports_open ON analytics_reports (created) WHERE state IN ('queued', 'running');

CREATE TABLE analytics_schedules (
  id      TEXT PRIMARY KEY,
  site    BIGINT NOT NULL,
  doc     TEXT NOT NULL,
  due     BIGINT NOT NULL,
  author  TEXT NOT NULL,
  created BIGINT NOT NULL
);
CREATE INDEX analytics_schedules_due ON analytics_schedules (due);

-- Planned occupancy. uid is a hash of the calendar's own id of the event.
CREATE TABLE analytics_plans (
  id      TEXT PRIMARY KEY,
  site    BIGINT NOT NULL,
  space   TEXT NOT NULL,
  begins  BIGINT NOT NULL,
  ends    BIGINT NOT NULL,
  people  BIGINT NOT NULL,            -- -1 = not said
  title   TEXT NOT NULL,
  uid     TEXT NOT NULL,
  created BIGINT NOT NULL
);
CREATE INDEX analytics_plans_time ON analytics_plans (site, begins);
CREATE INDEX analytics_plans_uid ON analytics_plans (site, uid);
