-- Who asked a model, and what it looked at. The question itself is not kept.
CREATE TABLE assist_questions (
  id       TEXT NOT NULL,      -- UUIDv7
  org      TEXT NOT NULL,      -- of the caller; one row for each, empty = none
  at       BIGINT NOT NULL,
  kind     TEXT NOT NULL,      -- of the caller: user, service, local
  subject  TEXT NOT NULL,
  name     TEXT NOT NULL,
  question TEXT NOT NULL,      -- SHA-256, hex
  tools    TEXT NOT NULL,      -- names, in the order of the calls
  steps    INTEGER NOT NULL,
  tokens   BIGINT NOT NULL,
  outcome  TEXT NOT NULL,      -- answered, not-known or why not
  took     BIGINT NOT NULL,    -- in milliseconds
  PRIMARY KEY (id, org)
);
CREATE INDEX assist_questions_org ON assist_questions (org, id);
