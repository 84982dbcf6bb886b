# /etc/chronoduck/shell.sh: makes a root shell ready for the runbooks. Read it with a dot:
#   . /etc/chronoduck/shell.sh
# Every chronoduck has the service's settings, and runs as the service's user, so that what it writes
# belongs to it. No shell reads the settings: it would run what stands in them.
PATH=/opt/chronoduck/bin:$PATH
export DUCKDB_DATABASE_PATH=/var/lib/duckdb/chrono_analytics.db
export DUCKDB_TEMP_DIRECTORY=/tmp/duckdb
export DUCKDB_LOG_FILE=/var/log/chrono-scraper/duckdb.log
chronoduck() {
  if [ -e /etc/chronoduck/duckdb.env ]; then
    set -- --env-file /etc/chronoduck/duckdb.env "$@"
  fi
  runuser -u chronoduck -- chronoduck "$@"
}
# While a start would fail, a restart loses what only the running service holds: health says so.
systemctl() {
  if [ "$1" = restart ] && chronoduck status --json 2> /dev/null | grep -q 'Do not restart'; then
    echo "do not restart, a start would fail: chronoduck runbook wal-not-replayable" >&2
    return 1
  fi
  command systemctl "$@"
}
