#!/bin/sh
# Loads, waits at its gate, and acts once its node is active.
echo "loaded $COORD_NODE"

opened=$(coord gate) || exit   # 76: the gate is closed for good
eval "$opened"

echo "acts $COORD_NODE term $COORD_TERM"
exec sleep 600
