"""Heads: what can be fitted on features. The table says what there is; `sklearn` and `keras` build it."""
