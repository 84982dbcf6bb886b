"""The environment as settings: the guide's names, and errors that name the variable."""

from pathlib import Path

import pytest

from chronoduck.errors import SettingsError
from chronoduck.principals import Limits, Role
from chronoduck.settings import (
    GROUPS,
    ReplicaSettings,
    Settings,
    load_settings,
    reveal,
    variable_names,
)

GUIDE = {
    "DUCKDB_DATABASE_PATH": "/var/lib/duckdb/chrono_analytics.db",
    "DUCKDB_MEMORY_LIMIT": "4GB",
    "DUCKDB_WORKER_THREADS": "4",
    "DUCKDB_TEMP_DIRECTORY": "/tmp/duckdb",
    "DUCKDB_MAX_MEMORY_PERCENTAGE": "60",
    "DUCKDB_ENABLE_S3": "false",
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_DEFAULT_REGION": "us-east-1",
    "PARQUET_COMPRESSION": "ZSTD",
    "PARQUET_ROW_GROUP_SIZE": "1000000",
    "PARQUET_PAGE_SIZE": "1048576",
    "PARQUET_ENABLE_DICTIONARY": "true",
}


def test_the_guides_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    without = load_settings()
    for name, value in GUIDE.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == without


def test_an_empty_aws_key_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "")
    assert load_settings().aws_access_key_id is None


def test_the_pool_holds_twice_the_workers() -> None:
    assert load_settings(worker_threads=3).pool_size == 6
    assert load_settings(worker_threads=3, max_connections=4).pool_size == 4


def test_relative_paths_are_made_absolute() -> None:
    assert load_settings(database_path="x.db").database_path == Path.cwd() / "x.db"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DUCKDB_MEMORY_LIMIT", "lots"),
        ("DUCKDB_WORKER_THREADS", "0"),
        ("DUCKDB_WORKER_THREADS", "many"),
        ("DUCKDB_MAX_MEMORY_PERCENTAGE", "150"),
        ("DUCKDB_PORT", "70000"),
        ("DUCKDB_BREAKER_FAILURE_THRESHOLD", "0"),
        ("DUCKDB_LOG_FORMAT", "xml"),
        ("PARQUET_COMPRESSION", "RAR"),
        ("DUCKDB_STATEMENT_TIMEOUT", "0"),
        ("DUCKDB_QUOTA_ANALYST", "requests=60"),
        ("DUCKDB_QUOTA_ANALYST", "requests_per_minute"),
        ("DUCKDB_QUOTA_VIEWER", "max_rows=0"),
        ("DUCKDB_QUOTA_VIEWER", "max_rows=many"),
        ("DUCKDB_QUOTA_WRITER", "max_result_bytes=1 stone"),
        ("DUCKDB_QUOTA_WORKERS", "0"),
    ],
)
def test_a_wrong_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_an_unknown_variable_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DUCKDB_MEMORYLIMIT", "4GB")
    with pytest.raises(SettingsError, match="DUCKDB_MEMORYLIMIT") as caught:
        load_settings()
    assert "DUCKDB_MEMORY_LIMIT" in caught.value.hint


def test_a_pool_smaller_than_the_workers_is_refused() -> None:
    with pytest.raises(SettingsError, match="worker_threads"):
        load_settings(worker_threads=8, max_connections=4)


def test_a_secret_never_shows_in_an_error_or_a_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "TOPSECRET")
    monkeypatch.setenv("DUCKDB_PORT", "x")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "TOPSECRET" not in str(caught.value)
    monkeypatch.delenv("DUCKDB_PORT")
    assert "TOPSECRET" not in repr(load_settings())


def test_a_roles_limits_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "requests_per_minute=60, max_result_bytes=1GB  engine_seconds_per_hour=10m"
    monkeypatch.setenv("DUCKDB_QUOTA_ANALYST", line)
    monkeypatch.setenv("DUCKDB_QUOTA_VIEWER", "none")
    quota = load_settings().quota
    assert quota.of(Role.ANALYST) == Limits(
        requests_per_minute=60, max_result_bytes=10**9, engine_seconds_per_hour=600
    )
    assert quota.of(Role.VIEWER) == quota.of(Role.WRITER) == quota.of(Role.ADMIN) == Limits()


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``${NAME}`` in a compose file gives it; whatever the setting."""
    models = (Settings, *GROUPS.values())
    names = {variable for model in models for variable in variable_names(model).values()}
    assert len(names) > 100
    for name in names:
        monkeypatch.delenv(name, raising=False)
    unset = load_settings()
    for name in names | {"AWS_SECRET_ACCESS_KEY_FILE"}:
        monkeypatch.setenv(name, "")
    assert load_settings() == unset


@pytest.mark.parametrize(("given", "said"), [("2", "did you mean 2GB"), ("63MB", "at least 64MB")])
def test_memory_that_no_engine_can_work_with_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: str, said: str
) -> None:
    monkeypatch.setenv("DUCKDB_MEMORY_LIMIT", given)
    with pytest.raises(SettingsError, match=said):
        load_settings()
    monkeypatch.setenv("DUCKDB_MEMORY_LIMIT", "64MB")
    assert load_settings().memory_limit == 64_000_000


def test_a_schedule_may_be_never(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().backup.schedule
    monkeypatch.setenv("DUCKDB_BACKUP_SCHEDULE", "never")
    assert load_settings().backup.schedule == ""


def test_limits_survive_the_way_to_a_process_of_our_own() -> None:
    settings = load_settings(quota={"analyst": "max_rows=5", "workers": 2})
    assert Settings(**reveal(settings)) == settings


def test_one_worker_and_half_the_connections_are_left_for_others() -> None:
    settings = load_settings(worker_threads=4, max_connections=10)
    assert (settings.worker_share, settings.connection_share) == (3, 5)
    alone = load_settings(worker_threads=1, max_connections=1)
    assert (alone.worker_share, alone.connection_share) == (1, 1)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DUCKDB_STORAGE_VERSION", "newest"),
        ("DUCKDB_WORKER_THREADS", "many"),
        ("DUCKDB_WORKER_THREADS", "0"),
        ("DUCKDB_WORKER_THREADS", "1000000"),
        ("DUCKDB_MAX_MEMORY_PERCENTAGE", "x"),
        ("DUCKDB_MAX_MEMORY_PERCENTAGE", "200"),
        ("DUCKDB_STANDBY", "perhaps"),
        ("DUCKDB_LOG_LEVEL", "loud"),
        ("DUCKDB_MEMORY_LIMIT", "-1"),
        ("DUCKDB_REPLICA_SCRUB_RATE", "x"),
        ("DUCKDB_CHECKPOINT_INTERVAL", "x"),
    ],
)
def test_a_wrong_value_is_told_in_words_for_people(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.detail.startswith(f"{variable}: ")
    for internal in ("String should", "Input should", "pattern", "parse string", "unable to"):
        assert internal not in caught.value.detail


@pytest.mark.parametrize("place", ["data", ".", "/", "file"])
def test_a_replica_around_its_database_is_refused(tmp_path: Path, place: str) -> None:
    data = tmp_path / "data"
    url = f"file://{data}" if place == "file" else str(tmp_path / place)
    with pytest.raises(SettingsError, match="DUCKDB_REPLICA_URL"):
        load_settings(database_path=data / "test.db", replica=ReplicaSettings(url=url))
    for other in (tmp_path / "replica", data / "replica", "s3://data/x"):
        load_settings(database_path=data / "test.db", replica=ReplicaSettings(url=str(other)))
