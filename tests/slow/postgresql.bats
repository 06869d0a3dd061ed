# A PostgreSQL server on a cluster that begins in a lower: what it was told to keep is there
# after it was killed, and after the mount was killed under it.

load ../helpers

setup() {
	tree_begin
	for PG in /usr/lib/postgresql/*/bin; do :; done
	need command "$PG/postgres"
	# Whose cluster it is; it serves on a socket beside the mount.
	DATA=data SOCKET=$T/run
}
teardown() {
	# The tree goes; the server need not end well.
	[[ -z ${SERVER:-} ]] || kill_server
	tree_end
}

pg() { as_user env PGHOST="$SOCKET" PGUSER=boss PGDATABASE=postgres PGOPTIONS='-c client_min_messages=warning' \
	timeout 120 "$PG/$1" "${@:2}" 3>&-; }
sql() { pg psql -qXAt -v ON_ERROR_STOP=1 "$@"; }

make_cluster() {
	as_user "$PG/initdb" -D "$LOW/$DATA" -U boss -A trust --data-checksums --no-locale -E UTF8 -N >"$T/run/initdb" 2>&1 ||
		fail "$(cat "$T/run/initdb")"
	cat >>"$LOW/$DATA/postgresql.conf" <<-END
		listen_addresses = ''
		unix_socket_directories = '$SOCKET'
		max_wal_size = 64MB
		checkpoint_timeout = 30s
		shared_buffers = 16MB
		autovacuum_naptime = 1s
		wal_recycle = on
	END
}

# As a child of the test, which takes its status: for an orphan not every machine's init does.
start_server() {
	"${USER_CMD[@]}" "$PG/postgres" -D "$MNT/$DATA" </dev/null >>"$T/run/server" 2>&1 3>&- &
	SERVER=$!
	ready() { pg pg_isready -q || ended "$SERVER"; }
	poll 60 ready || fail "it is not ready: $(tail -30 "$T/run/server")"
	! ended "$SERVER" || fail "$(tail -30 "$T/run/server")"
}
stop_server() {
	kill -INT "$SERVER"
	wait "$SERVER"
	SERVER=
}

# Its processes end by themselves when it is gone, but in their own time.
kill_server() {
	local processes
	processes=$(pgrep -P "$SERVER" || :)
	kill -KILL "$SERVER" 2>/dev/null || : # it may have panicked
	wait "$SERVER" || :
	server_gone() { local p; for p in $processes; do ended "$p" || return 1; done; }
	poll 20 server_gone
	SERVER=
}

# What pgbench changes together agrees, and each insertion that was acknowledged is there.
assert_consistent() {
	local sums
	sums=$(sql -F ' ' -c 'select (select sum(abalance) from pgbench_accounts),
		(select sum(bbalance) from pgbench_branches), (select sum(tbalance) from pgbench_tellers),
		(select sum(delta) from pgbench_history)')
	read -r a b t h <<<"$sums"
	assert_equal "$b $t $h" "$a $a $a"
	sql -c 'select n from acknowledged order by n' >"$T/run/there"
	sort -n "$T/run/acknowledged" >"$T/run/want"
	assert_equal "$(comm -23 <(sort "$T/run/want") <(sort "$T/run/there"))" ''
}

# Clients in the background, and one that writes down what was acknowledged to it.
start_clients() {
	pg pgbench -n -c 4 -T 60 >"$T/run/pgbench" 2>&1 &
	CLIENTS=("$!")
	as_user env PGHOST="$SOCKET" PGUSER=boss PGDATABASE=postgres bash -c 'for ((n = $2; n < $2 + 10000; n++)); do
		echo "insert into acknowledged values ($n) returning n;"; done | "$1/psql" -qXAt' bash "$PG" "$1" \
		>>"$T/run/acknowledged" 2>/dev/null 3>&- &
	CLIENTS+=("$!")
}
progress() { (($(wc -l <"$T/run/acknowledged") >= $1)); }
wait_clients() { for pid in "${CLIENTS[@]}"; do wait "$pid" || :; done; }

check_cluster() {
	sql -c 'create extension if not exists amcheck'
	pg pg_amcheck --all --heapallindexed --install-missing
	sql -c 'select count(*) from pgbench_accounts' >/dev/null
	stop_server
	as_user "$PG/pg_checksums" --check -D "$MNT/$DATA" 3>&- >/dev/null
}

@test "PostgreSQL recovers after it was killed, and after the mount was" {
	tree_for_user
	make_cluster
	lower_may_change "$LOW"
	overlay_mount
	start_server
	pg pgbench -q -i -s 2 >"$T/run/pgbench" 2>&1 || fail "$(cat "$T/run/pgbench")"
	sql -c 'create table acknowledged(n int primary key)'
	: >"$T/run/acknowledged"
	pg pgbench -n -c 4 -T 3 >"$T/run/pgbench" 2>&1 || fail "$(cat "$T/run/pgbench")"
	assert_consistent

	start_clients 10000
	poll 60 progress 300
	kill_server
	wait_clients
	start_server
	assert_consistent

	n=$(wc -l <"$T/run/acknowledged")
	start_clients 30000
	poll 60 progress $((n + 300))
	EXPECT_STATUS=any
	kill -KILL "$DAEMON"
	wait_clients
	kill_server
	EXPECT_STATUS=any umount_one "$MNT"
	overlay_mount
	start_server
	assert_consistent
	check_cluster
}

@test "PostgreSQL keeps data bases, table spaces and indexes in order over a remount" {
	tree_for_user
	make_cluster
	mkdir "$LOW/space"
	((EUID != 0)) || chown "$TEST_UID" "$LOW/space"
	overlay_mount
	start_server
	pg pgbench -q -i -s 1 >"$T/run/pgbench" 2>&1
	sql -c "create tablespace space location '$MNT/space'" \
		-c 'create database copied template template1 strategy file_copy tablespace space' \
		-c 'alter table pgbench_accounts set tablespace space' -c checkpoint \
		-c 'vacuum full pgbench_tellers' -c 'reindex table pgbench_accounts' -c 'vacuum analyze' \
		-c 'create unlogged table u as select generate_series(1, 1000) as n' \
		-c 'truncate pgbench_history' -c 'cluster pgbench_accounts using pgbench_accounts_pkey'
	dump() { pg pg_dump "$1" | grep -Ev '^.(un)?restrict '; } # its key is random
	dump postgres >"$T/run/dump"
	PGDATABASE=copied
	pg psql -qX -v ON_ERROR_STOP=1 -d copied -f "$T/run/dump" >/dev/null
	stop_server
	overlay_remount
	start_server
	cmp "$T/run/dump" <(dump postgres)
	assert_equal "$(sql -d copied -c 'select count(*) from pgbench_accounts')" 100000
	sql -c 'drop database copied' -c 'drop table u' # a backup has no contents of unlogged tables
	dump postgres >"$T/run/dump"
	pg pg_basebackup -D "$MNT/backup" -T "$MNT/space=$MNT/space2" -c fast
	as_user "$PG/pg_verifybackup" -q "$MNT/backup" 3>&-
	check_cluster
	DATA=backup
	start_server
	cmp "$T/run/dump" <(dump postgres)
	check_cluster
}
