#!/bin/bash
# How tests/data/0.5.0 was made, with version 0.5.0 of the package installed. Kept as a record: other versions write other bytes.
#
#   make_0_5_0.sh FOLDER      FOLDER must not exist
set -euo pipefail
mkdir "$1"
cd "$1"

# Twelve handwritten digits, 16 x 16 pixels in colour, in two classes. Four of them wait outside for the second run.
python - <<'PYTHON'
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

digits = load_digits()
rng = np.random.default_rng(0)
for digit, name in enumerate(("zero", "one")):
    for number, row in enumerate(np.flatnonzero(digits.target == digit)[:6]):
        folder = Path("images" if number < 4 else "later", name)
        folder.mkdir(parents=True, exist_ok=True)
        gray = np.kron(digits.images[row] * 15, np.ones((2, 2)))
        color = np.clip(gray[..., None] * rng.uniform(0.5, 1, 3), 0, 255).astype(np.uint8)
        Image.fromarray(color).save(folder / f"{number:02d}.png")
Path("images/zero/broken.png").write_text("not an image\n")
PYTHON
cat > labels.csv <<'CSV'
path,label
one/00.png,one|odd
one/01.png,one|odd
one/02.png,one|odd|small
one/03.png,one|odd
one/04.png,one|odd|small
one/05.png,one|odd
zero/00.png,zero
zero/01.png,zero|small
zero/02.png,zero
zero/03.png,zero|small
zero/04.png,zero
zero/05.png,zero
CSV

run() {
    code=0
    extract run images "$@" --json > /dev/null || code=$?
    [ "$code" -eq 3 ] # the broken image is more than 5 % of the images
}
grows() { # two runs, the second with more images: two plans, and rows that the first plan's shards hold
    mkdir -p later/zero later/one
    run "$@"
    cp -r later/. images
    run "$@"
    rm images/{one,zero}/0[45].png
}

mkdir stores heads predictions
grows --out stores/parquet --pooling avg --image-size 64
grows --out stores/hdf5 --backbone pixels --image-size 16 --shard-rows 3
# A shard of the second plan was damaged, withdrawn and computed again.
cp -r later/. images
shard=$(python - <<'PYTHON'
import json
from pathlib import Path

root = Path("stores/hdf5")
plan = json.loads((root / "view/2.json").read_text())["plan"]
print(root / "data" / json.loads((root / f"commit/{plan}/000000.1.json").read_text())["shard"])
PYTHON
)
printf 'damage' | dd of="$shard" bs=1 seek=2000 conv=notrunc status=none
store repair stores/hdf5
run --out stores/hdf5 --backbone pixels --image-size 16
# Every second shard of this one is not computed.
run --out stores/unfinished --backbone mobilenet_v3_small --weights random:3 --image-size 32 --pooling avg --shard-rows 2 --part 0/2
# Three rows for each image: itself and two altered views.
run --out stores/views --backbone pixels --image-size 8 --augment 2 --seed 5
rm -r later stores/*/tmp

fit_one() {
    fit head --features "stores/$2" --out "heads/$1" --val 0.25 --test 0.25 --quiet "${@:3}"
    fit predict "heads/$1" --features "stores/$2" --out "predictions/$1.csv" --quiet
}
fit_one logistic parquet
fit_one dense parquet --head dense --set units=4 --epochs 3
fit_one cnn hdf5 --head cnn --set filters=2 --set units=2 --epochs 2
fit_one linear_svm hdf5 --head linear_svm
fit_one forest hdf5 --head forest --set trees=3
fit_one sgd hdf5 --head sgd --epochs 3
fit_one multi_label hdf5 --labels labels.csv
