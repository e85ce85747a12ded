"""A page of thumbnails in sections: one HTML file that needs no network and runs no script."""
