#!/usr/bin/env bash
# PostgreSQL under pgbench: `postgres.sh SECONDS` makes a small database, serves it and reads from it, two clients.
#
# PostgreSQL refuses to run as root, so root hands over to the user `postgres`. There is no report of work units:
# it is for stacks only.
set -eu
seconds=${1:-3}
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
if [ "$(id -u)" = 0 ]; then
    exec setpriv --reuid=postgres --regid=postgres --clear-groups -- bash "$0" "$seconds"
fi
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
cd "$data"
"$bin/initdb" --no-sync -D "$data/db" > /dev/null
"$bin/postgres" -D "$data/db" -k "$data" -c listen_addresses= -c fsync=off > "$data/log" 2>&1 &
server=$!
until "$bin/pg_isready" -q -h "$data" -d postgres; do sleep 0.1; done
"$bin/pgbench" -q -i -s 2 -h "$data" postgres > /dev/null 2>&1
"$bin/pgbench" -S -c 2 -T "${seconds%.*}" -h "$data" postgres
kill -INT "$server"
wait "$server" || true
