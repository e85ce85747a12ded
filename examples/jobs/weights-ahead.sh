#!/bin/bash
# Weights for nodes without a network: fetched once where there is one, into a folder that the nodes see too.
#
#   weights-ahead.sh inception_v3 /shared/keras
#
# On the nodes: export KERAS_HOME=/shared/keras, then run as always. `extract backbones` says "yes" under "weights here". The default
# backbone needs none of this, its weights are installed with the package; a file of your own goes with --weights FILE.
set -euo pipefail
backbone=$1
export KERAS_HOME=$2
mkdir -p "$KERAS_HOME"
"${STILLFRAME:-.venv/bin}/extract" fetch "$backbone"
"${STILLFRAME:-.venv/bin}/extract" backbones | grep -w "$backbone"
