#!/bin/sh
# Makes dist/server.js and its source map.
cd "$(dirname "$0")" && ../node_modules/.bin/esbuild src/server.js \
  --bundle --minify --platform=node --target=node20 --sourcemap --outfile=dist/server.js
