#!/bin/bash
# Weights for nodes without a network: download them once on a machine that has one, into a folder that the nodes share.
#
#   weights-ahead.sh inception_v3 /shared/keras
#
# On the nodes: export KERAS_HOME=/shared/keras, then run as usual. `extract backbones` shows "yes" under "weights here". The default
# backbone needs none of this, because its weights are installed with the package. To use your own file, give --weights FILE.
set -euo pipefail
backbone=$1
export KERAS_HOME=$2
mkdir -p "$KERAS_HOME"
"${STILLFRAME:-.venv/bin}/extract" fetch "$backbone"
"${STILLFRAME:-.venv/bin}/extract" backbones | grep -w "$backbone"
