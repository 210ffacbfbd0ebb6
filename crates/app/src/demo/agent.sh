#!/bin/sh
# The demo's agent. Yours would be Claude Code, Codex or any other command: it gets the story's prompt on stdin
# (and in the file $ROPEWALK_PROMPT), works in the current folder, and says by its exit status how it went.
set -eu
cat >/dev/null # the prompt
sleep 0.4      # think

mkdir -p src
case "$ROPEWALK_STORY" in
US-008) # fails twice, then passes
  if [ "$ROPEWALK_ATTEMPT" -lt 3 ]; then
    echo "attempt $ROPEWALK_ATTEMPT: I lost the thread" >&2
    exit 1
  fi
  echo "spliced at last" >src/US-008.txt
  ;;
US-009) # US-009 and US-010 edit the same file in different places: both merge
  sed -i.old '1s/.*/strand 1: hemp/' strands.txt && rm strands.txt.old
  ;;
US-010)
  sed -i.old '12s/.*/strand 12: flax/' strands.txt && rm strands.txt.old
  ;;
US-011) # US-011 and US-012 edit the same line: one lands, the other is tried again on the new tip
  echo "length = 300 fathoms" >length.txt
  ;;
US-012)
  echo "length = 360 fathoms" >length.txt
  ;;
US-006) # the check turns red on the first try, and the story comes back with its output
  if [ "$ROPEWALK_ATTEMPT" -lt 2 ]; then
    echo "FRAYED" >src/US-006.txt
  else
    echo "whipped ends" >src/US-006.txt
  fi
  ;;
*)
  echo "done by attempt $ROPEWALK_ATTEMPT of $ROPEWALK_STORY" >"src/$ROPEWALK_STORY.txt"
  ;;
esac
# What is left uncommitted is committed for the agent. It may also commit for itself.
