CREATE TABLE tags (
    note BIGINT NOT NULL REFERENCES notes (id) ON DELETE CASCADE,
    tag  TEXT NOT NULL,
    PRIMARY KEY (note, tag)
);

CREATE INDEX tags_by_name ON tags (tag);
