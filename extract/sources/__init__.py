"""Where images come from: a folder, or a table that names them; listing and reading."""
