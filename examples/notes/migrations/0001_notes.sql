-- Read by SQLite and by PostgreSQL.
CREATE TABLE notes (
    id    BIGINT PRIMARY KEY,
    title TEXT NOT NULL UNIQUE,
    body  TEXT NOT NULL
);
