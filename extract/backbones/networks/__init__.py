"""Networks that keras.applications lacks, one a file."""
