"""Pictures of a head, a comparison and a sweep."""
