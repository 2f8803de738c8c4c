# Fetch the last replica, then run the application and replicate what it writes.
set -eu
database=${DATABASE:-notes.db}
# What an earlier holding of this machine has left is older than the replica.
rm -rf "$database" "$database-wal" "$database-shm" ".$(basename "$database")-litestream"
litestream restore -if-replica-exists -o "$database" "$REPLICA"
exec litestream replicate -exec "python app.py $database" "$database" "$REPLICA"
