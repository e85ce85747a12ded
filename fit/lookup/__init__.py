"""Search in a store: the images nearest to an image, to a row, or to a class of a head."""
