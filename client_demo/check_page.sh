#!/bin/sh
# Type-check the page's JavaScript with TypeScript, which npm fetches once and keeps in its cache.
# Without Node, or if npm cannot fetch it, the check is skipped and says so.
typescript="typescript@7.0.2"
project="$(dirname "$0")/tsconfig.json"
if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
  echo "page: types not checked, node and npm are not installed"
  exit 0
fi
if output="$(npm exec --yes --package="$typescript" -- tsc --project "$project" 2>&1)"; then
  echo "page: types checked"
elif echo "$output" | grep -q "error TS"; then
  echo "$output"
  exit 1
else
  echo "page: types not checked, npm could not run $typescript"
fi
