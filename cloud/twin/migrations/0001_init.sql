-- What people say of a site, besides what its hub does. rev is the version that ETags name.
CREATE TABLE twin_sites (
  site    BIGINT PRIMARY KEY,
  rev     BIGINT NOT NULL,
  doc     TEXT NOT NULL,
  created BIGINT NOT NULL,
  author  TEXT NOT NULL
);
