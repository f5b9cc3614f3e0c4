-- Who an event is for: empty = everybody who may see the site; otherwise such as "user:ID".
ALTER TABLE events ADD COLUMN audience TEXT NOT NULL DEFAULT '';

-- The schemas of the modules that bring their own tables.
CREATE TABLE module_versions (
  module  TEXT NOT NULL,
  version BIGINT NOT NULL,
  name    TEXT NOT NULL,
  applied BIGINT NOT NULL,
  PRIMARY KEY (module, version)
);
