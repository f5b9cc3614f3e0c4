-- The newest total of each line counter.
CREATE TABLE analytics_counters (
  site   BIGINT NOT NULL,
  sensor TEXT NOT NULL,
  kind   TEXT NOT NULL,
  at     BIGINT NOT NULL,
  total  BIGINT NOT NULL,
  PRIMARY KEY (site, sensor, kind)
);
