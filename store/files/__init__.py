"""Files below one folder or URL: on a disk, or in an object store."""
