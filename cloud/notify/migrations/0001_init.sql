-- The queue: one message for one receiver of one channel. See State.
CREATE TABLE notify_deliveries (
  id       AUTO_ID,
  org      TEXT NOT NULL,
  site     TEXT NOT NULL DEFAULT '',     -- id within the organisation; empty = none
  channel  TEXT NOT NULL,                -- "ORG/NAME", "mail" or "push:HOST"
  target   TEXT NOT NULL DEFAULT '',     -- address, "user:ID" or id of a push subscription; empty = the channel's own
  dedupe   TEXT NOT NULL,                -- idempotency key, the same when it is sent again
  sequence TEXT NOT NULL DEFAULT '',     -- those with the same one go in order
  alert    TEXT NOT NULL DEFAULT '',
  type     TEXT NOT NULL,
  state    TEXT NOT NULL,
  reason   TEXT NOT NULL DEFAULT '',
  attempts INTEGER NOT NULL DEFAULT 0,
  owner    TEXT NOT NULL DEFAULT '',     -- the process that tries, until claimed
  claimed  BIGINT NOT NULL DEFAULT 0,
  at       BIGINT NOT NULL,              -- of what it tells
  due      BIGINT NOT NULL DEFAULT 0,    -- not sent before
  updated  BIGINT NOT NULL,
  message  TEXT NOT NULL,                -- deliver.Message as JSON; without text once a mail is delivered
  UNIQUE (org, channel, target, dedupe)
);
CREATE INDEX notify_deliveries_due ON notify_deliveries (id) WHERE state = 'due';
CREATE INDEX notify_deliveries_alert ON notify_deliveries (org, site, alert);
CREATE INDEX notify_deliveries_state ON notify_deliveries (state, id);

CREATE TABLE notify_inbox (
  id       TEXT PRIMARY KEY,             -- UUIDv7: newer ones are greater
  person   TEXT NOT NULL,
  org      TEXT NOT NULL,
  kind     TEXT NOT NULL,
  dedupe   TEXT NOT NULL,
  title    TEXT NOT NULL,
  body     TEXT NOT NULL,
  link     TEXT NOT NULL,
  severity TEXT NOT NULL,
  at       BIGINT NOT NULL,
  seen     BIGINT NOT NULL DEFAULT 0,    -- when it was marked read; 0 = not yet
  UNIQUE (person, org, dedupe)
);
CREATE INDEX notify_inbox_person ON notify_inbox (person, id);
CREATE INDEX notify_inbox_unread ON notify_inbox (person) WHERE seen = 0;

-- What a person wants of an organisation and kind; empty = of all.
CREATE TABLE notify_preferences (
  person TEXT NOT NULL,
  org    TEXT NOT NULL,
  kind   TEXT NOT NULL,
  spec   TEXT NOT NULL,
  PRIMARY KEY (person, org, kind)
);

CREATE TABLE notify_push (
  id       TEXT PRIMARY KEY,
  person   TEXT NOT NULL,
  endpoint TEXT NOT NULL UNIQUE,
  spec     TEXT NOT NULL,
  created  BIGINT NOT NULL
);
CREATE INDEX notify_push_person ON notify_push (person);

CREATE TABLE notify_channels (
  id      TEXT PRIMARY KEY,
  org     TEXT NOT NULL,
  name    TEXT NOT NULL,
  spec    TEXT NOT NULL,                 -- with its secret
  updated BIGINT NOT NULL,
  UNIQUE (org, name)
);

CREATE TABLE notify_routes (
  id      TEXT PRIMARY KEY,
  org     TEXT NOT NULL,
  domain  TEXT NOT NULL,
  spec    TEXT NOT NULL,
  updated BIGINT NOT NULL
);
CREATE INDEX notify_routes_org ON notify_routes (org);

CREATE TABLE notify_silences (
  id     TEXT PRIMARY KEY,
  org    TEXT NOT NULL,
  domain TEXT NOT NULL,
  spec   TEXT NOT NULL,
  starts BIGINT NOT NULL,
  ends   BIGINT NOT NULL                 -- 0 = until what it matches has cleared
);
CREATE INDEX notify_silences_org ON notify_silences (org, ends);

-- Alerts that are not cleared, as far as notifications care.
CREATE TABLE notify_alerts (
  org   TEXT NOT NULL,
  site  TEXT NOT NULL,
  alert TEXT NOT NULL,
  rule  TEXT NOT NULL,
  acked BIGINT NOT NULL DEFAULT 0,
  body  TEXT NOT NULL,                   -- edge.Alert
  PRIMARY KEY (org, site, alert)
);

-- Steps of escalation still to come, with the policy as it was when the alert was raised.
CREATE TABLE notify_timers (
  id       AUTO_ID,
  org      TEXT NOT NULL,
  site     TEXT NOT NULL,
  alert    TEXT NOT NULL,
  route    TEXT NOT NULL,
  step     INTEGER NOT NULL,             -- -1 = the digest of what was too old
  grouping TEXT NOT NULL,                -- those that are due together with the same one are one message
  due      BIGINT NOT NULL,
  fired    INTEGER NOT NULL DEFAULT 0,
  muted    INTEGER NOT NULL DEFAULT 0,   -- 1: put off by a silence or a graver alert
  spec     TEXT NOT NULL                 -- Step
);
CREATE INDEX notify_timers_due ON notify_timers (due);
CREATE INDEX notify_timers_alert ON notify_timers (org, site, alert);

-- Who has been told that an alert was raised, and is to be told that it cleared.
CREATE TABLE notify_told (
  org      TEXT NOT NULL,
  site     TEXT NOT NULL,
  alert    TEXT NOT NULL,
  receiver TEXT NOT NULL,                -- "channel:NAME" or "user:ID"
  PRIMARY KEY (org, site, alert, receiver)
);

-- One-time links by which an alert is acknowledged.
CREATE TABLE notify_acks (
  hash    TEXT PRIMARY KEY,              -- SHA-256 of the link's secret, hex
  org     TEXT NOT NULL,
  site    TEXT NOT NULL,
  alerts  TEXT NOT NULL,                 -- JSON list of ids
  who     TEXT NOT NULL,
  title   TEXT NOT NULL,
  expires BIGINT NOT NULL,
  used    BIGINT NOT NULL DEFAULT 0
);
