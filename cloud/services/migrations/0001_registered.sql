-- Outside services that have registered themselves. Times are milliseconds since 1970.
CREATE TABLE services_registered (
  id         TEXT PRIMARY KEY,
  org        TEXT NOT NULL,
  name       TEXT NOT NULL,
  version    TEXT NOT NULL,
  url        TEXT NOT NULL,
  metadata   TEXT NOT NULL,     -- JSON object of strings
  ttl        BIGINT NOT NULL,   -- seconds
  owner      TEXT NOT NULL,     -- who registered it
  registered BIGINT NOT NULL,
  beat       BIGINT NOT NULL,
  expires    BIGINT NOT NULL
);
CREATE INDEX services_registered_name ON services_registered (org, name);
