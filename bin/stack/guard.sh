#!/bin/sh
# Outlives the stack by a moment. Each line on stdin is the list of the stack's process groups; when
# stdin ends (the stack is gone, whatever killed it) the groups of the last line are ended too.
trap '' INT TERM HUP

groups=
while read -r line; do groups=$line; done

# Newest first: whoever uses a part goes before it.
for group in $groups; do newest_first="$group $newest_first"; done
for group in $newest_first; do kill -TERM "$group" 2>/dev/null; done

tenths=0
while [ "$tenths" -lt 100 ]; do
  left=
  for group in $groups; do kill -0 -- "-$group" 2>/dev/null && left=$group; done
  [ -z "$left" ] && exit 0
  sleep 0.1
  tenths=$((tenths + 1))
done
for group in $groups; do kill -KILL -- "-$group" 2>/dev/null; done
