"""What is asked of a database before anything is written: is it ours, and does it let us work."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, select, text
from support.batches import audit, new_jobs, request, submit

from wavemill.errors import DatabaseUnavailableError, DatabaseUnusableError, SettingsError, TableRevisionError
from wavemill.jobs import migrate
from wavemill.jobs.database import Database
from wavemill.jobs.queries import get_job
from wavemill.jobs.readiness import require_rights
from wavemill.jobs.schema import batches, jobs
from wavemill.jobs.submit import write_batch

VERSIONS = ["CREATE TABLE alembic_version(version_num text)"]
FOREIGN = {
    "a revision of theirs": [*VERSIONS, "INSERT INTO alembic_version VALUES ('9f8e')"],
    "a revision like ours": [*VERSIONS, "INSERT INTO alembic_version VALUES ('0007')"],
    "an older one like ours": [*VERSIONS, "INSERT INTO alembic_version VALUES ('0005')"],
    "a revision like ours, and jobs": [
        *VERSIONS,
        "INSERT INTO alembic_version VALUES ('0007')",
        "CREATE TABLE jobs(id integer, title text)",
        "CREATE TABLE batches(id integer, title text)",
    ],
    "two revisions": [
        *VERSIONS,
        "INSERT INTO alembic_version VALUES ('0007'), ('abcd')",
    ],
    "another alembic_version": ["CREATE TABLE alembic_version(number integer)"],
    "jobs": ["CREATE TABLE jobs(id integer, title text)"],
    "workers, and their revision is none": [
        *VERSIONS,
        "CREATE TABLE workers(id integer)",
    ],
    "a view of that name": ["CREATE TABLE x(id integer)", "CREATE VIEW batches AS SELECT id FROM x"],
}


@pytest.mark.parametrize("use", [migrate.ensure, migrate.upgrade, migrate.current])
@pytest.mark.parametrize("statements", FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_another_program_is_refused_and_left_as_it_is(
    tmp_path: Path, statements: list[str], use: Callable[[Database], object]
) -> None:
    file = tmp_path / "theirs.db"
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    before = file.read_bytes()
    database = Database(f"sqlite:///{file}")
    with pytest.raises(DatabaseUnusableError, match=r"^the database \S+ belongs to another program \(.+\): name .+$"):
        use(database)
    database.close()
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("use", [migrate.ensure, migrate.upgrade])
@pytest.mark.parametrize("statements", FOREIGN.values(), ids=FOREIGN)
def test_a_postgresql_database_of_another_program_is_refused(
    postgres_url: str, statements: list[str], use: Callable[[Database], object]
) -> None:
    run(postgres_url, *statements)
    database = Database(postgres_url)
    with pytest.raises(DatabaseUnusableError, match="belongs to another program"):
        use(database)
    database.close()


def test_tables_beside_those_of_another_program_are_no_harm(database_url: str) -> None:
    run(database_url, "CREATE TABLE theirs(id integer)")
    database = Database(database_url)
    migrate.upgrade(database)
    migrate.ensure(database, to_write=True)
    audit(database, submit(database, 3))
    database.close()


def test_an_upgrade_knows_tables_that_are_newer_than_itself(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(TableRevisionError, match=r"9999.*update wavemill here"):
        migrate.upgrade(database)


@pytest.fixture
def as_role(postgres_url: str) -> Iterator[Callable[..., Database]]:
    """Make a role without any right but to connect, and return the database as it sees it."""
    name = f"role_{make_url(postgres_url).database}"
    opened: list[Database] = []

    def connect(*statements: str) -> Database:
        run(
            postgres_url, f"CREATE ROLE {name} LOGIN PASSWORD 'x'", *[line.replace("ROLE", name) for line in statements]
        )
        url = make_url(postgres_url).set(username=name, password="x")
        opened.append(Database(url.render_as_string(hide_password=False)))
        return opened[-1]

    yield connect
    for database in opened:
        database.close()
    run(postgres_url, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


def run(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def submit_named(database: Database, name: str) -> str:
    return write_batch(database, replace(request(chunk_size=4), name=name), new_jobs(["a/1", "a/2"]))[0]


def upgraded(url: str) -> None:
    database = Database(url)
    migrate.upgrade(database)
    database.close()


def test_who_may_not_create_tables_is_told_so(as_role: Callable[..., Database]) -> None:
    database = as_role("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with pytest.raises(DatabaseUnusableError, match="GRANT CREATE ON SCHEMA public"):
        migrate.upgrade(database)


def test_who_has_no_schema_is_told_so(as_role: Callable[..., Database]) -> None:
    database = as_role("ALTER USER ROLE SET search_path = nowhere")
    for use in (migrate.upgrade, migrate.ensure):
        with pytest.raises(DatabaseUnusableError, match="search_path"):
            use(database)


def test_who_is_not_the_owner_may_not_upgrade(postgres_url: str, as_role: Callable[..., Database]) -> None:
    upgraded(postgres_url)
    database = as_role(
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO ROLE", "UPDATE alembic_version SET version_num = '0005'"
    )
    with pytest.raises(DatabaseUnusableError, match="only the owner"):
        migrate.upgrade(database)


@pytest.mark.parametrize(
    ("grants", "said"),
    [
        ([], "does not let this user read the tables"),
        (["GRANT SELECT ON ALL TABLES IN SCHEMA public TO ROLE"], "write into .*jobs"),
        (["GRANT ALL ON ALL TABLES IN SCHEMA public TO ROLE"], "write into job_attempts, |write into chunks|USAGE"),
        (
            [
                "GRANT ALL ON ALL TABLES IN SCHEMA public TO ROLE",
                "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ROLE",
                "REVOKE DELETE ON workers FROM ROLE",
            ],
            "write into workers;",
        ),
    ],
)
def test_who_lacks_a_right_hears_of_it_before_anything_is_written(
    postgres_url: str, as_role: Callable[..., Database], grants: list[str], said: str
) -> None:
    upgraded(postgres_url)
    database = as_role(*grants)
    with pytest.raises(DatabaseUnusableError, match=said):
        migrate.ensure(database, to_write=True)


def test_a_read_only_server_is_told_before_a_submission_begins(
    postgres_url: str, as_role: Callable[..., Database]
) -> None:
    upgraded(postgres_url)
    database = as_role(
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO ROLE",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ROLE",
        "ALTER USER ROLE SET default_transaction_read_only = on",
    )
    migrate.ensure(database, to_write=True)  # a worker waits until it is promoted
    with pytest.raises(DatabaseUnavailableError, match="read-only, as a standby is"):
        require_rights(database, on_primary=True)


def test_who_may_read_and_write_needs_no_more(postgres_url: str, as_role: Callable[..., Database]) -> None:
    upgraded(postgres_url)
    database = as_role(
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO ROLE", "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ROLE"
    )
    migrate.ensure(database, to_write=True)
    audit(database, submit(database, 3))


@pytest.mark.parametrize(
    "setting",
    [
        "client_encoding = 'LATIN1'",
        "client_encoding = 'SQL_ASCII'",
        "datestyle = 'German, DMY'",
        "datestyle = 'SQL, DMY'",
        "timezone = 'Asia/Kathmandu'",
        "timezone = 'XYZ+3:17'",
        "default_transaction_isolation = 'serializable'",
        "intervalstyle = 'sql_standard'",
        "standard_conforming_strings = off",
        "bytea_output = 'escape'",
    ],
)
def test_what_a_role_has_set_changes_nothing(postgres_url: str, as_role: Callable[..., Database], setting: str) -> None:
    upgraded(postgres_url)
    database = as_role(
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO ROLE",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ROLE",
        f"ALTER USER ROLE SET {setting}",
    )
    batch_id = submit_named(database, "Straße 日本 🎵")
    audit(database, batch_id)
    with database.reading() as connection:
        name, created_at = connection.execute(select(batches.c.name, batches.c.created_at)).one()
        job_id = connection.scalar(select(jobs.c.id).limit(1))
    assert name == "Straße 日本 🎵"
    assert created_at.utcoffset() == dt.timedelta(0)
    assert abs(created_at - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert get_job(database, job_id)["batch_id"] == batch_id


def test_a_client_encoding_of_the_environment_or_the_url_changes_nothing(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgraded(postgres_url)
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGDATESTYLE", "German")
    monkeypatch.setenv("PGTZ", "XYZ+3:17")
    url = make_url(postgres_url).update_query_dict({"client_encoding": "latin1"})
    database = Database(url.render_as_string(hide_password=False))
    batch_id = submit_named(database, "Straße 日本 🎵")
    audit(database, batch_id)
    database.close()


def test_a_database_in_memory_is_refused_wherever_it_is_named() -> None:
    with pytest.raises(SettingsError, match="in memory"):
        Database("sqlite://")
