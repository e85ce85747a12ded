"""What is wrong with the images of a store: copies, leaks between splits, wrong labels, outliers, odd images."""
