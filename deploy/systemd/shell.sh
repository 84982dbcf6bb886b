# /etc/chrono-scraper/shell.sh: makes a root shell ready for the runbooks. Read it with a dot:
#   . /etc/chrono-scraper/shell.sh
# The service's settings become those of the commands, and the commands run as the service's user, so that
# what they write belongs to it.
PATH=/opt/chronoduck/bin:$PATH
set -a
DUCKDB_DATABASE_PATH=/var/lib/duckdb/chrono_analytics.db
DUCKDB_TEMP_DIRECTORY=/tmp/duckdb
DUCKDB_LOG_FILE=/var/log/chrono-scraper/duckdb.log
. /etc/chrono-scraper/duckdb.env
set +a
chronoduck() { runuser -u app -- chronoduck "$@"; }
# While a start would fail, a restart loses what only the running service holds: health says so.
systemctl() {
  if [ "$1" = restart ] && curl -s http://localhost:8000/api/v1/duckdb/health | grep -q 'Do not restart'; then
    echo "do not restart, a start would fail: chronoduck runbook wal-not-replayable" >&2
    return 1
  fi
  command systemctl "$@"
}
