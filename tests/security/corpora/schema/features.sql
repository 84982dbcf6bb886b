CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE people (name VARCHAR, age INTEGER, city VARCHAR, born TIMESTAMP);
INSERT INTO people VALUES ('Ada', 36, 'Paris', '1985-12-10'), ('Bob', 30, 'Rome', '1990-01-02'),
    ('Carl', 9, 'Paris', '2015-05-05'), ('Dora', 41, NULL, '1980-03-03');
CREATE TABLE places (city VARCHAR, country VARCHAR);
INSERT INTO places VALUES ('Paris', 'France'), ('Rome', 'Italy');
CREATE TABLE events (who VARCHAR, happened TIMESTAMP);
INSERT INTO events VALUES ('Ada', '1985-01-01'), ('Bob', '1989-01-01');
CREATE TABLE wide (id INTEGER, jan INTEGER, feb INTEGER);
INSERT INTO wide VALUES (1, 2, 3), (2, 4, 5);
CREATE VIEW adults AS SELECT * FROM people WHERE age >= 18;
CREATE VIEW adults_by_city AS SELECT city, count(*) AS n FROM adults GROUP BY city;
CREATE MACRO double_it(x) AS x + x;
CREATE MACRO older_than(years) AS TABLE SELECT * FROM people WHERE age > years;
CREATE MACRO full_label(a) AS a || '!', (a, b) AS a || coalesce(b, '');
CREATE SEQUENCE ids;
CREATE TABLE items (id INTEGER PRIMARY KEY, label VARCHAR DEFAULT 'none', amount DECIMAL(10, 2));
CREATE TABLE large_table (id INTEGER, date DATE);
