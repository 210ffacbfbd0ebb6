#!/bin/sh
# The demo's check: runs on exactly the tree that would land.
if grep -rn FRAYED src 2>/dev/null; then
  echo "an end is frayed"
  exit 1
fi
