#!/bin/sh
# Needs seconds to start, as a JVM with many classes does; SLOW_START says how many.
sleep "${SLOW_START-5}"
echo "loaded $COORD_NODE"

opened=$(coord gate) || exit
eval "$opened"

echo "acts $COORD_NODE term $COORD_TERM"
exec sleep 600
