"""Networks that keras.applications lacks, one per file."""
